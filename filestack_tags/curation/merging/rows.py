"""Merge the rows of two tags on one asset, and read and save rows for undoing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import QuerySet

from filestack_tags.curation.decision_rows import COLUMNS, TagValues
from filestack_tags.db.bulk_statements import among, among_pairs, insert_rows, upsert_rows
from filestack_tags.db.transactions import alias, locked
from filestack_tags.models import Asset, AssetTag, TagMerge, TagMergeRow
from filestack_tags.models.tags import CONFIRMED

Decision = AssetTag.Decision
LONG_AGO = datetime.min.replace(tzinfo=UTC)


def combined(source: TagValues, target: TagValues | None) -> TagValues:
    """Return the target's row after the source's has been merged into it.

    A decision wins over none, and the newer of two over the older. The higher confidence wins,
    together with its run, unless a user set the confidence of the decided row: then that one wins.
    A tag added by a user stays a user's tag.
    """
    if target is None:
        return source
    reviewed = source if _is_newer(source, target) else target
    stronger = source if source.confidence > target.confidence else target
    if reviewed.tagger_confidence is not None:
        stronger = reviewed
    return stronger._replace(
        source=max(source.source, target.source),
        decision=reviewed.decision,
        decided_by_id=reviewed.decided_by_id,
        decided_at=reviewed.decided_at,
    )


def is_conflict(source: TagValues, target: TagValues) -> bool:
    """Whether one was rejected and the other accepted or added."""
    decisions = {source.decision, target.decision}
    return Decision.REJECTED in decisions and not decisions.isdisjoint(CONFIRMED)


def _is_newer(source: TagValues, target: TagValues) -> bool:
    if Decision.NONE in (source.decision, target.decision):
        return target.decision == Decision.NONE
    return (source.decided_at or LONG_AGO) > (target.decided_at or LONG_AGO)


def lock_assets(asset_ids: Collection[int]) -> dict[int, bool]:
    """Lock assets in the order of their ids; return ``{id: whether it is archived}``."""
    assets = locked(Asset.objects.filter(among("pk", asset_ids))).order_by("pk")
    return {
        pk: deleted_at is not None for pk, deleted_at in assets.values_list("pk", "deleted_at")
    }


def present(tag_id: int, asset_ids: Collection[int]) -> dict[int, TagValues]:
    """Return the rows of a tag on locked assets: ``{asset id: …}``."""
    return _by_asset(_rows(asset_ids, tag_id))


def move(asset_ids: Collection[int], tag_id: int, to: int) -> None:
    """Move rows unchanged to another tag, which has none on these assets."""
    if asset_ids:
        _rows(asset_ids, tag_id).update(tag_id=to)


def remove(asset_ids: Collection[int], tag_id: int) -> None:
    """Delete the rows of a tag."""
    if asset_ids:
        _rows(asset_ids, tag_id)._raw_delete(alias())


def write(tag_id: int, rows: Mapping[int, TagValues], archived: Mapping[int, bool]) -> None:
    """Write the rows of a tag, ``{asset id: …}``, whether they exist or not."""
    upsert_rows(
        AssetTag,
        COLUMNS,
        [
            values.columns((pk, tag_id), archived=archived[pk])
            for pk, values in sorted(rows.items())
        ],
        unique=("asset_id", "tag_id"),
    )


def save(merge: TagMerge, side: TagMergeRow.Side, rows: Mapping[int, TagValues]) -> None:
    """Save rows for undoing, of assets without an earlier record: that is the original."""
    names = ("merge_id", "asset_id", "side", *TagValues._fields)
    insert_rows(
        TagMergeRow,
        names,
        [(merge.pk, pk, int(side), *values) for pk, values in sorted(rows.items())],
    )


def saved(
    merge: TagMerge, side: TagMergeRow.Side, asset_ids: Collection[int]
) -> dict[int, TagValues]:
    """Return the saved rows in a form that can be written: users may have been deleted."""
    rows = TagMergeRow.objects.using(alias()).filter(merge=merge, side=side)
    values_by_asset = _by_asset(rows.filter(among("asset_id", asset_ids)))
    user_ids = _existing_users(
        {values.decided_by_id for values in values_by_asset.values()} - {None}
    )
    return {
        pk: values if values.decided_by_id in user_ids else values._replace(decided_by_id=None)
        for pk, values in values_by_asset.items()
    }


def _rows(asset_ids: Collection[int], tag_id: int) -> QuerySet[AssetTag]:
    return AssetTag.objects.using(alias()).filter(
        among_pairs([(pk, tag_id) for pk in asset_ids])
    )


def _by_asset(rows: QuerySet[Any]) -> dict[int, TagValues]:
    columns = rows.values_list("asset_id", *TagValues._fields)
    return {pk: TagValues._make(values) for pk, *values in columns}


def _existing_users(ids: Iterable[Any]) -> set[Any]:
    users = get_user_model()._base_manager.using(alias()).filter(pk__in=ids)
    return set(users.values_list("pk", flat=True))
