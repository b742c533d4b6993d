"""Assets: the files, with their visible tags."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime
from typing import Any, ClassVar

from django.http import Http404
from django.utils.translation import gettext as _
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from filestack_tags import tasks
from filestack_tags.assets.registry import amend, forget
from filestack_tags.assets.tags import known
from filestack_tags.assets.visibility import scope_of, sees_everything
from filestack_tags.db.replicas import read_alias
from filestack_tags.db.text import label_key
from filestack_tags.exceptions import InvalidLabel, OutOfScope
from filestack_tags.models import Asset
from filestack_tags.search.deadline import time_limit
from filestack_tags.search.facets import facets, histogram
from filestack_tags.search.hints import hints
from filestack_tags.search.language.tree import Query
from filestack_tags.search.totals import total

from .base import PAGING, View, asset_of, lock_asset, number, person
from .errors import ParameterError
from .filters import REPEATABLE, AssetFilter, asked
from .pagination import SearchPages
from .representation import FIELDS, describe
from .requests import chosen, whole_number
from .serializers import FactsSerializer, RegisterSerializer

ORDERING = frozenset({"order", "order_tag"})
NARROWING = frozenset(AssetFilter.base_filters)
INCLUDED = ("total", "facets", "hints")

TOP = 30
"""Default number of tags in facets."""
MOST = 100


class AssetViewSet(View):
    """Assets that are not archived."""

    lookup_value_regex = "[^/]+"
    required_permissions: ClassVar = {
        "list": ("filestack_tags.view_asset",),
        "retrieve": ("filestack_tags.view_asset",),
        "count": ("filestack_tags.view_asset",),
        "facets": ("filestack_tags.view_asset",),
        "histogram": ("filestack_tags.view_asset",),
        "create": ("filestack_tags.add_asset",),
        "partial_update": ("filestack_tags.change_asset",),
        "destroy": ("filestack_tags.delete_asset",),
        "retag": ("filestack_tags.tag_asset",),
    }
    parameters: ClassVar = {
        "list": PAGING | ORDERING | NARROWING | {"fields", "include"},
        "retrieve": frozenset({"fields"}),
        "count": NARROWING,
        "facets": NARROWING | {"limit"},
        "histogram": NARROWING,
    }
    operations: ClassVar = frozenset({"retag"})
    repeatable: ClassVar = REPEATABLE

    def lock(self, **kwargs: str) -> None:
        if "pk" in kwargs:
            lock_asset(kwargs["pk"])

    def modified_at(self, **kwargs: str) -> datetime | None:
        if "pk" not in kwargs:
            return None
        return asset_of(self.request, kwargs["pk"]).changed_at

    def list(self, request: Request) -> Response:
        """Return a page of the assets that match the parameters, newest first by default."""
        query, pages = asked(request.query_params), SearchPages()
        fields = chosen(request, "fields", FIELDS)
        included = chosen(request, "include", INCLUDED) or ()
        seen = _seen_by(request)
        more: dict[str, Any] = {}
        with time_limit(read_alias(Asset), query):
            page = pages.find(query, request, **seen)
            if "total" in included:
                more["total"] = _counted(query, seen)
            if "facets" in included:
                more["facets"] = _facets(query, TOP, seen)
            if "hints" in included:
                more["hints"] = [
                    asdict(hint) for hint in hints(query, **seen, using=page.using)
                ]
        return pages.get_paginated_response(describe(page.ids, page.using, fields), **more)

    def retrieve(self, request: Request, pk: str) -> Response:
        """Return one asset, with its visible tags."""
        fields = chosen(request, "fields", FIELDS)
        return Response(_described(_seen(request, pk), fields))

    @action(detail=False)
    def count(self, request: Request) -> Response:
        """Return how many assets match the parameters, or a lower bound if it is not exact."""
        return Response(_counted(asked(request.query_params), _seen_by(request)))

    @action(detail=False)
    def facets(self, request: Request) -> Response:
        """Return the most frequent tags of the assets that match the parameters."""
        limit = whole_number(request, "limit", default=TOP, most=MOST)
        return Response(_facets(asked(request.query_params), limit, _seen_by(request)))

    @action(detail=False)
    def histogram(self, request: Request) -> Response:
        """Return the confidences of `tag` on the assets that match the other parameters."""
        texts = request.query_params.getlist("tag")
        if len(texts) != 1:
            detail = _('The parameter "tag" is required exactly once.')
            raise ParameterError(detail, parameter="tag")
        try:
            key = label_key(texts[0])
        except InvalidLabel as error:
            raise ParameterError(str(error), parameter="tag") from error
        query = asked(request.query_params, without={"tag"})
        seen = _seen_by(request)
        counts = histogram(known([key]).get(key, 0), query, **seen)
        return Response(
            {
                "tag": key,
                "total": sum(counts.values()),
                "counts": [
                    {"confidence": confidence, "count": count}
                    for confidence, count in counts.items()
                ],
            }
        )

    def create(self, request: Request) -> Response:
        """Register a file; 201 if it is new, 200 if it was registered before."""
        form = RegisterSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        said = form.validated_data
        if said["tag"] and not request.user.has_perm("filestack_tags.tag_asset"):
            raise PermissionDenied(
                _(
                    "You do not have permission to tag files. "
                    'To register the file only, omit "tag".'
                )
            )
        try:
            asset, created = tasks.register(
                said["source"],
                facts=form.facts(),
                uploader=person(request),
                trigger="api",
                tag=said["tag"],
                within=scope_of(request.user),
            )
        except OutOfScope as error:
            raise ValidationError({"reference": [str(error)]}) from error
        place = reverse(
            "filestack_tags_api:asset-detail", kwargs={"pk": asset.pk}, request=request
        )
        return Response(
            _described(asset.pk),
            status=status.HTTP_201_CREATED if created else status.HTTP_200_OK,
            headers={"Location": place},
        )

    def partial_update(self, request: Request, pk: str) -> Response:
        """Update the facts of a file; facts that are not given are unchanged."""
        asset = asset_of(request, pk)
        form = FactsSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        try:
            amend(asset.pk, form.facts(), within=scope_of(request.user))
        except OutOfScope as error:
            raise ValidationError({"non_field_errors": [str(error)]}) from error
        return Response(_described(asset.pk))

    def destroy(self, request: Request, pk: str) -> Response:
        """Archive an asset. It is hidden, and restored when it is registered again."""
        forget(asset_of(request, pk).pk)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @action(detail=True, methods=["post"])
    def retag(self, request: Request, pk: str) -> Response:
        """Queue the asset for tagging; it is left alone if it is running already."""
        asset = asset_of(request, pk)
        queued = tasks.request_tagging([asset.pk], trigger="api", force=True)
        state = asset_of(request, asset.pk).tagging_state
        return Response(
            {"id": asset.pk, "state": state, "queued": bool(queued)},
            status=status.HTTP_202_ACCEPTED,
        )


def _seen(request: Request, pk: str) -> int:
    """Return the id of the asset in the path, if the user may see it."""
    return number(pk) if sees_everything(request.user) else asset_of(request, pk).pk


def _seen_by(request: Request) -> dict[str, Any]:
    """Return the search options for the user."""
    return {
        "include_hidden": request.user.has_perm("filestack_tags.search_hidden"),
        "within": scope_of(request.user),
    }


def _counted(query: Query, seen: dict[str, Any]) -> dict[str, Any]:
    found = total(query, **seen)
    return {"count": found.count, "exact": found.is_exact}


def _facets(query: Query, limit: int, seen: dict[str, Any]) -> dict[str, Any]:
    found = facets(query, limit=limit, **seen)
    return {
        "approximate": found.is_approximate,
        "sample": found.sample_size,
        "matches": found.matches,
        "tags": [
            {"key": label_key(facet.name), "name": facet.name, "count": facet.count}
            for facet in found.tags
        ],
    }


def _described(pk: int, fields: Collection[str] | None = None) -> dict[str, Any]:
    """Return one asset in the form of the API."""
    for shown in describe([pk], read_alias(Asset), fields):
        return shown
    raise Http404
