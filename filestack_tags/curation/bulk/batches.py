"""Run a bulk job: batch by batch, newest asset first, safe against crashes.

A worker leases the job for each batch. The effect of the batch and the job's new position are one
transaction, which locks the job's row first. After a crash the batch is done completely or not at
all.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from django.db import InterfaceError, OperationalError
from django.utils import timezone

from filestack_tags import metrics
from filestack_tags.concurrency.backoff import backoff
from filestack_tags.db.bulk_statements import batch_size, upsert_rows
from filestack_tags.db.text import sanitize_text
from filestack_tags.db.transactions import alias, atomic, on_commit, retry_on_deadlock
from filestack_tags.exceptions import FilestackTagsError
from filestack_tags.models import Asset, BulkJob, BulkJobItem, LeaseLost
from filestack_tags.search.deadline import in_background
from filestack_tags.search.totals import capped

from .actions import ACTIONS, Effect
from .requests import (
    TAGGING,
    search_of_job,
    why_job_stopped,
)
from .undoing import to_undo, undoes_archiving, undone

logger = logging.getLogger(__name__)

Action = BulkJob.Action
Outcome = BulkJobItem.Outcome
State = BulkJob.State

LEASE_SECONDS = 60
"""Seconds that a batch takes at most; after that another worker may run it."""

TRIES = 3
"""How often a whole batch may fail before the job fails."""

MAX_ATTEMPTS = 10
"""How often the same batch may meet a database error, or crash the worker, before the job fails."""

MOST_FAILED = 1000
"""How many single assets may fail before the job fails."""

MOST_ARCHIVED = 400
"""Assets in a batch that archives or restores: each of their tags is written."""

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


def step(job_id: int) -> Step:
    """Run the next batch of a job, if it is due and no other worker is running it.

    Never raises because of single assets: each is recorded with its reason. If a whole batch fails,
    it is retried a few times; then the job fails.

    Raises:
        OperationalError: when the database stays unreachable. Another call repeats the batch when
            the lease has ended. After :data:`MAX_ATTEMPTS` the job fails with this error.
        InterfaceError: likewise.
    """
    leased = BulkJob.objects.acquire([job_id], seconds=LEASE_SECONDS, max_attempts=MAX_ATTEMPTS)
    if not leased:
        return Step()
    (job,) = leased
    try:
        return _step(job)
    except LeaseLost:  # canceled meanwhile
        return Step()
    except (OperationalError, InterfaceError) as error:
        BulkJob.objects.record_error(job, error)
        raise
    except Exception as error:
        logger.exception("A batch of bulk job %s failed", job_id)
        return _record_failure(job, error)


@retry_on_deadlock
def _step(leased: BulkJob) -> Step:
    with atomic():
        BulkJob.objects.lock_leased([leased])
        job = BulkJob.objects.using(alias()).get(pk=leased.pk)
        now = timezone.now()
        if why := why_job_stopped(job):
            job.close(State.FAILED, f"{why} What it did before is kept.")
            job.save(using=alias())
            return Step()
        if job.state == State.WAITING:
            _begin(job, now)
        job.renew(0)
        if job.action in TAGGING and _queue_is_full():
            job.held = "queue"
            job.due_at = now + QUEUE_PAUSE
            job.save(using=alias())
            return Step(retry_at=job.due_at)
        chosen = _next(job)
        effect = _apply(job, chosen.ids) if chosen.ids else Effect()
        effect += Effect(skipped=dict.fromkeys(chosen.unmatched, "no_match"))
        _record(job, chosen, effect, now)
        job.save(using=alias())
    to_tag = tuple(effect.changed) if job.action in TAGGING else ()
    return Step(goes_on=job.is_open, to_tag=to_tag)


def _begin(job: BulkJob, now: datetime) -> None:
    job.state = State.RUNNING
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
    size = batch_size()
    if job.action == Action.ARCHIVE or undoes_archiving(job):
        size = min(size, MOST_ARCHIVED)
    if job.action == Action.UNDO:
        ids = to_undo(job, size)
        return _Chosen(ids, [], is_last=len(ids) < size)
    search = search_of_job(job)
    if job.ids_digest:
        pending = job.items.using(alias()).filter(outcome=Outcome.PENDING).order_by("-asset_id")
        ids = list(pending.values_list("asset_id", flat=True)[: size + 1])
        batch = ids[:size]
        with search.time_limit(seconds=in_background()):
            matching = set(search.assets().filter(pk__in=batch).values_list("pk", flat=True))
        return _Chosen(
            [pk for pk in batch if pk in matching],
            [pk for pk in batch if pk not in matching],
            is_last=len(ids) <= size,
        )
    position = job.ceiling + 1 if job.position is None else job.position
    with search.time_limit(seconds=in_background()):
        ids = search.ids_before(position, limit=size)
    return _Chosen(ids, [], is_last=len(ids) < size)


def _apply(job: BulkJob, ids: Sequence[int]) -> Effect:
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
            return Effect(failed={ids[0]: _error_text(error)})
        half = len(ids) // 2
        return _apply(job, ids[:half]) + _apply(job, ids[half:])


def _record(job: BulkJob, chosen: _Chosen, effect: Effect, now: datetime) -> None:
    """Record the results of the batch on the job."""
    _record_items(job, effect)
    on_commit(partial(_count, job.action, effect))
    ids = (*chosen.ids, *chosen.unmatched)
    if ids:
        job.position = min(ids)
    job.done += len(ids)
    job.changed += len(effect.changed)
    job.skipped += len(effect.skipped)
    job.failed += len(effect.failed)
    job.reasons = dict(Counter(job.reasons) + Counter(effect.skipped.values()))
    job.held = ""
    job.updated_at = now
    if chosen.is_last:
        job.matched = job.done
        job.close(State.FINISHED)
    elif job.failed >= MOST_FAILED:
        job.close(
            State.FAILED,
            f"{job.failed:,} assets failed, so it was stopped. What it did is kept.",
        )


def _count(action: str, effect: Effect) -> None:
    for word, assets in (
        ("changed", effect.changed),
        ("skipped", effect.skipped),
        ("failed", effect.failed),
    ):
        metrics.count("bulk.assets", len(assets), job=action, effect=word)


def _record_items(job: BulkJob, effect: Effect) -> None:
    skipped, failed = [*effect.skipped.items()], [*effect.failed.items()]
    is_list = bool(job.ids_digest)
    if not is_list:
        skipped = skipped[: max(MOST_ITEMS - job.skipped, 0)]
        failed = failed[: max(MOST_ITEMS - job.failed, 0)]
    keeps = is_list or job.action == Action.ARCHIVE  # needed to undo it
    items = [
        *((pk, Outcome.CHANGED, "", "") for pk in (effect.changed if keeps else ())),
        *((pk, Outcome.SKIPPED, why, "") for pk, why in skipped),
        *((pk, Outcome.FAILED, "", sanitize_text(why)) for pk, why in failed),
    ]
    upsert_rows(  # of a list of ids, each has its item already
        BulkJobItem,
        ("asset_id", "job_id", "outcome", "reason", "error"),
        [(pk, job.pk, *outcome) for pk, *outcome in items],
        unique=("job_id", "asset_id"),
    )


@retry_on_deadlock
def _record_failure(job: BulkJob, error: Exception) -> Step:
    text = _error_text(error)
    with suppress(LeaseLost), atomic():
        BulkJob.objects.lock_leased([job])
        if job.attempts >= TRIES or isinstance(error, FilestackTagsError):
            job.close(State.FAILED, text)
        else:
            job.retry(backoff(job.attempts, base=15, longest=60), text)
        job.save(using=alias(), update_fields=BulkJob.LEASE_FIELDS)
    return Step(retry_at=job.due_at)


def _error_text(error: Exception) -> str:
    """Return an error as text: only messages of this package are written for users."""
    if isinstance(error, FilestackTagsError):
        return sanitize_text(str(error))
    return f"{type(error).__name__}. The log holds the traceback."
