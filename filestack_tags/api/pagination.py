"""Pagination by key, not by number: concurrent inserts and deletes neither repeat nor skip rows."""

from __future__ import annotations

from typing import Any, cast

from django.db.models import Q
from django.utils.translation import gettext as _
from rest_framework.exceptions import NotFound
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from filestack_tags.db.text import MAX_LABEL_LENGTH, storable
from filestack_tags.exceptions import CursorError, InvalidLabel
from filestack_tags.search.language.tree import Query
from filestack_tags.search.pages import ORDERS, Order, Page, find

from .errors import ParameterError
from .requests import whole_number


class KeysetPagination(CursorPagination):
    """Pages of 50 (``page_size``, at most 200), each with links to its neighbours."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 200

    def get_page_size(self, request: Request) -> int:
        return whole_number(
            request, "page_size", default=self.page_size or 0, most=self.max_page_size
        )

    def get_paginated_response(self, data: Any, **more: Any) -> Response:
        """Return the page, with ``more`` members beside its rows."""
        links = {"next": self.get_next_link(), "previous": self.get_previous_link()}
        return Response({**links, **more, "results": data})


class SearchPages(KeysetPagination):
    """Pages of a search, in the order of ``order`` and ``order_tag``."""

    def find(
        self, query: Query, request: Request, *, include_hidden: bool, within: Q | None
    ) -> Page:
        """Return the requested page.

        Raises:
            SearchError: when the search exceeds a limit.
            ParameterError: for an unknown order, tag, page size or cursor.
        """
        said = request.query_params
        order = said.get("order", "newest")
        if order not in ORDERS:
            raise ParameterError(
                _('Invalid value for "%(name)s". Allowed values: %(allowed)s.')
                % {"name": "order", "allowed": ", ".join(ORDERS)},
                parameter="order",
            )
        tag = said.get("order_tag")
        if tag is not None and order != "confidence":
            raise ParameterError(
                _('"order_tag" requires order=confidence.'), parameter="order_tag"
            )
        self.request = request
        try:
            self.found = find(
                query,
                order=cast(Order, order),
                tag=tag,
                size=self.get_page_size(request),
                cursor=said.get("cursor") or None,
                include_hidden=include_hidden,
                within=within,
            )
        except CursorError as error:
            raise ParameterError(str(error), parameter="cursor") from error
        except InvalidLabel as error:
            raise ParameterError(str(error), parameter="order_tag") from error
        return self.found

    def get_next_link(self) -> str | None:
        return self._link(self.found.next)

    def get_previous_link(self) -> str | None:
        return self._link(self.found.previous)

    def _link(self, cursor: str | None) -> str | None:
        if cursor is None:
            return None
        return replace_query_param(self.request.build_absolute_uri(), "cursor", cursor)


class ByUniqueColumn(KeysetPagination):
    """Pages by one unique column: each continues exactly where the previous one stopped."""

    def decode_cursor(self, request: Request) -> Cursor | None:
        try:
            cursor = super().decode_cursor(request)
        except NotFound as error:
            raise _foreign_cursor() from error
        if cursor is None:
            return None
        # An offset is only needed if several rows share a position, which never happens here.
        is_first = cursor.position is None
        if cursor.offset or not (is_first or self.is_position(str(cursor.position))):
            raise _foreign_cursor()
        return cursor

    def is_position(self, text: str) -> bool:
        """Whether it is a valid position in our cursors."""
        raise NotImplementedError


class ByKey(ByUniqueColumn):
    """Pages of tags."""

    ordering = "key"

    def is_position(self, text: str) -> bool:
        return len(text) <= MAX_LABEL_LENGTH and text == storable(text)


class NewestFirst(ByUniqueColumn):
    """Pages of numbered objects, the highest number first."""

    ordering = "-id"

    def is_position(self, text: str) -> bool:
        return text.isascii() and text.isdigit() and len(text) < 19


def _foreign_cursor() -> ParameterError:
    return ParameterError(
        _('Invalid cursor. Follow the links "next" and "previous" unchanged.'),
        parameter="cursor",
    )
