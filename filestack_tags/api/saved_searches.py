"""Saved searches: the user's own, shared ones, and their results."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from filestack_tags.curation import saved_searches
from filestack_tags.curation.saved_searches import SavedSearchInput
from filestack_tags.db.text import MAX_LABEL_LENGTH
from filestack_tags.db.transactions import locked
from filestack_tags.exceptions import (
    InvalidLabel,
    SavedSearchError,
    SearchError,
)
from filestack_tags.models import SavedSearch

from .asset_json import describe
from .assets import AssetPageSerializer
from .base import View, operation, row_id
from .fields import Boolean, Choice, Text, search_text
from .pagination import links_of
from .problems import CONFLICT, INVALID_QUERY, SEARCH_TIMEOUT, ProblemError, invalid_search
from .serializers import Body, PageParameters, page_of


class SavedSearchSerializer(serializers.ModelSerializer[SavedSearch]):
    owner = serializers.CharField(source="owner.get_username", read_only=True)

    class Meta:
        model = SavedSearch
        fields = (
            *("id", "name", "query", "order", "order_tag", "shared"),
            *("owner", "created_at", "updated_at"),
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
    query = search_text()
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


SAVE_PROBLEMS = (CONFLICT, INVALID_QUERY, SEARCH_TIMEOUT)


class SavedSearchViewSet(View):
    """The user's own saved searches, and those shared by others."""

    def lock(self, **kwargs: str) -> None:
        if "pk" in kwargs:
            locked(SavedSearch.objects.filter(pk=row_id(kwargs["pk"]))).only("pk").first()

    def modified_at(self, **kwargs: str) -> datetime | None:
        return self._visible(kwargs["pk"]).updated_at if "pk" in kwargs else None

    @operation(
        "view_savedsearch", parameters=PageParameters, returns=page_of(SavedSearchSerializer)
    )
    def list(self, request: Request) -> Response:
        return self.page(self._rows())

    @operation("view_savedsearch", returns=SavedSearchSerializer)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Return a saved search that the user may see."""
        return self.respond(self._visible(pk))

    @operation(
        "add_savedsearch",
        body=SavedSearchBody,
        returns=SavedSearchSerializer,
        status=(201,),
        problems=SAVE_PROBLEMS,
    )
    def create(self, request: Request) -> Response:
        """Save a search under a new name of the user's."""
        saved = self._save(SavedSearchInput(**self.body))
        return self.respond(saved, location=("savedsearch-detail", {"pk": saved.pk}))

    @operation(
        "change_savedsearch",
        body=SavedSearchChange,
        returns=SavedSearchSerializer,
        problems=SAVE_PROBLEMS,
    )
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change one of the user's own searches; values that are not given are kept."""
        saved, changes = self._own(pk), self.body
        names = ("name", "query", "order", "order_tag", "shared")
        values = {name: getattr(saved, name) for name in names}
        if changes.get("order", SavedSearch.Order.CONFIDENCE) != SavedSearch.Order.CONFIDENCE:
            values["order_tag"] = ""  # other orders have none
        return self.respond(self._save(SavedSearchInput(**{**values, **changes}), saved.pk))

    @operation("delete_savedsearch", status=(204,))
    def destroy(self, request: Request, pk: str) -> Response:
        """Delete one of the user's own searches. No asset is changed."""
        saved_searches.delete(self._own(pk).pk, user=self.owner)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @operation(
        "view_savedsearch",
        "view_asset",
        parameters=PageParameters,
        returns=AssetPageSerializer,
        problems=(INVALID_QUERY, SEARCH_TIMEOUT),
    )
    @action(detail=True)
    def assets(self, request: Request, pk: str) -> Response:
        """Return a page of the assets that match now and that the user may see."""
        try:
            page = self._visible(pk).page(
                request.user,
                size=self.query["page_size"],
                cursor=self.query["cursor"] or None,
            )
        except SearchError as error:
            raise invalid_search(error, "query") from error
        results = describe(page.ids, page.using)
        return Response(links_of(page, request) | {"results": results})

    def _rows(self) -> QuerySet[SavedSearch]:
        return saved_searches.visible_to(self.request.user).select_related("owner")

    def _visible(self, pk: str) -> SavedSearch:
        saved: SavedSearch = get_object_or_404(self._rows(), pk=row_id(pk))
        return saved

    def _own(self, pk: str) -> SavedSearch:
        saved = self._visible(pk)
        if saved.owner_id != self.request.user.pk:
            raise PermissionDenied(_("Only the owner can change or delete a saved search."))
        return saved

    def _save(self, values: SavedSearchInput, saved_id: int | None = None) -> SavedSearch:
        try:
            return saved_searches.save(values, user=self.owner, saved_id=saved_id)
        except SearchError as error:
            raise invalid_search(error, "query") from error
        except InvalidLabel as error:
            raise ValidationError({"order_tag": [str(error)]}) from error
        except SavedSearchError as error:
            if error.conflict:
                raise ProblemError(CONFLICT, str(error)) from error
            raise ValidationError({error.parameter: [str(error)]}) from error
