"""Process the assets of a merge, forward and back.

Every batch is one transaction that locks its assets, writes their rows, counts the tags, and saves
the progress if this process still leases the merge. So it may stop anywhere and continue in any
process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from django.db import IntegrityError
from django.db.models import ProtectedError, QuerySet

from filestack_tags.assets import tags
from filestack_tags.assets.visibility import sees_everything, why_stopped
from filestack_tags.curation.decision_rows import TagValues
from filestack_tags.db.bulk_statements import among, batch_size
from filestack_tags.db.transactions import alias, atomic, locked, retry_on_deadlock
from filestack_tags.models import AssetTag, LeaseLost, Tag, TagMerge, TagMergeRow
from filestack_tags.search import statistics

from . import rows
from .rows import combined

State, Side = TagMerge.State, TagMergeRow.Side
CHANGE_TAGS = "filestack_tags.change_tag"

LEASE_SECONDS = 60
"""A batch takes well under a second; a worker without progress for this long has crashed."""

MAX_ATTEMPTS = 10
"""How often the same batch may fail, or crash the worker, before the merge stops."""


def work(merge_id: int, *, is_stopped: Callable[[], bool] = lambda: False) -> bool:
    """Continue a merge, or its undoing; return whether nothing is left to do for this process.

    Any number of processes may call this, at any time; one of them leases the merge. Before each
    batch the user who started it must be active and permitted; otherwise it stops, and ``error``
    says why.

    Args:
        merge_id: the merge.
        is_stopped: called after each batch.

    Raises:
        Exception: when a batch fails, for example because the database stays unreachable. Another
            call repeats the batch when the lease has ended. After :data:`MAX_ATTEMPTS` the merge
            stops, and ``error`` has the last exception.
    """
    leased = TagMerge.objects.acquire(
        [merge_id], seconds=LEASE_SECONDS, max_attempts=MAX_ATTEMPTS
    )
    if not leased:
        return True
    (merge,) = leased
    steps = {State.MERGING: _merge_some, State.UNDOING: _undo_some}
    try:
        while merge.is_at_work:
            if why := _why_stopped(merge):
                _stop(merge, why)
                return True
            merge = steps[State(merge.state)](merge)
            if merge.is_at_work and is_stopped():
                TagMerge.objects.release(merge)
                return False
    except LeaseLost:
        pass  # it was undone meanwhile, or another process has leased it
    except Exception as error:
        TagMerge.objects.record_error(merge, error)
        raise
    return True


def _why_stopped(merge: TagMerge) -> str:
    if not merge.needs_user:
        return ""
    user = merge.undone_by if merge.state == State.UNDOING else merge.started_by
    return why_stopped(user, (CHANGE_TAGS,)) or (
        "" if sees_everything(user) else f"The user {user} no longer sees all assets."
    )


@retry_on_deadlock
def _stop(merge: TagMerge, why: str) -> None:
    how = "Merge the tags again to continue, or undo the merge."
    if merge.state == State.UNDOING:
        how = "Undo the merge again to continue."
    with atomic():
        TagMerge.objects.lock_leased([merge])
        merge.close(merge.state, f"{why} {how}")
        merge.save(using=alias())


@retry_on_deadlock
def _merge_some(merge: TagMerge) -> TagMerge:
    source = AssetTag.objects.using(alias()).filter(tag_id=merge.source_id)
    ahead = source if merge.position is None else source.filter(asset_id__gt=merge.position)
    # Behind the walk are rows of replies that had resolved the label before the merge began.
    ids = _next(ahead) or _next(source)
    return _merge_batch(merge, ids) if ids else _finish_merge(merge)


def _next(waiting: QuerySet[AssetTag]) -> list[int]:
    return list(waiting.order_by("asset_id").values_list("asset_id", flat=True)[: batch_size()])


def _merge_batch(merge: TagMerge, ids: list[int]) -> TagMerge:
    with atomic():
        archived = rows.lock_assets(ids)
        tags.lock((merge.source_id, merge.target_id))
        source = rows.present(merge.source_id, archived)
        target = rows.present(merge.target_id, source)
        saved_rows = rows.saved(merge, Side.SOURCE, source)
        fresh = source.keys() - saved_rows.keys()
        rows.save(merge, Side.SOURCE, {pk: source[pk] for pk in fresh})
        rows.save(merge, Side.TARGET, {pk: target[pk] for pk in fresh & target.keys()})
        after = {pk: combined(values, target.get(pk)) for pk, values in source.items()}
        changed = {pk: after[pk] for pk, values in target.items() if after[pk] != values}
        rows.write(merge.target_id, changed, archived)
        rows.remove(target.keys(), merge.source_id)
        rows.move(source.keys() - target.keys(), merge.source_id, merge.target_id)
        _count(
            archived,
            {merge.source_id: (source, {}), merge.target_id: (target, {**target, **after})},
        )
        both = fresh & target.keys()
        return _record(
            merge,
            position=max([*ids, merge.position or 0]),
            done=len(fresh),
            both=len(both),
            conflicts=sum(rows.is_conflict(source[pk], target[pk]) for pk in both),
        )


def _finish_merge(merge: TagMerge) -> TagMerge:
    """Delete the source, unless a late reply has just assigned it to another asset."""
    try:
        with atomic():
            locked_rows = locked(Tag.objects.filter(pk__in=(merge.source_id, merge.target_id)))
            list(
                locked_rows.order_by("pk").values_list("pk", flat=True)
            )  # evaluated for its locks
            Tag.objects.using(alias()).filter(pk=merge.source_id).delete()
            merged = _record(merge, state=State.MERGED)
    except (ProtectedError, IntegrityError):
        return merge
    statistics.refresh([merge.source_id, merge.target_id])
    return merged


@retry_on_deadlock
def _undo_some(merge: TagMerge) -> TagMerge:
    saved = TagMergeRow.objects.using(alias()).filter(merge=merge)
    ids = sorted(
        set(saved.order_by("asset_id").values_list("asset_id", flat=True)[: batch_size()])
    )
    with atomic():
        if ids:
            done = _undo_batch(merge, ids)
            saved.filter(among("asset_id", ids))._raw_delete(alias())
            return _record(merge, done=-done)
        undone = _record(merge, state=State.UNDONE)
    statistics.refresh([merge.source_id, merge.target_id])
    return undone


def _undo_batch(merge: TagMerge, ids: list[int]) -> int:
    """Restore the rows of both tags on these assets; return how many assets were restored.

    A row that was only moved goes back with its current values. If both tags had a row, both are
    restored, except a target's row that a user or a newer result has changed since.
    """
    archived = rows.lock_assets(ids)
    tags.lock((merge.source_id, merge.target_id))
    source = rows.saved(merge, Side.SOURCE, ids)
    target = rows.saved(merge, Side.TARGET, ids)
    now = rows.present(merge.target_id, archived)
    # Since the undoing began, replies and users reach the source again.
    newer = rows.present(merge.source_id, archived)
    back: dict[int, TagValues] = {}
    restored: dict[int, TagValues] = {}
    gone: set[int] = set()
    for pk in source.keys() & archived.keys():
        was, is_now = target.get(pk), now.get(pk)
        if was is None:
            restored_values = is_now
            if is_now is not None:
                gone.add(pk)
        else:
            restored_values = source[pk]
            merged = combined(source[pk], was)
            if is_now is None and not merged.decision:
                restored_values = None  # a newer result contains neither
            elif is_now == merged:
                restored[pk] = was
        if restored_values is not None and (
            pk not in newer or (restored_values.decision and not newer[pk].decision)
        ):
            back[pk] = restored_values
    rows.write(merge.source_id, back, archived)
    changed = {pk: values for pk, values in restored.items() if now[pk] != values}
    rows.write(merge.target_id, changed, archived)
    rows.remove(gone, merge.target_id)
    _count(
        archived,
        {
            merge.source_id: (newer, newer | back),
            merge.target_id: (
                now,
                {pk: values for pk, values in (now | restored).items() if pk not in gone},
            ),
        },
    )
    return len(source)


def _count(
    archived: Mapping[int, bool],
    changes: Mapping[int, tuple[Mapping[int, TagValues], Mapping[int, TagValues]]],
) -> None:
    """Count tags from ``{tag id: (rows before, rows after)}``, last, as every reply does."""
    counts: Counter[int] = Counter()
    for tag_id, (before, after) in changes.items():
        for sign, rows_of_tag in ((-1, before), (+1, after)):
            counts[tag_id] += sign * sum(
                values.counts and not archived[pk] for pk, values in rows_of_tag.items()
            )
    tags.adjust_counts(counts)


def _record(
    merge: TagMerge,
    *,
    position: int | None = None,
    state: str = "",
    done: int = 0,
    both: int = 0,
    conflicts: int = 0,
) -> TagMerge:
    """Save the progress and renew the lease, as the last step of a batch; return the merge.

    Raises:
        LeaseLost: when this process no longer leases the merge.
    """
    TagMerge.objects.lock_leased([merge])
    current = TagMerge.objects.using(alias()).get(pk=merge.pk)
    if position is not None:
        current.position = max(position, current.position or 0)
    current.done = max(current.done + done, 0)
    current.both += both
    current.conflicts += conflicts
    if state:
        current.close(state)
    else:
        current.renew(LEASE_SECONDS)
    current.save(using=alias())
    return current
