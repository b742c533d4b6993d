"""The cells of a page of the asset list.

Values shared by all rows are computed once for the page, and ``format_html()`` is not used. Doing
it all for each cell took a third of the page's time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from filestack_tags.admin.badges import Badge, render_badges
from filestack_tags.assets.thumbnails import has_thumbnail
from filestack_tags.models import Asset

BADGES = 8
"""Maximum tags shown for each asset of the list; its own page shows all."""


class Cells:
    """Renders the cells of the assets of one page.

    Args:
        badges: the visible tags of each asset that has any.
        url: returns the URL of an asset's page, by its id.
        came_from: the query string about the list for that URL.
        picture: returns the picture of an asset.
    """

    def __init__(
        self,
        *,
        badges: Mapping[int, Sequence[Badge]],
        url: Callable[[int], str],
        came_from: str,
        picture: Callable[[Asset], SafeString],
    ) -> None:
        self._badges = badges
        self._url = url
        self._came_from = escape(came_from)
        self.picture = picture
        self._select = _("Select this object for an action - {}")
        self._states = {state: escape(str(label)) for state, label in Asset.State.choices}

    def checkbox(self, asset: Asset) -> SafeString:
        label = escape(self._select.format(asset))
        return _safe(
            f'<input type="checkbox" name="{ACTION_CHECKBOX_NAME}" value="{asset.pk:d}" '
            f'class="action-select" aria-label="{label}">'
        )

    def name(self, asset: Asset) -> SafeString:
        below = (
            f'<span class="fst-reference" dir="ltr">{escape(asset.reference)}</span>'
            if asset.filename
            else ""
        )
        return _safe(
            f'<a class="fst-name" dir="auto" '
            f'href="{escape(self._url(asset.pk))}{self._came_from}">{escape(str(asset))}</a>{below}'
        )

    def badges(self, asset: Asset) -> SafeString:
        return render_badges(
            self._badges.get(asset.pk, ()), most=BADGES, url=self._url(asset.pk)
        )

    def state(self, asset: Asset) -> SafeString:
        state = asset.tagging_state
        return _safe(
            f'<span class="fst-state fst-state-{escape(state)}">{self._states[state]}</span>'
        )


def picture(asset: Asset, *, height: int, url: str) -> SafeString:
    """Return a picture of the asset, ``height`` pixels high, or a placeholder."""
    if not has_thumbnail(asset):
        nothing = escape(_("no preview"))
        return _safe(
            f'<span class="fst-picture fst-picture-{height:d} fst-no-picture">{nothing}</span>'
        )
    alternative = escape(_("Preview of %(name)s") % {"name": asset})
    return _safe(
        f'<img class="fst-picture fst-picture-{height:d}" src="{escape(url)}" loading="lazy" '
        f'decoding="async" height="{height:d}" alt="{alternative}">'
    )


def _safe(html: str) -> SafeString:
    return mark_safe(html)  # noqa: S308  # all parts are escaped
