"""Process the assets of a merge, forward and back.

Every batch is one transaction that locks its assets, writes their rows, counts the tags and saves
the progress. So it may stop anywhere and continue in any process. Concurrent workers wait for each
other, and the second finds nothing left to do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta

from django.db import IntegrityError
from django.db.models import ProtectedError, QuerySet
from django.utils import timezone

from filestack_tags.assets import tags
from filestack_tags.assets.visibility import sees_everything, why_stopped
from filestack_tags.curation.decision_rows import Said
from filestack_tags.db.transactions import alias, atomic, locked, retrying
from filestack_tags.models import AT_WORK, AssetTag, Tag, TagMerge, TagMergeRow
from filestack_tags.search import statistics

from . import rows
from .rows import combined

State, Side = TagMerge.State, TagMergeRow.Side
CHANGE_TAGS = "filestack_tags.change_tag"

BATCH = 450
"""Assets in one transaction: as many ids as SQLite's oldest limit allows in a statement."""

ABANDONED_AFTER = timedelta(minutes=1)
"""A batch takes well under a second; a worker without progress for this long has crashed."""


class _Overtaken(Exception):
    """The merge is no longer in the state that the batch was for; the batch is rolled back."""


def work(merge_id: int, *, is_stopped: Callable[[], bool] = lambda: False) -> bool:
    """Continue a merge, or its undoing; return whether nothing is left to do.

    Any number of processes may call this, at any time, repeatedly. Before each batch the user who
    started it must be active and permitted; otherwise it stops, and ``error`` says why.

    Args:
        is_stopped: called after each batch.

    Raises:
        TagMerge.DoesNotExist: when there is no such merge.
        OperationalError: when the database stays unreachable; another call continues.
    """
    steps = {State.MERGING: _merge_some, State.UNDOING: _undo_some}
    while (merge := _read(merge_id)).is_at_work:
        if why := _why_stopped(merge):
            _stop(merge, why)
            return True
        try:
            steps[State(merge.state)](merge)
        except _Overtaken:
            continue
        if is_stopped():
            return not _read(merge_id).is_at_work
    return True


def _why_stopped(merge: TagMerge) -> str:
    if not merge.needs_user:
        return ""
    user = merge.undone_by if merge.state == State.UNDOING else merge.started_by
    return why_stopped(user, (CHANGE_TAGS,)) or (
        "" if sees_everything(user) else f"The user {user} no longer sees all assets."
    )


@retrying
def _stop(merge: TagMerge, why: str) -> None:
    with atomic():
        held = locked(TagMerge.objects.filter(pk=merge.pk)).get()
        if held.state == merge.state:
            held.error = f"{why} Merge the tags again to continue, or undo the merge."
            if held.state == State.UNDOING:
                held.error = f"{why} Undo the merge again to continue."
            held.save(using=alias())


def unfinished(*, silent_for: timedelta = ABANDONED_AFTER) -> list[int]:
    """Return unfinished merges that had no progress for some time."""
    merges = TagMerge.objects.using(alias()).filter(
        state__in=AT_WORK, error="", changed_at__lte=timezone.now() - silent_for
    )
    return list(merges.order_by("pk").values_list("pk", flat=True))


@retrying
def _merge_some(merge: TagMerge) -> None:
    source = AssetTag.objects.using(alias()).filter(tag_id=merge.source_id)
    ahead = source if merge.position is None else source.filter(asset_id__gt=merge.position)
    # Behind the walk are rows of replies that had resolved the label before the merge began.
    ids = _next(ahead) or _next(source)
    if ids:
        _merge_batch(merge, ids)
    else:
        _finish_merge(merge)


def _next(waiting: QuerySet[AssetTag]) -> list[int]:
    return list(waiting.order_by("asset_id").values_list("asset_id", flat=True)[:BATCH])


def _merge_batch(merge: TagMerge, ids: list[int]) -> None:
    with atomic():
        forgotten = rows.lock_assets(ids)
        tags.lock((merge.source_id, merge.target_id))
        source = rows.present(merge.source_id, forgotten)
        target = rows.present(merge.target_id, source)
        known = rows.kept(merge, Side.SOURCE, source)
        fresh = source.keys() - known.keys()
        rows.keep(merge, Side.SOURCE, {pk: source[pk] for pk in fresh})
        rows.keep(merge, Side.TARGET, {pk: target[pk] for pk in fresh & target.keys()})
        after = {pk: combined(said, target.get(pk)) for pk, said in source.items()}
        changed = {pk: after[pk] for pk, said in target.items() if after[pk] != said}
        rows.write(merge.target_id, changed, forgotten)
        rows.remove(target.keys(), merge.source_id)
        rows.move(source.keys() - target.keys(), merge.source_id, merge.target_id)
        _count(
            forgotten,
            {merge.source_id: (source, {}), merge.target_id: (target, {**target, **after})},
        )
        both = fresh & target.keys()
        _note(
            merge,
            position=max([*ids, merge.position or 0]),
            done=len(fresh),
            both=len(both),
            conflicts=sum(rows.is_conflict(source[pk], target[pk]) for pk in both),
        )


