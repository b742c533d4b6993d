"""Merge the rows of two tags on one asset, and read and save rows for undoing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections

from filestack_tags.curation.decision_rows import TagValues
from filestack_tags.db.transactions import alias, locked
from filestack_tags.models import Asset, AssetTag, TagMerge, TagMergeRow, score_of
from filestack_tags.models.tags import CONFIRMED

Decision = AssetTag.Decision
LONG_AGO = datetime.min.replace(tzinfo=UTC)


COLUMNS = tuple(field.name for field in fields(TagValues))
values_of = attrgetter(*COLUMNS)


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
    return replace(
        stronger,
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
    assets = locked(Asset.objects.filter(pk__in=asset_ids)).order_by("pk")
    return {
        pk: deleted_at is not None for pk, deleted_at in assets.values_list("pk", "deleted_at")
    }


def present(tag_id: int, asset_ids: Collection[int]) -> dict[int, TagValues]:
    """Return the rows of a tag on locked assets: ``{asset id: …}``."""
    rows = AssetTag.objects.using(alias()).filter(asset_id__in=asset_ids, tag_id=tag_id)
    return {pk: TagValues(*values) for pk, *values in rows.values_list("asset_id", *COLUMNS)}


def move(asset_ids: Collection[int], tag_id: int, to: int) -> None:
    """Move rows unchanged to another tag, which has none on these assets."""
    if asset_ids:
        rows = AssetTag.objects.using(alias()).filter(asset_id__in=asset_ids, tag_id=tag_id)
        rows.update(tag_id=to)


def remove(asset_ids: Collection[int], tag_id: int) -> None:
    """Delete the rows of a tag."""
    if asset_ids:
        AssetTag.objects.using(alias()).filter(
            asset_id__in=asset_ids, tag_id=tag_id
        )._raw_delete(alias())


def write(tag_id: int, rows: Mapping[int, TagValues], archived: Mapping[int, bool]) -> None:
    """Write the rows of a tag, ``{asset id: …}``, whether they exist or not."""
    targeted = connections[alias()].features.supports_update_conflicts_with_target
    AssetTag.objects.using(alias()).bulk_create(
        [
            AssetTag(
                asset_id=pk,
                tag_id=tag_id,
                score=score_of(values.confidence, values.decision, archived=archived[pk]),
                **dict(zip(COLUMNS, values_of(values), strict=True)),
            )
            for pk, values in sorted(rows.items())
        ],
        update_conflicts=True,
        unique_fields=("asset", "tag") if targeted else None,
        update_fields=("score", *(name.removesuffix("_id") for name in COLUMNS)),
    )


def save(merge: TagMerge, side: TagMergeRow.Side, rows: Mapping[int, TagValues]) -> None:
    """Save rows for undoing. An asset's earlier record is kept, since that is the original."""
    TagMergeRow.objects.using(alias()).bulk_create(
        [
            TagMergeRow(
                merge=merge,
                asset_id=pk,
                side=side,
                **dict(zip(COLUMNS, values_of(values), strict=True)),
            )
            for pk, values in sorted(rows.items())
        ],
        ignore_conflicts=True,
    )


def saved(
    merge: TagMerge, side: TagMergeRow.Side, asset_ids: Collection[int]
) -> dict[int, TagValues]:
    """Return the saved rows in a form that can be written: users may have been deleted."""
    rows = TagMergeRow.objects.using(alias()).filter(
        merge=merge, side=side, asset_id__in=asset_ids
    )
    values_by_asset = {
        pk: TagValues(*values) for pk, *values in rows.values_list("asset_id", *COLUMNS)
    }
    user_ids = _existing_users(
        {values.decided_by_id for values in values_by_asset.values()} - {None}
    )
    return {
        pk: values if values.decided_by_id in user_ids else replace(values, decided_by_id=None)
        for pk, values in values_by_asset.items()
    }


def _existing_users(ids: Iterable[Any]) -> set[Any]:
    users = get_user_model()._base_manager.using(alias()).filter(pk__in=ids)
    return set(users.values_list("pk", flat=True))
