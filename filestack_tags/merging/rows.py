"""What two rows of one asset become when their tags are merged, and how rows are read and kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections

from filestack_tags.curation.batches import Said
from filestack_tags.models import Asset, AssetTag, TagMerge, TagMergeRow, score_of
from filestack_tags.transactions import alias, locked

Decision = AssetTag.Decision
YES = frozenset({Decision.ACCEPTED, Decision.ADDED})
LONG_AGO = datetime.min.replace(tzinfo=UTC)


SAID = tuple(field.name for field in fields(Said))
values_of = attrgetter(*SAID)


def combined(source: Said, target: Said | None) -> Said:
    """Return what the target's row says once the source's has been merged into it.

    The higher confidence, with the run that it is from, unless a person set the one that is
    decided; a user's tag stays a user's. A decision goes before none, and the newer of two before
    the older.
    """
    if target is None:
        return source
    decided = source if _is_newer(source, target) else target
    surer = source if source.confidence > target.confidence else target
    if decided.tagger_confidence is not None:
        surer = decided
    return replace(
        surer,
        source=max(source.source, target.source),
        decision=decided.decision,
        decided_by_id=decided.decided_by_id,
        decided_at=decided.decided_at,
    )


def is_conflict(source: Said, target: Said) -> bool:
    """Whether people said yes to one and no to the other."""
    decisions = {source.decision, target.decision}
    return Decision.REJECTED in decisions and bool(decisions & YES)


def _is_newer(source: Said, target: Said) -> bool:
    if Decision.NONE in (source.decision, target.decision):
        return target.decision == Decision.NONE
    return (source.decided_at or LONG_AGO) > (target.decided_at or LONG_AGO)


def lock_assets(asset_ids: Collection[int]) -> dict[int, bool]:
    """Lock assets in the order of their ids; return ``{id: whether it is forgotten}``."""
    assets = locked(Asset.objects.filter(pk__in=asset_ids)).order_by("pk")
    return {
        pk: deleted_at is not None for pk, deleted_at in assets.values_list("pk", "deleted_at")
    }


def present(tag_id: int, asset_ids: Collection[int]) -> dict[int, Said]:
    """Return what the rows of a tag say, ``{asset id: …}``, of assets that are locked."""
    rows = AssetTag.objects.using(alias()).filter(asset_id__in=asset_ids, tag_id=tag_id)
    return {pk: Said(*said) for pk, *said in rows.values_list("asset_id", *SAID)}


def move(asset_ids: Collection[int], tag_id: int, to: int) -> None:
    """Give rows as they are to another tag, which has none on these assets."""
    if asset_ids:
        rows = AssetTag.objects.using(alias()).filter(asset_id__in=asset_ids, tag_id=tag_id)
        rows.update(tag_id=to)


def remove(asset_ids: Collection[int], tag_id: int) -> None:
    """Delete the rows of a tag."""
    if asset_ids:
        AssetTag.objects.using(alias()).filter(
            asset_id__in=asset_ids, tag_id=tag_id
        )._raw_delete(alias())


def write(tag_id: int, rows: Mapping[int, Said], forgotten: Mapping[int, bool]) -> None:
    """Make the rows of a tag say this, ``{asset id: …}``, whether they are there or not."""
    targeted = connections[alias()].features.supports_update_conflicts_with_target
    AssetTag.objects.using(alias()).bulk_create(
        [
            AssetTag(
                asset_id=pk,
                tag_id=tag_id,
                score=score_of(said.confidence, said.decision, forgotten=forgotten[pk]),
                **dict(zip(SAID, values_of(said), strict=True)),
            )
            for pk, said in sorted(rows.items())
        ],
        update_conflicts=True,
        unique_fields=("asset", "tag") if targeted else None,
        update_fields=("score", *(name.removesuffix("_id") for name in SAID)),
    )


def keep(merge: TagMerge, side: TagMergeRow.Side, rows: Mapping[int, Said]) -> None:
    """Note how rows were. What was noted of an asset before stays: that is how it really was."""
    TagMergeRow.objects.using(alias()).bulk_create(
        [
            TagMergeRow(
                merge=merge,
                asset_id=pk,
                side=side,
                **dict(zip(SAID, values_of(said), strict=True)),
            )
            for pk, said in sorted(rows.items())
        ],
        ignore_conflicts=True,
    )


def kept(
    merge: TagMerge, side: TagMergeRow.Side, asset_ids: Collection[int]
) -> dict[int, Said]:
    """Return what was noted, as far as it can be written: users may be gone."""
    rows = TagMergeRow.objects.using(alias()).filter(
        merge=merge, side=side, asset_id__in=asset_ids
    )
    found = {pk: Said(*said) for pk, *said in rows.values_list("asset_id", *SAID)}
    there = _existing_users({said.decided_by_id for said in found.values()} - {None})
    return {
        pk: said if said.decided_by_id in there else replace(said, decided_by_id=None)
        for pk, said in found.items()
    }


def _existing_users(ids: Iterable[Any]) -> set[Any]:
    users = get_user_model()._base_manager.using(alias()).filter(pk__in=ids)
    return set(users.values_list("pk", flat=True))