def _finish_merge(merge: TagMerge) -> None:
    """Delete the source, unless a late reply has just assigned it to another asset."""
    try:
        with atomic():
            held = locked(Tag.objects.filter(pk__in=(merge.source_id, merge.target_id)))
            list(held.order_by("pk").values_list("pk", flat=True))  # evaluated for its locks
            Tag.objects.using(alias()).filter(pk=merge.source_id).delete()
            _note(merge, state=State.MERGED)
    except (ProtectedError, IntegrityError):
        return
    statistics.refresh([merge.source_id, merge.target_id])


@retrying
def _undo_some(merge: TagMerge) -> None:
    noted = TagMergeRow.objects.using(alias()).filter(merge=merge)
    ids = sorted(set(noted.order_by("asset_id").values_list("asset_id", flat=True)[:BATCH]))
    with atomic():
        if ids:
            done = _undo_batch(merge, ids)
            noted.filter(asset_id__in=ids)._raw_delete(alias())
            _note(merge, done=-done)
        else:
            _note(merge, state=State.UNDONE)
    if not ids:
        statistics.refresh([merge.source_id, merge.target_id])


def _undo_batch(merge: TagMerge, ids: list[int]) -> int:
    """Restore the rows of both tags on these assets; return how many assets were restored.

    A row that was only moved goes back with its current values. If both tags had a row, both are
    restored, except a target's row that a user or a newer result has changed since.
    """
    forgotten = rows.lock_assets(ids)
    tags.lock((merge.source_id, merge.target_id))
    source = rows.kept(merge, Side.SOURCE, ids)
    target = rows.kept(merge, Side.TARGET, ids)
    now = rows.present(merge.target_id, forgotten)
    # Since the undoing began, replies and users reach the source again.
    newer = rows.present(merge.source_id, forgotten)
    back: dict[int, Said] = {}
    restored: dict[int, Said] = {}
    gone: set[int] = set()
    for pk in source.keys() & forgotten.keys():
        was, is_now = target.get(pk), now.get(pk)
        if was is None:
            left = is_now
            if is_now is not None:
                gone.add(pk)
        else:
            left = source[pk]
            merged = combined(source[pk], was)
            if is_now is None and not merged.decision:
                left = None  # a newer result contains neither
            elif is_now == merged:
                restored[pk] = was
        if left is not None and (pk not in newer or _outlasts(left, newer[pk])):
            back[pk] = left
    rows.write(merge.source_id, back, forgotten)
    changed = {pk: said for pk, said in restored.items() if now[pk] != said}
    rows.write(merge.target_id, changed, forgotten)
    rows.remove(gone, merge.target_id)
    _count(
        forgotten,
        {
            merge.source_id: (newer, newer | back),
            merge.target_id: (
                now,
                {pk: said for pk, said in (now | restored).items() if pk not in gone},
            ),
        },
    )
    return len(source)


def _outlasts(left: Said, newer: Said) -> bool:
    return bool(left.decision) and not newer.decision


def _count(
    forgotten: Mapping[int, bool],
    changes: Mapping[int, tuple[Mapping[int, Said], Mapping[int, Said]]],
) -> None:
    """Count tags from ``{tag id: (rows before, rows after)}``, last, as every reply does."""
    counts: Counter[int] = Counter()
    for tag_id, (before, after) in changes.items():
        for sign, there in ((-1, before), (+1, after)):
            counts[tag_id] += sign * sum(
                said.counts and not forgotten[pk] for pk, said in there.items()
            )
    tags.adjust_counts(counts)


def _note(
    merge: TagMerge,
    *,
    position: int | None = None,
    state: str = "",
    done: int = 0,
    both: int = 0,
    conflicts: int = 0,
) -> None:
    held = locked(TagMerge.objects.filter(pk=merge.pk)).get()
    if held.state != merge.state:
        raise _Overtaken
    held.state = state or held.state
    held.position = held.position if position is None else max(position, held.position or 0)
    held.done = max(held.done + done, 0)
    held.both += both
    held.conflicts += conflicts
    held.save(using=alias())


def _read(merge_id: int) -> TagMerge:
    return TagMerge.objects.using(alias()).get(pk=merge_id)
