"""The tags of one asset: all of them, and decisions about them."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from django.contrib.auth import get_user_model
from django.http import Http404
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from filestack_tags.assets import tags
from filestack_tags.assets.sensitive import exists, withheld
from filestack_tags.conf import get_settings
from filestack_tags.curation import Outcome, decide_many, throttle
from filestack_tags.db.text import label_key
from filestack_tags.db.transactions import retried
from filestack_tags.exceptions import InvalidLabel
from filestack_tags.models import Asset, AssetTag, TagDecision

from .base import View, asset_of, includes_hidden, lock_asset, person
from .representation import DECISIONS, SOURCES
from .serializers import AddTagSerializer, DecideSerializer

Act = TagDecision.Act

ACTS = {"accepted": Act.ACCEPT, "rejected": Act.REJECT, None: Act.WITHDRAW}
"""The act for each decision that a client can request."""

SHOWN_AT_ANY_CONFIDENCE = frozenset({AssetTag.Decision.ACCEPTED, AssetTag.Decision.ADDED})


class AssetTagViewSet(View):
    """All tags of an asset, not only the visible ones."""

    lookup_field = "key"
    lookup_value_regex = ".+"
    required_permissions: ClassVar = {
        "list": ("filestack_tags.view_asset",),
        "retrieve": ("filestack_tags.view_asset",),
        "create": ("filestack_tags.change_asset",),
        "update": ("filestack_tags.change_asset",),
        "partial_update": ("filestack_tags.change_asset",),
    }
    parameters: ClassVar = dict.fromkeys(
        ("list", "retrieve", "update", "partial_update"), frozenset({"include"})
    )

    def lock(self, **kwargs: str) -> None:
        lock_asset(kwargs["asset"])

    def list(self, request: Request, asset: str) -> Response:
        """List every tag of an asset, including rejected ones and those below their minimum."""
        hidden = includes_hidden(request)
        found = asset_of(request, asset)
        return Response({"results": _rows(request, found, include_hidden=hidden)})

    def retrieve(self, request: Request, asset: str, key: str) -> Response:
        """Return one tag of an asset, with the decision about it."""
        hidden = includes_hidden(request)
        found = asset_of(request, asset)
        return Response(_row(request, found, _tag_id(key), include_hidden=hidden))

    def create(self, request: Request, asset: str) -> Response:
        """Add a tag to the asset by hand; an existing tag is accepted instead."""
        found = asset_of(request, asset)
        form = AddTagSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        name, confidence = form.validated_data["name"], form.validated_data["confidence"]
        throttle.count_new_tag(name, user=person(request))
        (tag_id,) = retried(partial(tags.resolve, [name])).values()
        outcome = _decided(request, Act.ADD, found, tag_id, confidence)
        place = reverse(
            "filestack_tags_api:asset-tag-detail",
            kwargs={"asset": found.pk, "key": label_key(name)},
            request=request,
        )
        is_new = TagDecision.objects.filter(pk=outcome.decision_id or 0, before_confidence=None)
        return Response(
            _told(request, found, outcome, include_hidden=False),
            status=status.HTTP_201_CREATED if is_new.exists() else status.HTTP_200_OK,
            headers={"Location": place},
        )

    def update(self, request: Request, asset: str, key: str) -> Response:
        """Decide about a tag of the asset, or withdraw the decision."""
        hidden = includes_hidden(request)
        found = asset_of(request, asset)
        form = DecideSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        said = form.validated_data
        tag_id = _tag_id(key)
        _row(request, found, tag_id, include_hidden=hidden)  # 404 if it does not have the tag
        confidence = said.get("confidence")
        act = ACTS[said.get("decision")] if confidence is None else Act.CHANGE
        outcome = _decided(request, act, found, tag_id, confidence)
        return Response(_told(request, found, outcome, include_hidden=hidden))

    def partial_update(self, request: Request, asset: str, key: str) -> Response:
        """Decide about a tag of the asset: the same as `PUT`, since a decision has no parts."""
        return self.update(request, asset, key)


def _tag_id(text: str) -> int:
    try:
        key = label_key(text)
    except InvalidLabel as error:
        raise Http404 from error
    return tags.known([key]).get(key, 0)


def _decided(
    request: Request, act: str, asset: Asset, tag_id: int, confidence: int | None
) -> Outcome:
    (outcome,) = decide_many(
        act,
        [(asset.pk, tag_id)],
        user=person(request),
        origin=TagDecision.Origin.API,
        confidence=confidence,
    )
    if isinstance(outcome.error, Asset.DoesNotExist):
        raise Http404 from outcome.error
    if outcome.error is not None:
        raise outcome.error
    return outcome


def _told(
    request: Request, asset: Asset, outcome: Outcome, *, include_hidden: bool
) -> dict[str, Any]:
    """Return the result of a decision; the row is null if it was deleted or is hidden."""
    rows = _rows(request, asset, include_hidden=include_hidden, tag=outcome.tag_id)
    return {
        "changed": outcome.decision_id is not None,
        "decision_id": outcome.decision_id,
        "tag": rows[0] if rows else None,
    }


def _row(
    request: Request, asset: Asset, tag_id: int, *, include_hidden: bool
) -> dict[str, Any]:
    for row in _rows(request, asset, include_hidden=include_hidden, tag=tag_id):
        return row
    raise Http404


def _rows(
    request: Request, asset: Asset, *, include_hidden: bool, **narrowed: int
) -> list[dict[str, Any]]:
    """Return asset tags for the API, most confident first and then by key."""
    rows = AssetTag.objects.filter(asset=asset, **narrowed)
    kept = withheld(rows.db)
    if not include_hidden:
        rows = rows.filter(exists(kept), tag__hidden=False)
    names_people = request.user.has_perm("filestack_tags.view_tagdecision")
    who = f"decided_by__{get_user_model().USERNAME_FIELD}"
    least = get_settings().MIN_CONFIDENCE
    found = rows.order_by("-confidence", "tag__key").values_list(
        *("tag_id", "tag__key", "tag__name", "tag__min_confidence", "tag__hidden"),
        *("confidence", "tagger_confidence", "source", "decision", "decided_at", who),
    )
    shown = []
    for pk, key, name, minimum, hidden, confidence, tagger, source, decision, at, by in found:
        is_sure = confidence >= (least if minimum is None else minimum) and pk not in kept
        is_rejected = decision == AssetTag.Decision.REJECTED
        is_shown = (is_sure and not is_rejected) or decision in SHOWN_AT_ANY_CONFIDENCE
        shown.append(
            {
                "name": name,
                "key": key,
                "confidence": confidence,
                "tagger_confidence": tagger,
                "source": SOURCES[source],
                "decision": DECISIONS[decision],
                "decided_at": at,
                "decided_by": by if names_people else None,
                "shown": is_shown and not hidden,
            }
        )
    return shown
