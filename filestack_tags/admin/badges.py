"""Badges: the visible tags of each asset in a list, read at once and rendered without templates.

A list shows some hundred of them, and rendering templates took longer than everything else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import ngettext

from filestack_tags.models import Asset, AssetTag
from filestack_tags.search.visible_tags import visible_asset_tags

from .display import sensitive_mark

MARKS = {AssetTag.Decision.ACCEPTED: "✓", AssetTag.Decision.ADDED: "+"}
"""The mark of a decision before the tag's name."""


class Badge(NamedTuple):
    """A tag of an asset as shown in the list. Creating a thousand model instances would take longer
    than reading the rows.
    """

    tag: str
    key: str
    confidence: int
    decision: int

    def render(self) -> str:
        """Return the badge as a list item with every text escaped."""
        # About three hundred on a page: format_html() takes four times as long.
        title = mark = hidden_label = ""
        if self.decision:
            decision = AssetTag.Decision(self.decision)
            label = escape(str(decision.label))
            title = f' title="{label}"'
            sign = MARKS.get(decision, "")
            mark = f'<span class="fst-mark" aria-hidden="true">{sign}</span>'
            hidden_label = f'<span class="visually-hidden">{label}</span>'
        return (
            f'<li class="fst-tag fst-decision-{self.decision:d}"{title}>{mark}'
            f"<bdi>{escape(self.tag)}</bdi>{sensitive_mark(self.key)} "
            f'<span class="fst-confidence">{self.confidence:d}</span>{hidden_label}</li>'
        )


def badges_of(assets: Iterable[Asset]) -> dict[int, list[Badge]]:
    """Return the visible tags of each asset that has any, the most confident first."""
    rows = visible_asset_tags(AssetTag.objects.filter(asset__in=[asset.pk for asset in assets]))
    badges: defaultdict[int, list[Badge]] = defaultdict(list)
    columns = ("asset_id", "tag__name", "tag__key", "confidence", "decision")
    for asset, *values in rows.order_by("-confidence", "tag__key").values_list(*columns):
        badges[asset].append(Badge(*values))
    return badges


def render_badges(badges: Sequence[Badge], *, most: int, url: str = "") -> SafeString:
    """Return the first badges as a list, and with ``url`` a link with the number of others.

    Return a dash if there are no badges.
    """
    if not badges:
        return mark_safe("–")
    items = [badge.render() for badge in badges[:most]]
    more = len(badges) - most
    if url and more > 0:
        text = ngettext("%(more)d more", "%(more)d more", more) % {"more": more}
        items.append(
            f'<li class="fst-more"><a href="{escape(url)}#tags">{escape(text)}</a></li>'
        )
    return mark_safe(f'<ul class="fst-tags">{"".join(items)}</ul>')  # noqa: S308  # as above
