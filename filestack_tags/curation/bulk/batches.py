"""Run a bulk job: batch by batch, newest asset first, safe against crashes.

The effect of a batch and the job's new position are one transaction, which locks the job's row. If
two workers run concurrently, one runs the batch. After a crash it is done completely or not at all.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from django.db import InterfaceError, OperationalError
from django.utils import timezone

from filestack_tags import metrics
from filestack_tags.db.text import storable
from filestack_tags.db.transactions import alias, atomic, locked, on_commit, retrying
from filestack_tags.exceptions import FilestackTagsError
from filestack_tags.models import OPEN_STATES, Asset, BulkJob, BulkJobItem
from filestack_tags.search.deadline import in_background
from filestack_tags.search.totals import capped

from .actions import ACTIONS, Effect
from .requests import (
    TAGGING,
    search_of_job,
    tell_of_end,
    why_job_stopped,
)
from .undoing import to_undo, undone

logger = logging.getLogger(__name__)

Action = BulkJob.Action
Outcome = BulkJobItem.Outcome

BATCH = 450
"""Assets in one transaction."""

LEASE = timedelta(seconds=60)
"""How long after its last batch a job counts as abandoned, and the sweep enqueues it."""

TRIES = 3
"""How often a whole batch may fail before the job fails."""

MOST_FAILED = 1000
"""How many single assets may fail before the job fails."""

MOST_ITEMS = 1000
"""Single assets that are recorded for each outcome; in a list of ids, all are recorded."""

MOST_QUEUED = 10_000
"""Number of queued assets above which a job that queues more waits."""

QUEUE_PAUSE = timedelta(seconds=10)

ALL = 2**31 - 1


@dataclass(frozen=True)
class Step:
    """The result of a step.

    ``goes_on`` means that the next batch can run at once, ``retry_at`` when it may be due later.
    ``to_tag`` are assets whose task should be enqueued.
    """

    goes_on: bool = False
    to_tag: tuple[int, ...] = ()
    retry_at: datetime | None = None


@dataclass(frozen=True)
class _Chosen:
    """The next assets of a job; ``unmatched`` were requested by id, and do not match."""

    ids: list[int]
    unmatched: list[int]
    is_last: bool


def waiting(limit: int = 100) -> list[int]:
    """Return jobs that no worker seems to be running, the longest-waiting first."""
    jobs = BulkJob.objects.using(alias()).filter(
        due_at__lte=timezone.now(), state__in=OPEN_STATES
    )
    return list(jobs.order_by("due_at").values_list("pk", flat=True)[:limit])


def step(job_id: int) -> Step:
    """Run the next batch of a job, if it is open and no other worker is running it.

    Never raises because of single assets: each is recorded with its reason. If a whole batch fails,
    the sweep retries it a few times; then the job fails.
    """
    try:
        return _step(job_id)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        logger.exception("A batch of bulk job %s failed", job_id)
        _note_failure(job_id, error)
        return Step()


@retrying
def _step(job_id: int) -> Step:
    with atomic():
        job = locked(BulkJob.objects.filter(pk=job_id), skip_held=True).first()
        if job is None or not job.is_open:
            return Step()
        now = timezone.now()
        if why := why_job_stopped(job):
            _end(job, BulkJob.State.FAILED, f"{why} What it did before is kept.")
            job.save(using=alias())
            on_commit(partial(tell_of_end, job))
            return Step()
        if job.state == BulkJob.State.WAITING:
            _begin(job, now)
        if job.action in TAGGING and _queue_is_full():
            job.held = "queue"
            job.due_at = now + LEASE
            job.save(using=alias())
            return Step(retry_at=now + QUEUE_PAUSE)
        chosen = _next(job)
        effect = _done(job, chosen.ids) if chosen.ids else Effect()
        effect += Effect(skipped=dict.fromkeys(chosen.unmatched, "no_match"))
        _note(job, chosen, effect, now)
        job.save(using=alias())
    for word, number in (
        ("changed", len(effect.changed)),
        ("skipped", len(effect.skipped)),
        ("failed", len(effect.failed)),
    ):
        metrics.count("bulk.assets", number, job=job.action, effect=word)
    tell_of_end(job)
    to_tag = tuple(effect.changed) if job.action in TAGGING else ()
    return Step(goes_on=job.is_open, to_tag=to_tag)


def _begin(job: BulkJob, now: datetime) -> None:
    job.state = BulkJob.State.RUNNING
    job.started_at = now
    if not job.matched_is_exact:
        search = search_of_job(job)
        with search.time_limit(seconds=in_background()):
            counted = search.total(cap=ALL)
        job.matched, job.matched_is_exact = counted.count, True


def _queue_is_full() -> bool:
    queued = Asset.objects.using(alias()).filter(tagging_state=Asset.State.QUEUED)
    return capped(queued, MOST_QUEUED).count >= MOST_QUEUED


def _next(job: BulkJob) -> _Chosen:
    if job.action == Action.UNDO:
        ids = to_undo(job, BATCH)
        return _Chosen(ids, [], is_last=len(ids) < BATCH)
    search = search_of_job(job)
    if job.asset_ids is not None:
        left = [pk for pk in job.asset_ids if job.position is None or pk < job.position]
        some = left[-BATCH:]
        with search.time_limit(seconds=in_background()):
            found = set(search.assets().filter(pk__in=some).values_list("pk", flat=True))
        return _Chosen(
            [pk for pk in reversed(some) if pk in found],
            [pk for pk in reversed(some) if pk not in found],
            is_last=len(left) <= BATCH,
        )
    position = job.ceiling + 1 if job.position is None else job.position
    with search.time_limit(seconds=in_background()):
        ids = search.ids_before(position, limit=BATCH)
    return _Chosen(ids, [], is_last=len(ids) < BATCH)


def _done(job: BulkJob, ids: Sequence[int]) -> Effect:
    """Apply the action to all assets; if that fails, find the failing ones by bisection."""
    act = undone if job.action == Action.UNDO else ACTIONS[Action(job.action)]
    try:
        with atomic():
            return act(job, ids)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        if len(ids) == 1:
            logger.exception("Bulk job %s failed on asset %s", job.pk, ids[0])
            return Effect(failed={ids[0]: _said(error)})
        half = len(ids) // 2
        return _done(job, ids[:half]) + _done(job, ids[half:])


def _note(job: BulkJob, chosen: _Chosen, effect: Effect, now: datetime) -> None:
    """Record the results of the batch on the job."""
    _note_items(job, effect)
    ids = (*chosen.ids, *chosen.unmatched)
    if ids:
        job.position = min(ids)
    job.done += len(ids)
    job.changed += len(effect.changed)
    job.skipped += len(effect.skipped)
    job.failed += len(effect.failed)
    job.reasons = dict(Counter(job.reasons) + Counter(effect.skipped.values()))
    job.attempts = 0
    job.held = job.error = ""
    job.changed_at = now
    job.due_at = now + LEASE
    if chosen.is_last:
        job.matched = job.done
        _end(job, BulkJob.State.FINISHED)
    elif job.failed >= MOST_FAILED:
        _end(
            job,
            BulkJob.State.FAILED,
            f"{job.failed:,} assets failed, so it was stopped. What it did is kept.",
        )


def _note_items(job: BulkJob, effect: Effect) -> None:
    is_list = job.asset_ids is not None
    keeps = is_list or job.action == Action.FORGET  # needed to undo it
    items = [
        *(_item(job, pk, Outcome.CHANGED) for pk in (effect.changed if keeps else ())),
        *(_item(job, pk, Outcome.SKIPPED, reason=why) for pk, why in effect.skipped.items()),
        *(_item(job, pk, Outcome.FAILED, error=why) for pk, why in effect.failed.items()),
    ]
    if not is_list:
        room = Counter(
            {
                Outcome.CHANGED: BATCH,
                Outcome.SKIPPED: MOST_ITEMS - job.skipped,
                Outcome.FAILED: MOST_ITEMS - job.failed,
            }
        )
        kept = []
        for item in items:
            if room[Outcome(item.outcome)] > 0:
                room[Outcome(item.outcome)] -= 1
                kept.append(item)
        items = kept
    BulkJobItem.objects.using(alias()).bulk_create(items, batch_size=BATCH)


def _item(
    job: BulkJob,
    asset_id: int,
    outcome: BulkJobItem.Outcome,
    *,
    reason: str = "",
    error: str = "",
) -> BulkJobItem:
    return BulkJobItem(
        job=job, asset_id=asset_id, outcome=outcome, reason=reason, error=storable(error)
    )


def _end(job: BulkJob, state: BulkJob.State, error: str = "") -> None:
    job.state = state
    job.error = error
    job.finished_at = timezone.now()
    job.due_at = None


@retrying
def _note_failure(job_id: int, error: Exception) -> None:
    with atomic():
        job = locked(BulkJob.objects.filter(pk=job_id)).first()
        if job is None or not job.is_open:
            return
        job.attempts += 1
        job.error = _said(error)
        if job.attempts >= TRIES or isinstance(error, FilestackTagsError):
            _end(job, BulkJob.State.FAILED, job.error)
        else:
            job.due_at = timezone.now() + LEASE
        job.save(using=alias())
    tell_of_end(job)


def _said(error: Exception) -> str:
    """Return an error as text: only messages of this package are written for users."""
    if isinstance(error, FilestackTagsError):
        return storable(str(error))
    return f"{type(error).__name__}. The log holds the traceback."
