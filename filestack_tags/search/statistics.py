"""Statistics: how many assets have each tag at each score, for the plans of searches.

Writing replies does not update them; :func:`refresh` counts again, every few hours or after an
import. Between two counts the rows drift, which makes searches slower but never wrong. Plans read
them as estimates. Without statistics, the tag's asset count is used.
"""

# ruff: noqa: S608  # names of tables and columns are put in, values never are

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from django.db import connections
from django.db.models import Count

from filestack_tags.assets.tags import BATCH_SIZE
from filestack_tags.db import prepared_statements
from filestack_tags.db.transactions import alias, run_with_retry
from filestack_tags.models import AssetTag, Tag, TagStatistic

from .tables import Tables
from .term_sql import MAX_SCORE, Stream

Counts = dict[tuple[int, int], int]
"""``{(tag id, score): assets}``."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How far the statistics are from the real counts.

    Args:
        rows: number of (tag, score) pairs that are wrong, missing or superfluous.
        assets: the total difference in assets.
        counted: number of (asset, tag) pairs that searches can find.
    """

    rows: int = 0
    assets: int = 0
    counted: int = 0

    @property
    def share(self) -> float:
        """``assets`` as a share of ``counted``: 0 is exact, 1 or more is useless."""
        return self.assets / max(self.counted, 1)

    def __add__(self, other: Drift) -> Drift:
        return Drift(
            self.rows + other.rows, self.assets + other.assets, self.counted + other.counted
        )


def refresh(tag_ids: Iterable[int] | None = None) -> Drift:
    """Count again and correct the statistics; return how wrong they were.

    Processes the tags in the order of their ids, :data:`~filestack_tags.assets.tags.BATCH_SIZE` at
    a time. Only wrong rows are written, so a second call writes nothing. If interrupted, some tags
    are corrected. Concurrent calls end with the counts of one of them.

    Args:
        tag_ids: the tags to count; defaults to all.

    Raises:
        OperationalError: when the database stays unreachable, or deadlocks, several times.
    """
    return sum(
        (run_with_retry(partial(_correct, batch)) for batch in _batches(tag_ids)), Drift()
    )


def drift(tag_ids: Iterable[int] | None = None) -> Drift:
    """Return how wrong the statistics are, for the given tags or for all. Writes nothing."""
    return sum(
        (_compare(_counted(batch), _stored(batch)) for batch in _batches(tag_ids)), Drift()
    )


def _correct(batch: list[int]) -> Drift:
    counted, stored = _counted(batch), _stored(batch)
    rows = TagStatistic.objects.using(alias())
    gone = sorted(stored.keys() - counted.keys())
    for start in range(0, len(gone), BATCH_SIZE // 2):
        rows.filter(pk__in=gone[start : start + BATCH_SIZE // 2]).delete()
    targeted = connections[alias()].features.supports_update_conflicts_with_target
    rows.bulk_create(
        [
            TagStatistic(tag_id=tag_id, score=score, assets=assets)
            for (tag_id, score), assets in sorted(counted.items())
            if stored.get((tag_id, score)) != assets
        ],
        update_conflicts=True,
        unique_fields=("tag", "score") if targeted else None,
        update_fields=("assets",),
        batch_size=BATCH_SIZE // 2,
    )
    return _compare(counted, stored)


def _compare(counted: Counts, stored: Counts) -> Drift:
    wrong = {pair for pair, _ in counted.items() ^ stored.items()}
    off = sum(abs(counted.get(pair, 0) - stored.get(pair, 0)) for pair in wrong)
    return Drift(len(wrong), off, sum(counted.values()))


def _counted(batch: list[int]) -> Counts:
    rows = AssetTag.objects.using(alias()).filter(tag_id__in=batch, score__gte=0)
    pairs = rows.values_list("tag_id", "score").annotate(assets=Count("*"))
    return {(tag_id, score): assets for tag_id, score, assets in pairs}


def _stored(batch: list[int]) -> Counts:
    rows = TagStatistic.objects.using(alias()).filter(tag_id__in=batch)
    return {
        (tag_id, score): assets
        for tag_id, score, assets in rows.values_list("tag_id", "score", "assets")
    }


def _batches(tag_ids: Iterable[int] | None) -> Iterator[list[int]]:
    if tag_ids is None:
        tag_ids = Tag.objects.using(alias()).values_list("pk", flat=True)
    ordered = sorted(set(tag_ids))
    for start in range(0, len(ordered), BATCH_SIZE):
        yield ordered[start : start + BATCH_SIZE]


# Estimates


def guess_rows(stream: Stream) -> float:
    """Return about how many rows a stream has, estimated from the asset count of its tag."""
    if stream.is_rejected:
        # Only users reject tags, so there are few.
        return stream.weight / 100
    return stream.weight * (stream.high + 1 - stream.low) / (MAX_SCORE + 1)


def estimate_rows(streams: Iterable[Stream], using: str) -> tuple[float, dict[Stream, float]]:
    """Return about how many assets there are, and how many rows each stream has: one query."""
    streams = tuple(streams)
    tables = Tables(using)
    ids_of: dict[int, set[int]] = {}
    for stream in streams:
        ids_of.setdefault(max(stream.low, 0), set()).add(stream.tag_id)
    parts = [f"SELECT 0, 0, MAX(id) FROM {tables.asset}"]
    params: list[int] = []
    for low, ids in sorted(ids_of.items()):
        parts.append(
            f"SELECT tag_id, {low}, SUM(assets) FROM {tables.statistic}"
            f" WHERE tag_id IN ({', '.join(['%s'] * len(ids))}) AND score >= %s"
            " GROUP BY tag_id"
        )
        params += [*sorted(ids), low]
    with prepared_statements.cursor(using) as cursor:
        cursor.execute(" UNION ALL ".join(parts), params)
        counts = {(tag_id, low): int(count or 0) for tag_id, low, count in cursor.fetchall()}
    total = max(counts.pop((0, 0)), 1)
    return float(total), {stream: _rows(stream, counts) for stream in streams}


def _rows(stream: Stream, counts: dict[tuple[int, int], int]) -> float:
    count = counts.get((stream.tag_id, max(stream.low, 0)))
    if stream.is_rejected or count is None:
        return guess_rows(stream)
    share = (stream.high + 1 - stream.low) / (MAX_SCORE + 1 - stream.low)
    return count * share
