"""Badges: the visible tags of each asset of a list, read at once and written without templates.

A list shows some hundred of them, and templates took longer to write them than all the rest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from django.utils.html import format_html
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

    def __html__(self) -> SafeString:
        """Return the badge as an item of a list."""
        # Some three hundred on a page: format_html() takes four times as long.
        title = mark = spoken = ""
        if self.decision:
            decision = AssetTag.Decision(self.decision)
            said = escape(str(decision.label))
            title = f' title="{said}"'
            sign = MARKS.get(decision, "")
            mark = f'<span class="fst-mark" aria-hidden="true">{sign}</span>'
            spoken = f'<span class="visually-hidden">{said}</span>'
        return mark_safe(  # noqa: S308  # every text in it is escaped
            f'<li class="fst-tag fst-decision-{self.decision:d}"{title}>{mark}'
            f"<bdi>{escape(self.tag)}</bdi>{sensitive_mark(self.tag)} "
            f'<span class="fst-confidence">{self.confidence:d}</span>{spoken}</li>'
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
    safe = "".join([badge.__html__() for badge in badges[:most]])
    items = mark_safe(safe)  # noqa: S308  # each of them is
    left = len(badges) - most
    if url and left > 0:
        text = ngettext("%(more)d more", "%(more)d more", left) % {"more": left}
        items += format_html('<li class="fst-more"><a href="{}#tags">{}</a></li>', url, text)
    return format_html('<ul class="fst-tags">{}</ul>', items)
