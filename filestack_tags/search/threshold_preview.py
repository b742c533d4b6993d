"""Preview another global minimum confidence: what would still be shown.

There are too many rows to count for a page, and only their shares matter for choosing a minimum. So
a large installation is sampled: assets with ids spread over the whole range, the same ones each
time, so that two previews can be compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random

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

from filestack_tags.assets.sensitive import is_approved, unapproved_ids
from filestack_tags.models import Asset, AssetTag
from filestack_tags.models.tags import CONFIRMED

from .tag_lookup import rows_of

SAMPLE = 1_800
"""Sample size for large installations: shares are then accurate to about two percent."""

TRIES = 4
"""How many times as many ids are drawn, since some belong to no asset any more."""

BATCH_SIZE = 450
"""Ids in one statement, within SQLite's oldest limit."""

ALWAYS = 101
"""Marks a tag that stays whatever the global minimum is: because of a user's decision or its own
minimum.
"""


@dataclass(frozen=True, slots=True)
class ThresholdPreview:
    """Up to which global minimum tags, and assets with at least one of them, stay shown.

    Args:
        tags: ``{minimum: number of asset tags that stay up to it}``, and no further.
        assets: likewise for assets, by the tag that stays longest.
        assets_read: number of assets that were read.
        is_approximate: whether those are a sample.
    """

    tags: Mapping[int, int]
    assets: Mapping[int, int]
    assets_read: int
    is_approximate: bool

    def counts(self, minimum: int) -> tuple[int, int]:
        """Return how many tags and how many assets stay shown with this minimum."""
        return (
            sum(count for until, count in self.tags.items() if until >= minimum),
            sum(count for until, count in self.assets.items() if until >= minimum),
        )


def preview(using: str) -> ThresholdPreview:
    """Return up to which global minimum the tags of assets would be shown.

    Hidden and unapproved tags, rejected rows, and rows below their tag's own minimum do not count:
    the global minimum does not affect them. About fifteen statements, which read the rows of
    :data:`SAMPLE` assets; a few more if many ids no longer exist.
    """
    present = rows_of(Asset, using).filter(deleted_at=None)
    until = Case(
        When(
            Q(decision__in=CONFIRMED) | Q(tag__min_confidence__lte=F("score")),
            then=Value(ALWAYS),
        ),
        default=F("score"),
        output_field=IntegerField(),
    )
    rows = (
        rows_of(AssetTag, using)
        .filter(is_approved(unapproved_ids(using)), score__gte=0, tag__hidden=False)
        .filter(
            Q(tag__min_confidence=None)
            | Q(decision__in=CONFIRMED)
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
    assets_read = 0
    for ids in chunks:
        assets_read += len(ids)
        of_these = rows.filter(asset__in=ids)
        tags.update(dict(of_these.values_list("until").annotate(n=Count("*"))))
        best = of_these.values("asset_id").annotate(longest=Max("until"))
        assets.update(best.values_list("longest", flat=True))
    return ThresholdPreview(tags, assets, assets_read, is_approximate)


def _chunks(ids: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(ids), BATCH_SIZE):
        yield ids[start : start + BATCH_SIZE]


def _drawn(present: QuerySet[Asset]) -> Iterator[list[int]]:
    """Yield ids of present assets, drawn evenly from all ids, until there are enough."""
    ends = present.aggregate(first=Min("pk"), last=Max("pk"))
    ids = range(ends["first"], ends["last"] + 1)
    missing = SAMPLE
    draw = Random(0)  # noqa: S311  # deterministic, not secret
    for chunk in _chunks(draw.sample(ids, min(len(ids), TRIES * SAMPLE))):
        present_ids = list(present.filter(pk__in=chunk).values_list("pk", flat=True)[:missing])
        yield present_ids
        missing -= len(present_ids)
        if not missing:
            return
