"""Pagination by key, not by number: concurrent inserts and deletes neither repeat nor skip rows."""

from __future__ import annotations

from django.utils.translation import gettext as _
from rest_framework.exceptions import NotFound
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from filestack_tags.db.text import MAX_LABEL_LENGTH, sanitize_text
from filestack_tags.search.pages import Page

from .problems import ParameterError


def links_of(page: Page, request: Request) -> dict[str, str | None]:
    """Return the links of a page of assets to its neighbors."""
    url = request.build_absolute_uri()
    cursors = {"next": page.next, "previous": page.previous}
    return {
        name: cursor and replace_query_param(url, "cursor", cursor)
        for name, cursor in cursors.items()
    }


class KeysetPagination(CursorPagination):
    """Pages by one unique column: each continues exactly where the previous one stopped."""

    def __init__(self, page_size: int) -> None:
        self.page_size = page_size

    def links(self) -> dict[str, str | None]:
        """Return the links of the page to its neighbors."""
        return {"next": self.get_next_link(), "previous": self.get_previous_link()}

    def decode_cursor(self, request: Request) -> Cursor | None:
        try:
            cursor = super().decode_cursor(request)
        except NotFound as error:
            raise _invalid_cursor() from error
        if cursor is None:
            return None
        # An offset is only needed if several rows share a position, which never happens here.
        is_first = cursor.position is None
        if cursor.offset or not (is_first or self.is_position(str(cursor.position))):
            raise _invalid_cursor()
        return cursor

    def is_position(self, text: str) -> bool:
        """Return whether it is a valid position in our cursors."""
        raise NotImplementedError


class ByKey(KeysetPagination):
    """Pages of tags."""

    ordering = "key"

    def is_position(self, text: str) -> bool:
        return len(text) <= MAX_LABEL_LENGTH and text == sanitize_text(text)


class NewestFirst(KeysetPagination):
    """Pages of numbered objects, the highest number first."""

    ordering = "-id"

    def is_position(self, text: str) -> bool:
        return text.isascii() and text.isdigit() and len(text) < 19


def _invalid_cursor() -> ParameterError:
    return ParameterError(
        _('Invalid cursor. Follow the links "next" and "previous" unchanged.'),
        parameter="cursor",
    )
