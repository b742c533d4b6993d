"""The log of decisions: list it, and undo decisions."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import Http404
from rest_framework import mixins
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from filestack_tags import curation
from filestack_tags.assets.visibility import decisions_of
from filestack_tags.models import TagDecision

from .base import PAGING, View, asset_of, number, person
from .bodies import id_in
from .pagination import NewestFirst
from .serializers import DecisionSerializer


class DecisionViewSet(mixins.ListModelMixin, View):
    """The log of decisions about tags that the user may see by name, the latest first."""

    serializer_class = DecisionSerializer
    pagination_class = NewestFirst
    lookup_value_regex = "[^/]+"
    required_permissions: ClassVar = {
        "list": ("filestack_tags.view_tagdecision",),
        "retrieve": ("filestack_tags.view_tagdecision",),
        "undo": ("filestack_tags.change_asset", "filestack_tags.view_tagdecision"),
    }
    parameters: ClassVar = {"list": PAGING | {"asset"}}

    def get_queryset(self) -> QuerySet[TagDecision]:
        return decisions_of(self.request.user).select_related("tag", "user", "undone_by")

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        asset = id_in(self.request, "asset")
        return (
            queryset if asset is None else queryset.filter(asset=asset_of(self.request, asset))
        )

    def retrieve(self, request: Request, pk: str) -> Response:
        """Return one decision: the tag of the asset before and after."""
        return Response(DecisionSerializer(self._decision(pk)).data)

    @action(detail=True, methods=["post"])
    def undo(self, request: Request, pk: str) -> Response:
        """Undo a decision: the tag of the asset is restored as it was before. Idempotent."""
        decision = self._decision(pk)
        origin = TagDecision.Origin.API
        undone = curation.undo(decision.pk, user=person(request), origin=origin)
        return Response(DecisionSerializer(self._decision(undone.pk)).data)

    def _decision(self, pk: str | int) -> TagDecision:
        found = self.get_queryset().filter(pk=number(pk)).first()
        if found is None:
            raise Http404
        return found
