"""How single values are written in the admin's pages."""

from __future__ import annotations

import json
from contextlib import suppress

from django.db.models import Model
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from filestack_tags import sensitive

NOTHING = SafeString("")

MAX_SHOWN = 100_000
"""Characters of a raw body that a page shows."""


def link_to(row: Model | None, admin_site_name: str) -> str | SafeString:
    """Return a link to the page of ``row``; names may run right to left."""
    if row is None:
        return "–"
    url = reverse(
        f"admin:{row._meta.app_label}_{row._meta.model_name}_change",
        args=(row.pk,),
        current_app=admin_site_name,
    )
    return format_html('<a class="fst-name" dir="auto" href="{}">{}</a>', url, row)


def raw(body: str | bytes) -> str | SafeString:
    """Return a body as received: indented when it is JSON, whatever else it is as text.

    Bytes that are not UTF-8 are shown as U+FFFD; the row keeps them as they came.
    """
    text = body if isinstance(body, str) else bytes(body).decode("utf-8", "replace")
    if not text:
        return "–"
    # What is not JSON, or nested too deep to be indented, is shown as it is.
    with suppress(ValueError, RecursionError):
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    cut = len(text) - MAX_SHOWN
    shown = format_html('<pre class="fst-raw" dir="ltr">{}</pre>', text[:MAX_SHOWN])
    if cut <= 0:
        return shown
    note = _("%(count)d more characters are stored.") % {"count": cut}
    return format_html('{}<p class="help">{}</p>', shown, note)


def text_block(text: str) -> str | SafeString:
    """Return text of several lines, such as an error, as it was written."""
    return format_html('<pre class="fst-raw" dir="auto">{}</pre>', text) if text else "–"


def sensitive_mark(key: str) -> SafeString:
    """Return the mark of a sensitive label, by its key; nothing for any other."""
    category = sensitive.category_of(key)
    if not category:
        return NOTHING
    return format_html(
        '<span class="fst-sensitive" title="{}">{}</span>', category, _("sensitive")
    )
