"""Return the on-call report: current problems, their causes and fixes. Read-only.

:func:`report` adds to a :func:`~.status.snapshot` the failures by reason, the jobs in progress,
and the scheduled tasks that are overdue. Every statement reads a bounded number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, QuerySet
from django.utils import timezone
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from filestack_tags.db.transactions import alias
from filestack_tags.models import (
    Asset,
    Backfill,
    BulkJob,
    TagMerge,
    WebhookDelivery,
)

from .scheduled_tasks import SCHEDULED_TASKS, ScheduledTask
from .status import COUNT_LIMIT, Problem, Snapshot, snapshot

QUEUE_LATE = timedelta(minutes=15)
INBOX_LATE = timedelta(minutes=5)
"""How long work may wait before it is reported as a problem."""

STALLED_AFTER = timedelta(minutes=2)
"""A backfill saves its progress every few seconds; after this long its process has stopped."""

SHOWN = 10
"""Number of jobs, merges and backfills shown of each kind, newest first."""


@dataclass(frozen=True)
class FailureGroup:
    """Failures with the same reason, which are not retried automatically: code and count."""

    code: str
    count: int


@dataclass(frozen=True)
class Report:
    """The on-call report.

    Args:
        snapshot: the figures.
        failed_assets: failed assets by reason, the most frequent first; counted among the newest
            :data:`~.status.COUNT_LIMIT`.
        failed_deliveries: failed deliveries, likewise.
        jobs: bulk jobs that wait or run.
        merges: merges of tags in progress.
        backfills: backfills that run, or whose process has stopped.
        scheduled_tasks: the tasks that Celery beat runs.
        problems: what needs attention, the most urgent first.
    """

    snapshot: Snapshot
    failed_assets: tuple[FailureGroup, ...]
    failed_deliveries: tuple[FailureGroup, ...]
    jobs: tuple[BulkJob, ...]
    merges: tuple[TagMerge, ...]
    backfills: tuple[Backfill, ...]
    scheduled_tasks: tuple[ScheduledTask, ...]
    problems: tuple[Problem, ...]


def report() -> Report:
    """Return the on-call report. Runs seven statements, besides those of a snapshot."""
    status = snapshot()
    database = alias()
    jobs = BulkJob.objects.using(database).exclude(due_at=None)
    merges = TagMerge.objects.using(database).exclude(state__in=TagMerge.COMPLETE)
    backfills = Backfill.objects.using(database).filter(state=Backfill.State.RUNNING)
    running = tuple(backfills.order_by("-pk")[:SHOWN])
    scheduled = _scheduled_tasks(status)
    return Report(
        snapshot=status,
        failed_assets=_by_reason(failed_assets()),
        failed_deliveries=_by_reason(failed_deliveries()),
        jobs=tuple(jobs.select_related("requested_by", "undoes").order_by("-pk")[:SHOWN]),
        merges=tuple(merges.order_by("-pk")[:SHOWN]),
        backfills=running,
        scheduled_tasks=scheduled,
        problems=tuple(_problems(status, scheduled, running)),
    )


def failed_assets() -> QuerySet[Asset]:
    """Return the failed assets, which are not retried automatically."""
    return Asset.objects.using(alias()).filter(tagging_state=Asset.State.FAILED)


def failed_deliveries() -> QuerySet[WebhookDelivery]:
    """Return the failed deliveries, which are not retried automatically."""
    return WebhookDelivery.objects.using(alias()).filter(state=WebhookDelivery.State.FAILED)


def is_stalled(backfill: Backfill, now: datetime) -> bool:
    """Whether a running backfill has saved no progress for :data:`STALLED_AFTER`."""
    return now - backfill.updated_at > STALLED_AFTER


def _by_reason(failed: QuerySet[Any]) -> tuple[FailureGroup, ...]:
    # Not a subquery with a limit, which MariaDB rejects.
    ids = failed.order_by("-pk").values_list("pk", flat=True)
    earliest = ids[COUNT_LIMIT - 1 : COUNT_LIMIT].first()
    if earliest is not None:
        failed = failed.filter(pk__gte=earliest)
    counted = failed.order_by().values_list("error_code").annotate(rows=Count("*"))
    return tuple(FailureGroup(*row) for row in counted.order_by("-rows", "error_code"))


def _scheduled_tasks(status: Snapshot) -> tuple[ScheduledTask, ...]:
    beats = {beat.name: beat for beat in status.beats}
    ours = [replace(task, beat=beats.pop(task.name, None)) for task in SCHEDULED_TASKS]
    return (*ours, *(ScheduledTask(name, beat=beat) for name, beat in beats.items()))


def _problems(
    status: Snapshot, scheduled: tuple[ScheduledTask, ...], backfills: tuple[Backfill, ...]
) -> Iterator[Problem]:
    yield from status.problems
    if status.inbox_lag > INBOX_LATE.total_seconds():
        yield Problem(
            "inbox_late",
            _(
                "A delivery has been waiting for %(duration)s. Check that a worker is running and "
                "consumes the queue of filestack_tags.process_inbox."
            )
            % {"duration": humanize(status.inbox_lag)},
        )
    may_call = not {"circuit_open", "budget_exhausted"} & {
        problem.code for problem in status.problems
    }
    if may_call and status.queue_age > QUEUE_LATE.total_seconds():
        yield Problem(
            "queue_late",
            _(
                "An asset has been waiting for %(duration)s although calls are allowed. Check that "
                "a worker is running and consumes the queue of filestack_tags.tag_asset. If it "
                "does, add workers, or raise TAGGING_CONCURRENCY or RATE_LIMIT."
            )
            % {"duration": humanize(status.queue_age)},
        )
    if status.failed_deliveries.count:
        text = ngettext(
            "%(count)s delivery failed and is not retried automatically.",
            "%(count)s deliveries failed and are not retried automatically.",
            status.failed_deliveries.count,
        )
        yield Problem("failed_deliveries", text % {"count": status.failed_deliveries})
    if status.failed_assets.count:
        text = ngettext(
            "%(count)s asset could not be tagged and is not retried automatically.",
            "%(count)s assets could not be tagged and are not retried automatically.",
            status.failed_assets.count,
        )
        yield Problem("failed_assets", text % {"count": status.failed_assets})
    for task in scheduled:
        if task.is_overdue and task.beat and task.name != "sweep":
            yield Problem(
                "task_overdue",
                _(
                    "%(name)s has not run for %(duration)s. Check that Celery beat is running and "
                    "that CELERY_BEAT_SCHEDULE has the task."
                )
                % {"name": task.name, "duration": humanize(task.beat.age)},
            )
    for backfill in backfills:
        if is_stalled(backfill, status.at):
            yield Problem(
                "backfill_stalled",
                _(
                    "Backfill %(id)d has saved no progress for %(duration)s: its process has "
                    "stopped. Continue it with manage.py filestack_tags_backfill --resume."
                )
                % {
                    "id": backfill.pk,
                    "duration": timesince(backfill.updated_at, status.at, depth=1),
                },
            )


def humanize(seconds: float) -> str:
    """Return a duration in words, such as ``20 minutes``."""
    now = timezone.now()
    return timesince(now - timedelta(seconds=seconds), now, depth=1)
