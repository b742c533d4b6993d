"""Retention: delete what is old enough not to be needed any more.

Bulk jobs and merges are kept, but not their files and the data needed to undo them.

A delivery is kept for longer than Filestack resends it, because duplicates are recognized by its
row. Every batch is its own transaction: an interruption loses nothing, and concurrent runs do not
conflict.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, astuple, dataclass
from datetime import datetime, timedelta
from functools import partial
from operator import add
from typing import TypeVar

from django.db import DatabaseError, InterfaceError
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from filestack_tags.conf import get_settings
from filestack_tags.db.transactions import (
    Row,
    alias,
    atomic,
    locked,
    retry_on_deadlock,
    run_with_retry,
)
from filestack_tags.error_codes import ErrorCode
from filestack_tags.exceptions import ConfigurationError
from filestack_tags.filestack.webhook_signatures import CLOCK_SKEW
from filestack_tags.models import (
    Asset,
    BulkJob,
    BulkJobItem,
    BulkJobPart,
    OutboundMessage,
    TaggingRun,
    TagMerge,
    TagMergeRow,
    WebhookDelivery,
)

from . import heartbeat

logger = logging.getLogger(__name__)

Kept = TypeVar("Kept", BulkJob, BulkJobItem, BulkJobPart, TagMerge, TagMergeRow)

BATCH_SIZE = 500
"""Rows in one transaction."""

BATCH_OF_PARTS = 20
"""Parts of exports in one transaction: each holds some hundred assets."""

LEAST_DAYS = 1
"""Filestack resends for at least 12 hours 36 minutes (docs: Webhooks)."""

LEAST_DAYS_OF_RUNS = 3
"""Filestack keeps the results of workflow jobs for 48 hours (docs: Workflows API)."""

MOST_DAYS = 36_500
"""A century. Nothing is older, and larger values leave the calendar."""

CLOSED = (WebhookDelivery.State.PROCESSED, WebhookDelivery.State.IGNORED)
"""Other failed deliveries are kept until they are replayed; open ones are not done."""


@dataclass(frozen=True)
class Pruned:
    """How many deliveries and runs were deleted, how many runs' raw replies were emptied, and how
    many rows of bulk jobs and merges were deleted.
    """

    deliveries: int = 0
    raw_replies: int = 0
    export_parts: int = 0
    job_items: int = 0
    merge_rows: int = 0
    messages: int = 0
    runs: int = 0

    def plus(self, other: Pruned) -> Pruned:
        """Return the sums of both."""
        return Pruned(*map(add, astuple(self), astuple(other)))


def prune(
    *,
    deliveries: int | None = None,
    raw_replies: int | None = None,
    exports: int | None = None,
    undo: int | None = None,
    outbound: int | None = None,
    runs: int | None = None,
    dry_run: bool = False,
    report_progress: Callable[[Pruned], object] = lambda so_far: None,
) -> Pruned:
    """Delete old rows, and empty old raw replies; return how many of each. Idempotent.

    * Deliveries are deleted if they were processed, ignored or too large, and were received more
      than ``deliveries`` days ago.
    * Raw replies are emptied if their run ended more than ``raw_replies`` days ago, unless an asset
      shows their tags, through that run or one that shares its reply.
    * Runs are deleted if they ended more than ``runs`` days ago. Kept are the current run of each
      asset, a run whose reply the current run of another asset shares, and runs of deliveries that
      are kept.
    * The files of exports are deleted ``exports`` days after they ended.
    * For other bulk jobs and for merges, the records about single assets are deleted ``undo`` days
      after they ended, so that they cannot be undone any more. Jobs about tags are the exception:
      their decisions are in the log. A job or merge that is being undone is skipped.

    Args:
        deliveries: days; the setting ``DELIVERY_RETENTION_DAYS`` when ``None``.
        raw_replies: days; the setting ``RAW_REPLY_RETENTION_DAYS`` when ``None``.
        exports: days; the setting ``EXPORT_RETENTION_DAYS`` when ``None``.
        undo: days; the setting ``UNDO_RETENTION_DAYS`` when ``None``.
        outbound: days for outbound webhooks that were sent or have failed; the setting
            ``OUTBOUND_RETENTION_DAYS`` when ``None``.
        runs: days; the setting ``RUN_RETENTION_DAYS`` when ``None``.
        dry_run: only count.
        report_progress: called after each batch with the totals so far.

    Raises:
        ConfigurationError: for less than a day, or :data:`LEAST_DAYS_OF_RUNS` days for runs.
        DatabaseError: the first one that a step raised, once the other steps are done.
    """
    settings = get_settings()
    now = timezone.now()
    old_deliveries = _old_deliveries(
        _before(now, deliveries, settings.DELIVERY_RETENTION_DAYS, least_delivery_days())
    )
    before_replies = _before(now, raw_replies, settings.RAW_REPLY_RETENTION_DAYS)
    with_reply = _ended_runs(before_replies).exclude(raw_reply="")
    before_exports = _before(now, exports, settings.EXPORT_RETENTION_DAYS)
    before_undo = _before(now, undo, settings.UNDO_RETENTION_DAYS)
    old_messages = _old_messages(_before(now, outbound, settings.OUTBOUND_RETENTION_DAYS))
    before_runs = _before(now, runs, settings.RUN_RETENTION_DAYS, LEAST_DAYS_OF_RUNS)
    ended_runs = _ended_runs(before_runs).filter(delivery=None)
    jobs, merges = _old_jobs(before_exports, before_undo), _old_merges(before_undo)
    if dry_run:
        return Pruned(
            deliveries=old_deliveries.count(),
            raw_replies=sum(map(len, _run_batches(with_reply))),
            export_parts=_rows(BulkJobPart).filter(job__in=jobs).count(),
            job_items=_rows(BulkJobItem).filter(job__in=jobs).count(),
            merge_rows=_rows(TagMergeRow).filter(merge__in=merges).count(),
            messages=old_messages.count(),
            runs=sum(map(len, _run_batches(ended_runs))),
        )
    done = Pruned()
    failure: Exception | None = None
    for step in (
        (Pruned(deliveries=_delete(ids)) for ids in _delivery_batches(old_deliveries)),
        (Pruned(runs=_delete_runs(ids, ended_runs)) for ids in _run_batches(ended_runs)),
        (Pruned(raw_replies=_empty(ids)) for ids in _run_batches(with_reply)),
        _prune_jobs(jobs),
        _prune_merges(merges),
        _prune_messages(old_messages),
    ):
        try:
            for batch in step:
                done = done.plus(batch)
                report_progress(done)
        except (DatabaseError, InterfaceError) as error:
            logger.exception("A step of pruning failed; the other steps continue")
            failure = failure or error
    if failure is not None:
        raise failure
    heartbeat.beat("prune", **asdict(done))
    return done


def _prune_jobs(old: QuerySet[BulkJob]) -> Iterator[Pruned]:
    for pk in list(old.values_list("pk", flat=True)):
        yield from _prune_job(pk)


def _prune_merges(old: QuerySet[TagMerge]) -> Iterator[Pruned]:
    for pk in list(old.values_list("pk", flat=True)):
        yield from (Pruned(merge_rows=number) for number in _prune_merge(pk))


def _prune_messages(old: QuerySet[OutboundMessage]) -> Iterator[Pruned]:
    while ids := list(old.order_by("pk").values_list("pk", flat=True)[:BATCH_SIZE]):
        yield Pruned(messages=_delete_messages(ids))


def least_delivery_days() -> int:
    """Return the minimum number of days for which deliveries must be kept.

    While a signature is accepted, the row prevents the same event from being applied again.
    """
    tolerance = get_settings().WEBHOOK_TOLERANCE or 0
    return max(
        LEAST_DAYS, math.ceil((tolerance + CLOCK_SKEW) / timedelta(days=1).total_seconds())
    )


def _before(
    now: datetime, override: int | None, setting: int, least: int = LEAST_DAYS
) -> datetime:
    days = setting if override is None else override
    if days < least:
        raise ConfigurationError(
            f"{days} is too short: keep data for {LEAST_DAYS} day or more, deliveries for "
            f"{least_delivery_days()} and runs for {LEAST_DAYS_OF_RUNS}. Filestack may resend an "
            "event more than 12 hours later, which WEBHOOK_TOLERANCE accepts, and results of "
            "workflows may arrive 48 hours later."
        )
    return now - timedelta(days=min(days, MOST_DAYS))


def _old_deliveries(before: datetime) -> QuerySet[WebhookDelivery]:
    return WebhookDelivery.objects.using(alias()).filter(
        Q(state__in=CLOSED)
        | Q(state=WebhookDelivery.State.FAILED, error_code=ErrorCode.TOO_LARGE),
        received_at__lt=before,
    )


def _old_messages(before: datetime) -> QuerySet[OutboundMessage]:
    # Messages that were sent or have failed have no due_at.
    messages = OutboundMessage.objects.using(alias())
    return messages.filter(due_at=None, created_at__lt=before)


@retry_on_deadlock
def _delete_messages(message_ids: list[int]) -> int:
    rows = OutboundMessage.objects.using(alias()).filter(pk__in=message_ids, due_at=None)
    return rows._raw_delete(alias())


def _ended_runs(before: datetime) -> QuerySet[TaggingRun]:
    # An ended run never becomes an asset's current one, so this condition stays true.
    return (
        TaggingRun.objects.using(alias())
        .filter(
            ~Exists(Asset.objects.using(alias()).filter(current_run=OuterRef("pk"))),
            finished_at__lt=before,
        )
        .exclude(state=TaggingRun.State.STARTED)
    )


def _shared_by_current_runs() -> frozenset[int | None]:
    """Return the runs whose replies other assets show. All in one query: no index covers them.

    Not with ``iterator()``: outside a transaction, a pooler that changes the connection with each
    one loses its cursor.
    """
    shared = Asset.objects.using(alias()).filter(current_run__shared_from__isnull=False)
    return frozenset(shared.values_list("current_run__shared_from_id", flat=True))


def _delivery_batches(old: QuerySet[WebhookDelivery]) -> Iterator[list[int]]:
    """Yield ids, oldest first; rows that stay, because they are locked, are passed only once."""
    ahead = old
    while rows := list(
        ahead.order_by("received_at", "pk").values_list("received_at", "pk")[:BATCH_SIZE]
    ):
        yield [pk for _, pk in rows]
        received_at, pk = rows[-1]
        ahead = old.filter(
            Q(received_at__gt=received_at) | Q(pk__gt=pk), received_at__gte=received_at
        )


def _run_batches(runs: QuerySet[TaggingRun]) -> Iterator[list[int]]:
    """Yield ids in order, without runs whose reply another asset shows."""
    shared = _shared_by_current_runs()
    last = 0
    while ids := list(
        runs.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:BATCH_SIZE]
    ):
        yield [pk for pk in ids if pk not in shared]
        last = ids[-1]


@retry_on_deadlock
def _delete(delivery_ids: list[int]) -> int:
    """Delete deliveries, and the references to them; return how many.

    Runs are locked before deliveries, as when a delivery is processed. Deliveries that are locked
    or were reopened are skipped.
    """
    runs = TaggingRun.objects.using(alias())
    with atomic():
        referring = runs.filter(delivery__in=delivery_ids).values_list("pk", flat=True)
        locked_runs = _lock(TaggingRun.objects.filter(pk__in=list(referring)).only("delivery"))
        rows = _lock(
            WebhookDelivery.objects.filter(pk__in=delivery_ids).only("state", "error_code")
        )
        closed = {
            delivery.pk
            for delivery in rows
            if delivery.state in CLOSED or delivery.error_code == ErrorCode.TOO_LARGE
        }
        # No new run can refer to a closed delivery, so these are all references.
        cut = {run.pk for run in locked_runs if run.delivery_id in closed}
        others = runs.filter(delivery__in=closed).exclude(pk__in=cut)
        closed -= set(others.values_list("delivery", flat=True))
        runs.filter(pk__in=cut).update(delivery=None)
        # Not delete(), which would update the runs by a column other than their key.
        WebhookDelivery.objects.filter(pk__in=closed)._raw_delete(alias())
    return len(closed)


@retry_on_deadlock
def _delete_runs(run_ids: list[int], ended: QuerySet[TaggingRun]) -> int:
    """Delete runs; rows of tags and of the log may keep their ids as dangling references."""
    with atomic():
        rows = _lock(TaggingRun.objects.filter(pk__in=run_ids).only("pk"))
        # Check again: a late result may have made an abandoned run the current one.
        ids = list(ended.filter(pk__in=[run.pk for run in rows]).values_list("pk", flat=True))
        return TaggingRun.objects.filter(pk__in=ids)._raw_delete(alias()) if ids else 0


@retry_on_deadlock
def _empty(run_ids: list[int]) -> int:
    with atomic():
        rows = _lock(TaggingRun.objects.filter(pk__in=run_ids).only("pk"))
        runs = TaggingRun.objects.using(alias()).filter(pk__in=[run.pk for run in rows])
        return runs.update(raw_reply="")


def _rows(model: type[Kept]) -> QuerySet[Kept]:
    return model._default_manager.using(alias())


def _old_jobs(before_exports: datetime, before_undo: datetime) -> QuerySet[BulkJob]:
    """Return ended jobs with something old enough to delete, the oldest first."""
    export = Q(action=BulkJob.Action.EXPORT)
    is_old = (export & Q(finished_at__lt=before_exports)) | (
        ~export & Q(finished_at__lt=before_undo)
    )
    remaining = Q(Exists(_rows(BulkJobPart).filter(job=OuterRef("pk"))))
    remaining |= Q(Exists(_rows(BulkJobItem).filter(job=OuterRef("pk"))))
    # Jobs with pruned_at are included: their pruning was interrupted.
    return _rows(BulkJob).filter(is_old, remaining, due_at=None).order_by("pk")


def _old_merges(before: datetime) -> QuerySet[TagMerge]:
    remaining = Exists(_rows(TagMergeRow).filter(merge=OuterRef("pk")))
    merged = _rows(TagMerge).filter(state=TagMerge.State.MERGED, updated_at__lt=before)
    return merged.filter(remaining).order_by("pk")


def _prune_job(pk: int) -> Iterator[Pruned]:
    """Delete what a job left behind, in batches; skip it while it is being undone."""
    if not _mark_job(pk):
        return
    parts, items = _rows(BulkJobPart).filter(job=pk), _rows(BulkJobItem).filter(job=pk)
    while number := _delete_some(parts, BATCH_OF_PARTS):
        yield Pruned(export_parts=number)
    while number := _delete_some(items, BATCH_SIZE):
        yield Pruned(job_items=number)


@retry_on_deadlock
def _mark_job(pk: int) -> bool:
    """Mark a job so that it can no longer be undone or downloaded."""
    with atomic():
        job = locked(BulkJob.objects.filter(pk=pk), skip_locked=True).first()
        undoing = _rows(BulkJob).filter(undoes=pk).exclude(due_at=None)
        if job is None or undoing.exists():
            return False
        if job.pruned_at is None:
            job.pruned_at = timezone.now()
            job.save(using=alias(), update_fields=("pruned_at",))
    return True


def _prune_merge(pk: int) -> Iterator[int]:
    """Delete the rows needed to undo a merge, in batches."""
    if not _mark_merge(pk):
        return
    rows = _rows(TagMergeRow).filter(merge=pk)
    while ids := list(
        rows.order_by("asset_id").values_list("asset_id", flat=True).distinct()[:BATCH_SIZE]
    ):
        yield run_with_retry(partial(_raw_delete, rows.filter(asset_id__in=ids)))


@retry_on_deadlock
def _mark_merge(pk: int) -> bool:
    with atomic():
        merge = locked(TagMerge.objects.filter(pk=pk), skip_locked=True).first()
        if merge is None or merge.state != TagMerge.State.MERGED:
            return False
        if merge.pruned_at is None:
            merge.pruned_at = timezone.now()
            # Not updated_at, which determines its age.
            merge.save(using=alias(), update_fields=("pruned_at",))
    return True


def _delete_some(rows: QuerySet[Kept], number: int) -> int:
    ids = list(rows.order_by("pk").values_list("pk", flat=True)[:number])
    return run_with_retry(partial(_raw_delete, rows.filter(pk__in=ids))) if ids else 0


def _raw_delete(rows: QuerySet[Kept]) -> int:
    """Delete rows that nothing refers to."""
    return rows._raw_delete(alias())


def _lock(rows: QuerySet[Row]) -> list[Row]:
    return list(locked(rows.order_by("pk"), skip_locked=True))
