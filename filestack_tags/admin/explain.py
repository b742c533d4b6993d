"""What the list says of a search that cannot be read, or that names unknown tags."""

from __future__ import annotations

from urllib.parse import urlencode

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from filestack_tags.exceptions import TagQueryError
from filestack_tags.search.ast import OPERATORS, label_text
from filestack_tags.search.planner import UnknownTag


def explained(error: TagQueryError, query: str) -> SafeString:
    """Return the error with its place marked in the search, and a corrected one to click."""
    end = error.position + max(len(error.found), 1)
    marked = format_html(
        '<code class="fst-query" dir="auto">{}<mark>{}</mark>{}</code>',
        query[: error.position],
        query[error.position : end] or "␣",
        query[end:],
    )
    parts = [format_html("{}", error.message), marked]
    if error.expected:
        words = _("Expected: %(words)s.") % {"words": ", ".join(error.expected)}
        parts.append(format_html("{}", words))
    if error.suggestion:
        corrected = _search_link(error.suggestion, error.suggestion)
        parts.append(format_html("{} {}", _("Did you mean"), corrected))
    return _joined(" ", parts)


def hinted(tag: UnknownTag) -> SafeString:
    """Return that there is no such tag, with near ones to click."""
    said = format_html("{}", _("There is no tag “%(name)s”.") % {"name": tag.name})
    if not tag.near:
        return said
    near = [
        format_html("{}", name) if name in OPERATORS else _search_link(label_text(name), name)
        for name in tag.near
    ]
    return format_html("{} {} {}", said, _("Did you mean"), _joined(", ", near))


def _search_link(query: str, text: str) -> SafeString:
    return format_html('<a href="?{}" dir="auto">{}</a>', urlencode({"q": query}), text)


def _joined(separator: str, parts: list[SafeString]) -> SafeString:
    return format_html_join(separator, "{}", ((part,) for part in parts))
