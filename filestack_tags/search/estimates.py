"""Estimate how many assets have a tag at a confidence, for the planner.

Estimates come from the statistics for each (tag, score), and are cached for some minutes in the
process. Without statistics, the tag's asset count is used. Estimates are hints: wrong ones make a
search slower, never wrong.
"""

# ruff: noqa: S608  # names of tables and columns are put in, values never are

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from time import monotonic

from filestack_tags.db import prepared_statements

from .sql import MAX_SCORE, Stream
from .tables import Tables

LIFETIME = 300.0
"""Seconds for which an estimate is cached."""

MAX_REMEMBERED = 50_000

Key = tuple[str, int, int]

_remembered: dict[Key, tuple[float, int | None]] = {}
_lock = Lock()

TOTAL = 0
"""Used as a tag id for the number of all assets."""


def forget() -> None:
    """Clear the cached estimates, for example after the statistics were rebuilt."""
    with _lock:
        _remembered.clear()


def guess(stream: Stream) -> float:
    """Return about how many rows a stream has, estimated from the asset count of its tag."""
    if stream.is_rejected:
        # Only users reject tags, so there are few.
        return stream.weight / 100
    return stream.weight * (stream.high + 1 - stream.low) / (MAX_SCORE + 1)


def estimates(
    streams: Iterable[Stream], using: str, *, guessing: bool = False
) -> tuple[float, dict[Stream, float]]:
    """Return about how many assets there are, and how many rows each stream has.

    At most one query, and none while everything is cached.

    Args:
        guessing: whether a guess is good enough for values that are not cached.
    """
    streams = tuple(streams)
    now = monotonic()
    if guessing and (held := _remembered.get((using, TOTAL, 0))) and held[0] > now:
        return float(held[1] or 1), {each: guess(each) for each in streams}
    wanted = {(using, each.tag_id, max(each.low, 0)) for each in streams}
    wanted.add((using, TOTAL, 0))
    known = {key: held[1] for key in wanted if (held := _remembered.get(key)) and held[0] > now}
    missing = wanted - known.keys()
    if missing:
        fresh = _counted(missing, using)
        known |= fresh
        with _lock:
            if len(_remembered) + len(fresh) > MAX_REMEMBERED:
                _remembered.clear()
            _remembered.update({key: (now + LIFETIME, n) for key, n in fresh.items()})
    total = max(known[using, TOTAL, 0] or 0, 1)
    return float(total), {each: _rows(each, known, using) for each in streams}


def _rows(stream: Stream, known: dict[Key, int | None], using: str) -> float:
    count = known[using, stream.tag_id, max(stream.low, 0)]
    if stream.is_rejected or count is None:
        return guess(stream)
    share = (stream.high + 1 - stream.low) / (MAX_SCORE + 1 - stream.low)
    return count * share


def _counted(wanted: Iterable[Key], using: str) -> dict[Key, int | None]:
    tables = Tables(using)
    tags_of: dict[int, list[int]] = {}
    for _, tag_id, low in wanted:
        if tag_id != TOTAL:
            tags_of.setdefault(low, []).append(tag_id)
    parts = [f"SELECT {TOTAL}, 0, MAX(id) FROM {tables.asset}"]
    params: list[int] = []
    for low, tags in sorted(tags_of.items()):
        parts.append(
            f"SELECT tag_id, {low}, SUM(assets) FROM {tables.statistic}"
            f" WHERE tag_id IN ({', '.join(['%s'] * len(tags))}) AND score >= %s"
            " GROUP BY tag_id"
        )
        params += [*tags, low]
    with prepared_statements.cursor(using) as cursor:
        cursor.execute(" UNION ALL ".join(parts), params)
        found = {(using, tag_id, low): int(n or 0) for tag_id, low, n in cursor.fetchall()}
    return {key: found.get(key) for key in wanted}
