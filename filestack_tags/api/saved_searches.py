"""Saved searches: the user's own, shared ones, and their results."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from filestack_tags.assets.visibility import scope_of
from filestack_tags.curation import saved_searches
from filestack_tags.curation.saved_searches import Wanted
from filestack_tags.db.text import MAX_LABEL_LENGTH
from filestack_tags.db.transactions import locked
from filestack_tags.exceptions import (
    CursorError,
    InvalidLabel,
    SavedSearchError,
    SearchError,
)
from filestack_tags.models import SavedSearch
from filestack_tags.search.pages import Page

from . import problems
from .base import PAGING, View, number
from .bodies import owner, said
from .errors import ParameterError, Refused, refused_search
from .fields import Boolean, Choice, Text
from .pagination import NewestFirst, SearchPages
from .representation import describe
from .serializers import Body


class SavedSearchSerializer(serializers.ModelSerializer[SavedSearch]):
    owner = serializers.CharField(source="owner.get_username", read_only=True)

    class Meta:
        model = SavedSearch
        fields = (
            *("id", "name", "query", "order", "order_tag", "shared"),
            *("owner", "created_at", "changed_at"),
        )
        read_only_fields = fields


NAME = {"format": "visible-text"}
_HAS_ORDER_TAG = {
    "properties": {"order_tag": {"pattern": r"\S"}},
    "required": ["order_tag"],
}
_BY_CONFIDENCE = {"properties": {"order": {"const": "confidence"}}}


class SavedSearchBody(Body):
    """A search to save."""

    constraints: ClassVar = {
        "if": _HAS_ORDER_TAG,
        "then": {**_BY_CONFIDENCE, "required": ["order"]},
    }

    name = Text(max_length=saved_searches.MAX_NAME, constraints=NAME)
    query = Text(
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        constraints={"format": "tag-query"},
    )
    order = Choice(required=False, choices=SavedSearch.Order.choices)
    order_tag = Text(
        required=False,
        allow_blank=True,
        max_length=MAX_LABEL_LENGTH,
        constraints={"format": "tag-name"},
    )
    shared = Boolean(required=False)


class SavedSearchChange(SavedSearchBody):
    """The values to change; the others are kept."""

    constraints: ClassVar = {"if": _HAS_ORDER_TAG, "then": _BY_CONFIDENCE}

    name = Text(required=False, max_length=saved_searches.MAX_NAME, constraints=NAME)


class SavedPages(SearchPages):
    """Pages of a saved search's assets for the user, in the saved order."""

    def of(self, saved: SavedSearch, request: Request) -> Page:
        """Return the requested page.

        Raises:
            SearchError: when the search is not valid any more, or not for this user.
            ParameterError: for an invalid page size or cursor.
        """
        self.request = request
        try:
            self.found = saved.page(
                size=self.get_page_size(request),
                cursor=request.query_params.get("cursor") or None,
                within=scope_of(request.user),
                include_hidden=request.user.has_perm(saved_searches.HIDDEN),
            )
        except CursorError as error:
            raise ParameterError(str(error), parameter="cursor") from error
        return self.found


class SavedSearchViewSet(mixins.ListModelMixin, View):
    """The user's own saved searches, and those shared by others."""

    serializer_class = SavedSearchSerializer
    pagination_class = NewestFirst
    lookup_value_regex = "[^/]+"
    required_permissions: ClassVar = {
        "list": ("filestack_tags.view_savedsearch",),
        "retrieve": ("filestack_tags.view_savedsearch",),
        "create": ("filestack_tags.add_savedsearch",),
        "partial_update": ("filestack_tags.change_savedsearch",),
        "destroy": ("filestack_tags.delete_savedsearch",),
        "assets": ("filestack_tags.view_savedsearch", "filestack_tags.view_asset"),
    }
    parameters: ClassVar = {"list": PAGING, "assets": PAGING}

    def lock(self, **kwargs: str) -> None:
        if "pk" in kwargs:
            rows = SavedSearch.objects.filter(pk=number(kwargs["pk"]))
            locked(rows).only("pk").first()

    def modified_at(self, **kwargs: str) -> datetime | None:
        return self._seen(kwargs["pk"]).changed_at if "pk" in kwargs else None

    def get_queryset(self) -> QuerySet[Any]:
        return saved_searches.visible_to(self.request.user).select_related("owner")

    def retrieve(self, request: Request, pk: str) -> Response:
        """Return a saved search."""
        return self._shown(self._seen(pk))

    def create(self, request: Request) -> Response:
        """Save a search under a new name of the user's."""
        saved = _saved(Wanted(**said(SavedSearchBody, request)), request)
        place = reverse(
            "filestack_tags_api:savedsearch-detail", kwargs={"pk": saved.pk}, request=request
        )
        return self._shown(saved, status=status.HTTP_201_CREATED, headers={"Location": place})

    def partial_update(self, request: Request, pk: str) -> Response:
        """Change one of the user's own searches; values that are not given are kept."""
        known = self._own(request, pk)
        kept = {
            name: getattr(known, name)
            for name in ("name", "query", "order", "order_tag", "shared")
        }
        changes = said(SavedSearchChange, request)
        if changes.get("order", SavedSearch.Order.CONFIDENCE) != SavedSearch.Order.CONFIDENCE:
            kept["order_tag"] = ""  # other orders have none
        wanted = Wanted(**{**kept, **changes})
        return self._shown(_saved(wanted, request, known.pk))

    def destroy(self, request: Request, pk: str) -> Response:
        """Delete one of the user's own searches. No asset is changed."""
        saved_searches.delete(self._own(request, pk).pk, owner=owner(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @action(detail=True)
    def assets(self, request: Request, pk: str) -> Response:
        """Return a page of the assets that match now and that the user may see."""
        pages = SavedPages()
        try:
            page = pages.of(self._seen(pk), request)
        except SearchError as error:
            raise refused_search(error, "query") from error
        return pages.get_paginated_response(describe(page.ids, page.using))

    def _seen(self, pk: str) -> SavedSearch:
        saved: SavedSearch = get_object_or_404(self.get_queryset(), pk=number(pk))
        return saved

    def _own(self, request: Request, pk: str) -> SavedSearch:
        saved = self._seen(pk)
        if saved.owner_id != request.user.pk:
            raise PermissionDenied(_("Only the owner can change or delete a saved search."))
        return saved

    def _shown(self, saved: SavedSearch, **reply: Any) -> Response:
        return Response(SavedSearchSerializer(saved).data, **reply)


def _saved(wanted: Wanted, request: Request, saved_id: int | None = None) -> SavedSearch:
    try:
        return saved_searches.save(wanted, owner=owner(request), saved_id=saved_id)
    except SearchError as error:
        raise refused_search(error, "query") from error
    except InvalidLabel as error:
        raise ValidationError({"order_tag": [str(error)]}) from error
    except SavedSearchError as error:
        if error.conflict:
            raise Refused(problems.CONFLICT, str(error)) from error
        raise ValidationError({error.parameter: [str(error)]}) from error
