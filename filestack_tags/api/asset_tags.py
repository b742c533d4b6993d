"""The tags of one asset: all of them, and decisions about them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from django.http import Http404
from django.utils.translation import gettext as _
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from filestack_tags.assets import tags
from filestack_tags.assets.sensitive import is_approved, unapproved_ids
from filestack_tags.conf import get_settings
from filestack_tags.curation import Outcome, decide_many, throttle
from filestack_tags.db.text import label_key
from filestack_tags.db.transactions import run_with_retry
from filestack_tags.models import Asset, AssetTag, TagDecision
from filestack_tags.models.tags import CONFIRMED

from .asset_json import VisibleTagSerializer
from .base import CREATED, View, lock_asset, operation
from .fields import Choice, Confidence, TagName
from .problems import CONFLICT
from .serializers import Body, HiddenParameters, confidence, count
from .tags import tag_id

Act = TagDecision.Act

ACTS = {"accepted": Act.ACCEPT, "rejected": Act.REJECT, None: Act.WITHDRAW}
"""The act for each decision that a client can request."""


class AssetTagSerializer(VisibleTagSerializer):
    tagger_confidence = confidence(allow_null=True)
    decided_at = serializers.DateTimeField(allow_null=True)
    decided_by = serializers.CharField(source="reviewer", allow_null=True)
    visible = serializers.BooleanField(source="is_visible")


class AssetTagListSerializer(serializers.Serializer[Any]):
    results = AssetTagSerializer(many=True)


class DecidedSerializer(serializers.Serializer[Any]):
    changed = serializers.BooleanField()
    decision_id = count(allow_null=True)
    tag = AssetTagSerializer(allow_null=True)


class AddTagSerializer(Body):
    """A tag to add by hand."""

    name = TagName()
    confidence = Confidence(required=False, default=100)


class DecideSerializer(Body):
    """A user's decision about a tag: accepted, rejected, or null to withdraw; or its confidence."""

    constraints: ClassVar = {
        "minProperties": 1,
        "dependentSchemas": {"confidence": {"properties": {"decision": {"const": "accepted"}}}},
    }

    decision = Choice(choices=["accepted", "rejected"], allow_null=True, required=False)
    confidence = Confidence(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs = super().validate(attrs)
        if not attrs:
            raise serializers.ValidationError(
                {"decision": _('Send "decision" or "confidence".')}
            )
        if "confidence" in attrs and attrs.get("decision", "accepted") != "accepted":
            raise serializers.ValidationError(
                {
                    "confidence": _(
                        "Setting a confidence accepts the tag: "
                        '"decision" must be "accepted" or absent.'
                    )
                }
            )
        return attrs


class AssetTagViewSet(View):
    """All tags of an asset, not only the visible ones."""

    lookup_field = "key"
    lookup_value_regex = ".+"

    def lock(self, **kwargs: str) -> None:
        lock_asset(kwargs["asset"])

    @operation("view_asset", parameters=HiddenParameters, returns=AssetTagListSerializer)
    def list(self, request: Request, asset: str) -> Response:
        """List every tag of an asset, including rejected ones and those below their minimum."""
        hidden = self.includes_hidden()
        return self.respond({"results": self._rows(self.asset(asset), include_hidden=hidden)})

    @operation("view_asset", parameters=HiddenParameters, returns=AssetTagSerializer)
    def retrieve(self, request: Request, asset: str, key: str) -> Response:
        """Return one tag of an asset, with the decision about it."""
        hidden = self.includes_hidden()
        return self.respond(self._row(self.asset(asset), tag_id(key), include_hidden=hidden))

    @operation(
        "change_asset",
        body=AddTagSerializer,
        returns=DecidedSerializer,
        status=CREATED,
        problems=(CONFLICT,),
    )
    def create(self, request: Request, asset: str) -> Response:
        """Add a tag to the asset by hand; an existing tag is accepted instead."""
        target = self.asset(asset)
        name = self.body["name"]
        throttle.count_new_tag(name, user=self.user)
        (pk,) = run_with_retry(partial(tags.resolve, [name])).values()
        outcome = self._decide(Act.ADD, target, pk, self.body["confidence"])
        is_new = TagDecision.objects.filter(pk=outcome.decision_id or 0, before_confidence=None)
        return self.respond(
            self._result(target, outcome, include_hidden=False),
            status.HTTP_201_CREATED if is_new.exists() else status.HTTP_200_OK,
            location=("asset-tag-detail", {"asset": target.pk, "key": label_key(name)}),
        )

    @operation(
        "change_asset",
        parameters=HiddenParameters,
        body=DecideSerializer,
        returns=DecidedSerializer,
        problems=(CONFLICT,),
    )
    def update(self, request: Request, asset: str, key: str) -> Response:
        """Decide about a tag of the asset, or withdraw the decision."""
        hidden = self.includes_hidden()
        target = self.asset(asset)
        body, pk = self.body, tag_id(key)
        self._row(target, pk, include_hidden=hidden)  # 404 if it does not have the tag
        confidence = body.get("confidence")
        act = ACTS[body.get("decision")] if confidence is None else Act.CHANGE
        outcome = self._decide(act, target, pk, confidence)
        return self.respond(self._result(target, outcome, include_hidden=hidden))

    @operation(
        "change_asset",
        parameters=HiddenParameters,
        body=DecideSerializer,
        returns=DecidedSerializer,
        problems=(CONFLICT,),
    )
    def partial_update(self, request: Request, asset: str, key: str) -> Response:
        """Decide about a tag of the asset: the same as `PUT`, since a decision has no parts."""
        return self.update(request, asset, key)

    def _decide(self, act: str, asset: Asset, tag_id: int, confidence: int | None) -> Outcome:
        (outcome,) = decide_many(
            act,
            [(asset.pk, tag_id)],
            user=self.user,
            origin=TagDecision.Origin.API,
            confidence=confidence,
        )
        if isinstance(outcome.error, Asset.DoesNotExist):
            raise Http404 from outcome.error
        if outcome.error is not None:
            raise outcome.error
        return outcome

    def _result(
        self, asset: Asset, outcome: Outcome, *, include_hidden: bool
    ) -> dict[str, Any]:
        """Return the result of a decision; the row is null if it was deleted or is hidden."""
        rows = self._rows(asset, include_hidden=include_hidden, tag=outcome.tag_id)
        return {
            "changed": outcome.decision_id is not None,
            "decision_id": outcome.decision_id,
            "tag": rows[0] if rows else None,
        }

    def _row(self, asset: Asset, tag_id: int, *, include_hidden: bool) -> AssetTag:
        for row in self._rows(asset, include_hidden=include_hidden, tag=tag_id):
            return row
        raise Http404

    def _rows(
        self, asset: Asset, *, include_hidden: bool, **conditions: int
    ) -> Sequence[AssetTag]:
        """Return asset tags for the serializer, most confident first and then by key."""
        rows = AssetTag.objects.filter(asset=asset, **conditions).select_related("tag")
        sensitive = unapproved_ids(rows.db)
        if not include_hidden:
            rows = rows.filter(is_approved(sensitive), tag__hidden=False)
        names_users = self.request.user.has_perm("filestack_tags.view_tagdecision")
        if names_users:
            rows = rows.select_related("decided_by")
        default = get_settings().MIN_CONFIDENCE
        asset_tags: Any = list(rows.order_by("-confidence", "tag__key"))
        for row in asset_tags:
            tag = row.tag
            minimum = default if tag.min_confidence is None else tag.min_confidence
            is_confident = row.confidence >= minimum and tag.pk not in sensitive
            is_rejected = row.decision == AssetTag.Decision.REJECTED
            row.is_visible = not tag.hidden and (
                (is_confident and not is_rejected) or row.decision in CONFIRMED
            )
            reviewer = row.decided_by if names_users else None
            row.reviewer = reviewer and reviewer.get_username()
        return asset_tags  # type: ignore[no-any-return]  # with two more attributes
