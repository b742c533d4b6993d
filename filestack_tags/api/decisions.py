"""The log of decisions: list it, and undo decisions."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from filestack_tags import curation
from filestack_tags.assets.visibility import decisions_of
from filestack_tags.models import AssetTag, TagDecision

from .base import View, operation, row_id
from .fields import Id
from .problems import CONFLICT
from .serializers import PageParameters, page_of


class DecisionSerializer(serializers.ModelSerializer[TagDecision]):
    """A decision, with the row before and after; null if there was no row."""

    asset = serializers.IntegerField(source="asset_id", read_only=True)
    tag = serializers.CharField(source="tag.key", default=None, allow_null=True, read_only=True)
    user = serializers.CharField(
        source="user.get_username", default=None, allow_null=True, read_only=True
    )
    undoes = serializers.IntegerField(source="undoes_id", allow_null=True, read_only=True)
    undone_by = serializers.IntegerField(
        source="undone_by.pk", default=None, allow_null=True, read_only=True
    )
    before = serializers.SerializerMethodField()
    after = serializers.SerializerMethodField()

    class Meta:
        model = TagDecision
        fields = (
            *("id", "asset", "tag", "act", "user", "created_at", "origin", "job"),
            *("before", "after", "undoes", "undone_by"),
        )
        read_only_fields = fields

    def get_before(self, decision: TagDecision) -> dict[str, Any] | None:
        return _state(decision.before_confidence, decision.before_decision)

    def get_after(self, decision: TagDecision) -> dict[str, Any] | None:
        return _state(decision.after_confidence, decision.after_decision)


def _state(confidence: int | None, decision: int) -> dict[str, Any] | None:
    if confidence is None:
        return None
    return {"confidence": confidence, "decision": AssetTag.Decision(decision).name.lower()}


class DecisionParameters(PageParameters):
    asset = Id(help_text="only decisions about this asset")


class DecisionViewSet(View):
    """The log of decisions about tags that the user may see by name, the latest first."""

    @operation(
        "view_tagdecision", parameters=DecisionParameters, returns=page_of(DecisionSerializer)
    )
    def list(self, request: Request) -> Response:
        rows = self._decisions()
        if (asset := self.query["asset"]) is not None:
            rows = rows.filter(asset=self.asset(asset))
        return self.page(rows)

    @operation("view_tagdecision", returns=DecisionSerializer)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Return one decision: the tag of the asset before and after."""
        return self.respond(self._decision(pk))

    @operation(
        "change_asset", "view_tagdecision", returns=DecisionSerializer, problems=(CONFLICT,)
    )
    @action(detail=True, methods=["post"])
    def undo(self, request: Request, pk: str) -> Response:
        """Undo a decision: the tag of the asset is restored as it was before. Idempotent."""
        origin = TagDecision.Origin.API
        undone = curation.undo(self._decision(pk).pk, user=self.user, origin=origin)
        return self.respond(self._decision(undone.pk))

    def _decisions(self) -> QuerySet[TagDecision]:
        return decisions_of(self.request.user).select_related("tag", "user", "undone_by")

    def _decision(self, pk: str | int) -> TagDecision:
        decision: TagDecision = get_object_or_404(self._decisions(), pk=row_id(pk))
        return decision
