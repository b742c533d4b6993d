"""The global minimum, explored: what would still be shown if it were another.

All rows of all tags are too many to count for a page, and their shares are what a minimum is
chosen by. So a large installation is sampled: assets drawn by their ids from everywhere, the same
ones each time, so that two looks can be compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from django.db.models import (
    Case,
    Count,
    F,
    IntegerField,
    Max,
    Min,
    Q,
    QuerySet,
    Value,
    When,
)

from .names import rows_of
from .withheld import exists, withheld

SAMPLE = 1_800
"""Assets that are looked at where there are more: shares are then known to some two percent."""

TRIES = 4
"""How many times as many ids are drawn, of which some are of no asset any more."""

AT_ONCE = 450
"""Ids in one statement, as many as SQLite's oldest limit lets it hold."""

ALWAYS = 101
"""Stands for a tag that stays whatever the global minimum is: a person said so, or its own
minimum does."""


@dataclass(frozen=True, slots=True)
class Staying:
    """Up to which global minimum tags stay shown, and assets with at least one of them.

    Args:
        tags: ``{minimum: how many tags of assets stay up to it}``, and no further.
        assets: likewise, assets by the tag of theirs that stays longest.
        looked_at: how many assets were looked at.
        is_approximate: whether those are a sample.
    """

    tags: Mapping[int, int]
    assets: Mapping[int, int]
    looked_at: int
    is_approximate: bool

    def stay(self, minimum: int) -> tuple[int, int]:
        """Return how many tags and how many assets stay with this minimum."""
        return (
            sum(count for until, count in self.tags.items() if until >= minimum),
            sum(count for until, count in self.assets.items() if until >= minimum),
        )


def staying(using: str) -> Staying:
    """Return up to which global minimum tags of assets would be shown.

    Neither hidden nor withheld tags count, nor rejected rows, nor those below their tag's own
    minimum: the global one does not change what is said of them. Some fifteen statements, which
    read the rows of :data:`SAMPLE` assets; a few more where many ids are gone.
    """
    present: QuerySet[Any] = rows_of("Asset", using).filter(deleted_at=None)
    until = Case(
        When(
            Q(decision__in=(1, 3)) | Q(tag__min_confidence__lte=F("score")), then=Value(ALWAYS)
        ),
        default=F("score"),
        output_field=IntegerField(),
    )
    rows = (
        rows_of("AssetTag", using)
        .filter(exists(withheld(using)), score__gte=0, tag__hidden=False)
        .filter(
            Q(tag__min_confidence=None)
            | Q(decision__in=(1, 3))
            | Q(tag__min_confidence__lte=F("score"))
        )
        .annotate(until=until)
        .order_by()
    )
    few = list(present.order_by("pk").values_list("pk", flat=True)[: SAMPLE + 1])
    is_approximate = len(few) > SAMPLE
    chunks = _drawn(present) if is_approximate else _chunks(few)
    tags: Counter[int] = Counter()
    assets: Counter[int] = Counter()
    looked_at = 0
    for ids in chunks:
        looked_at += len(ids)
        of_these = rows.filter(asset__in=ids)
        tags.update(dict(of_these.values_list("until").annotate(n=Count("*"))))
        best = of_these.values("asset_id").annotate(longest=Max("until"))
        assets.update(best.values_list("longest", flat=True))
    return Staying(tags, assets, looked_at, is_approximate)


def _chunks(ids: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(ids), AT_ONCE):
        yield ids[start : start + AT_ONCE]


def _drawn(present: QuerySet[Any]) -> Iterator[list[int]]:
    """Yield ids of present assets, drawn evenly from all there ever were, until they are enough."""
    ends = present.aggregate(first=Min("pk"), last=Max("pk"))
    ids = range(ends["first"], ends["last"] + 1)
    left = SAMPLE
    draw = Random(0)  # noqa: S311  # the same draw each time; nothing is kept secret by it
    for some in _chunks(draw.sample(ids, min(len(ids), TRIES * SAMPLE))):
        found = list(present.filter(pk__in=some).values_list("pk", flat=True)[:left])
        yield found
        left -= len(found)
        if not left:
            return
