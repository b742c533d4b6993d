"""Tag rows: replace the unreviewed tags of assets with those of their newest results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_

from django.db.models import Q

from filestack_tags.db.bulk_statements import check_references, insert_rows, update_rows
from filestack_tags.db.transactions import alias
from filestack_tags.models import Asset, AssetTag, score_of

from . import tags

BATCH_SIZE = 100
"""Rows deleted in one statement: SQLite's oldest limit is 999 parameters."""

UNREVIEWED = int(AssetTag.Decision.NONE)
COLUMNS = ("asset_id", "tag_id", "confidence", "score", "source", "run_id", "decision")
CHANGED = ("confidence", "score", "source", "run")
"""The columns that a new result writes on an existing row."""


Row = tuple[int, int, int, int, int, int, int]
"""A value for each of :data:`COLUMNS`."""


@dataclass(frozen=True)
class TagResult:
    """The tags that an asset has according to a run: ``{tag id: (confidence, source)}``."""

    run_id: int
    tags: Mapping[int, tuple[int, int]]


def replace(assets: Mapping[int, Asset], results: Mapping[int, TagResult]) -> None:
    """Replace the unreviewed tags of assets, and count.

    Call it in the transaction that holds the assets' locks. Reviewed rows are never changed, and
    unchanged rows are not written.

    Args:
        assets: the assets, by id.
        results: the new tags of some of them, by asset id.

    Raises:
        IntegrityError: when a tag does not exist, or when another process wrote a row without the
            asset's lock.
    """
    rows = _rows_of(results)
    added: list[Row] = []
    changed: list[Row] = []
    removed: list[tuple[int, int]] = []
    counts: Counter[int] = Counter()
    for asset_id, result in sorted(results.items()):
        is_archived = assets[asset_id].deleted_at is not None
        existing = rows[asset_id]
        for tag_id, (confidence, source) in sorted(result.tags.items()):
            row = existing.get(tag_id)
            if row is not None and (row[2] != UNREVIEWED or row[:2] == (confidence, source)):
                continue
            score = score_of(confidence, UNREVIEWED, archived=is_archived)
            written = (asset_id, tag_id, confidence, score, source, result.run_id, UNREVIEWED)
            (added if row is None else changed).append(written)
            if row is None and not is_archived:
                counts[tag_id] += 1
        for tag_id, (_, _, decision) in existing.items():
            if decision == UNREVIEWED and tag_id not in result.tags:
                removed.append((asset_id, tag_id))
                if not is_archived:
                    counts[tag_id] -= 1
    tags.lock({row[1] for row in (*added, *changed, *removed)})
    _delete(removed)
    insert_rows(AssetTag, COLUMNS, added)
    update_rows([AssetTag(**dict(zip(COLUMNS, row, strict=True))) for row in changed], CHANGED)
    if added:
        check_references()
    tags.adjust_counts(counts)


def _rows_of(asset_ids: Collection[int]) -> dict[int, dict[int, tuple[int, int, int]]]:
    """Return ``{asset id: {tag id: (confidence, source, decision)}}``."""
    rows: dict[int, dict[int, tuple[int, int, int]]] = {pk: {} for pk in asset_ids}
    if rows:
        stored = AssetTag.objects.using(alias()).filter(asset__in=asset_ids)
        columns = ("asset_id", "tag_id", "confidence", "source", "decision")
        for asset_id, tag_id, *values in stored.values_list(*columns):
            rows[asset_id][tag_id] = tuple(values)
    return rows


def _delete(pairs: list[tuple[int, int]]) -> None:
    """Delete the unreviewed rows of (asset id, tag id) pairs."""
    for start in range(0, len(pairs), BATCH_SIZE):
        tag_ids: dict[int, list[int]] = {}
        for asset_id, tag_id in pairs[start : start + BATCH_SIZE]:
            tag_ids.setdefault(asset_id, []).append(tag_id)
        conditions: Iterable[Q] = (
            Q(asset=asset_id, tag__in=ids) for asset_id, ids in tag_ids.items()
        )
        rows = AssetTag.objects.using(alias()).filter(reduce(or_, conditions))
        rows.filter(decision=UNREVIEWED).delete()
