"""Format single values in the admin's pages."""

from __future__ import annotations

import json
from contextlib import suppress

from django.db.models import Model
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from filestack_tags.assets import sensitive_labels
from filestack_tags.db.text import sanitize_text

NOTHING = SafeString("")

MAX_SHOWN = 100_000
"""Maximum characters of a raw body that a page shows."""


def link_to(row: Model | None, admin_site_name: str) -> str | SafeString:
    """Return a link to the page of ``row``; names may be right-to-left."""
    if row is None:
        return "–"
    url = reverse(
        f"admin:{row._meta.app_label}_{row._meta.model_name}_change",
        args=(row.pk,),
        current_app=admin_site_name,
    )
    return format_html('<a class="fst-name" dir="auto" href="{}">{}</a>', url, row)


def raw_block(body: str | bytes) -> str | SafeString:
    """Return a body as received: indented if it is JSON, otherwise as text.

    Invalid UTF-8, also as an escape in JSON, is shown as U+FFFD; the row keeps the original.
    """
    text = body if isinstance(body, str) else bytes(body).decode("utf-8", "replace")
    if not text:
        return "–"
    # Invalid or too deeply nested JSON is shown unchanged.
    with suppress(ValueError, RecursionError):
        text = _indented(text)
    block = format_html(
        '<pre class="fst-raw" dir="ltr">{}</pre>', sanitize_text(text[:MAX_SHOWN])
    )
    if len(text) <= MAX_SHOWN:
        return block
    note = _("Only the first %(count)d characters are shown.") % {"count": MAX_SHOWN}
    return format_html('{}<p class="help">{}</p>', block, note)


def _indented(text: str) -> str:
    """Return JSON with line breaks, up to a little more than is shown.

    Indentation may take a thousand times as much memory as the body.
    """
    parts: list[str] = []
    length = 0
    for part in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(json.loads(text)):
        parts.append(part)
        length += len(part)
        if length > MAX_SHOWN:
            break
    return "".join(parts)


def text_block(text: str) -> str | SafeString:
    """Return text of several lines, such as an error, with its line breaks."""
    return format_html('<pre class="fst-raw" dir="auto">{}</pre>', text) if text else "–"


def sensitive_mark(key: str) -> SafeString:
    """Return the mark of a sensitive label, by its key; nothing for other labels."""
    category = sensitive_labels.category_of(key)
    if not category:
        return NOTHING
    return format_html(
        '<span class="fst-sensitive" title="{}">{}</span>', category, _("sensitive")
    )
