"""Badges: the visible tags of each asset of a list, read at once and written without templates.

A list shows some hundred of them, and templates took longer to write them than all the rest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import ngettext

from filestack_tags.models import Asset, AssetTag
from filestack_tags.search.planner import visible_asset_tags

from .display import sensitive_mark

MARKS = {AssetTag.Decision.ACCEPTED: "✓", AssetTag.Decision.ADDED: "+"}
"""What is said of a decision before the tag's name."""


@dataclass(frozen=True, slots=True)
class Badge:
    """What the list shows of an asset's tag. A thousand rows of the model would take longer to
    make than to read."""

    tag: str
    confidence: int
    decision: int

    def __html__(self) -> str:
        """Return the badge as an item of a list."""
        mark = sensitive_mark(self.tag)
        if not self.decision:
            return format_html(
                '<li class="fst-tag fst-decision-0"><bdi>{}</bdi>{} '
                '<span class="fst-confidence">{}</span></li>',
                self.tag,
                mark,
                self.confidence,
            )
        decision = AssetTag.Decision(self.decision)
        return format_html(
            '<li class="fst-tag fst-decision-{}" title="{}">'
            '<span class="fst-mark" aria-hidden="true">{}</span><bdi>{}</bdi>{} '
            '<span class="fst-confidence">{}</span>'
            '<span class="visually-hidden">{}</span></li>',
            self.decision,
            decision.label,
            MARKS.get(decision, ""),
            self.tag,
            mark,
            self.confidence,
            decision.label,
        )


def badges_of(shown: Iterable[Asset]) -> dict[int, list[Badge]]:
    """Return the visible tags of each asset that has some, the most confident first."""
    rows = visible_asset_tags(AssetTag.objects.filter(asset__in=[asset.pk for asset in shown]))
    badges: defaultdict[int, list[Badge]] = defaultdict(list)
    columns = ("asset_id", "tag__name", "confidence", "decision")
    for asset, tag, confidence, decision in rows.order_by(
        "-confidence", "tag__key"
    ).values_list(*columns):
        badges[asset].append(Badge(tag, confidence, decision))
    return badges


def written(badges: Sequence[Badge], *, most: int, url: str = "") -> SafeString:
    """Return the first badges as a list, and with ``url`` a link that says how many more.

    A dash where there is none.
    """
    if not badges:
        return mark_safe("–")
    items = format_html_join("", "{}", ((badge,) for badge in badges[:most]))
    left = len(badges) - most
    if url and left > 0:
        text = ngettext("%(more)d more", "%(more)d more", left) % {"more": left}
        items += format_html('<li class="fst-more"><a href="{}#tags">{}</a></li>', url, text)
    return format_html('<ul class="fst-tags">{}</ul>', items)
