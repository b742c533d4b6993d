"""Messages of the list about a search that is invalid or contains unknown tags."""

from __future__ import annotations

from urllib.parse import urlencode

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from filestack_tags.exceptions import SearchError
from filestack_tags.search.hints import Hint
from filestack_tags.search.language.tree import OPERATORS, label_text


def explained(error: SearchError, query: str) -> SafeString:
    """Return the error with its position marked in the search, and a link to a corrected one."""
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


def hinted(hint: Hint) -> SafeString:
    """Return what is unknown or may have been meant, with links to searches."""
    if hint.kind == "phrase":
        text = _("There is a tag “%(name)s”.") % {"name": hint.term}
    elif hint.kind == "whole":
        text = _("“%(term)s” matches complete values only.") % {"term": hint.term}
    else:
        text = _("There is no tag “%(name)s”.") % {"name": hint.term}
    links = [
        format_html("{}", name) if name in OPERATORS else _search_link(label_text(name), name)
        for name in hint.near
    ]
    if hint.suggestion and not any(name not in OPERATORS for name in hint.near):
        links.insert(0, _search_link(hint.suggestion, hint.suggestion))
    if not links:
        return format_html("{}", text)
    return format_html("{} {} {}", text, _("Did you mean"), _joined(", ", links))


def _search_link(query: str, text: str) -> SafeString:
    return format_html('<a href="?{}" dir="auto">{}</a>', urlencode({"q": query}), text)


def _joined(separator: str, parts: list[SafeString]) -> SafeString:
    return format_html_join(separator, "{}", ((part,) for part in parts))
