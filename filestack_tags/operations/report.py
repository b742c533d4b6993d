"""On-call report: current problems, their causes and fixes. Read-only.

:func:`report` adds to a :func:`~.status.snapshot` the failures by reason, the jobs in progress,
and the scheduled tasks that are overdue. Every statement reads a bounded number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Count, QuerySet
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from filestack_tags.db.transactions import alias
from filestack_tags.models import (
    AT_WORK,
    OPEN_STATES,
    Asset,
    Backfill,
    BulkJob,
    TagMerge,
    WebhookDelivery,
)

from .status import COUNT_LIMIT, SWEEP_OVERDUE, Beat, Concern, Snapshot, snapshot

QUEUE_LATE = timedelta(minutes=15)
INBOX_LATE = timedelta(minutes=5)
"""How long work may wait before it is reported as a problem."""

SILENT = timedelta(minutes=2)
"""A backfill saves its progress every few seconds; after this long its process is gone."""

SHOWN = 10
"""Number of jobs, merges and backfills shown of each kind, newest first."""

CLOCKWORK = {
    "sweep": (SWEEP_OVERDUE, gettext_lazy("finds work that lost its task; every minute")),
    "statistics": (
        timedelta(days=1),
        gettext_lazy("counts what searches are planned by; every few hours"),
    ),
    "prune": (timedelta(days=2), gettext_lazy("deletes what is old enough; once a day")),
}
"""The scheduled tasks: after how long each is overdue, and what it does."""


@dataclass(frozen=True)
class Pile:
    """Failures with the same reason, which are not retried automatically: code and count."""

    code: str
    count: int


@dataclass(frozen=True)
class Clock:
    """A scheduled task: its last heartbeat, what it does, whether it is overdue."""

    name: str
    says: str
    beat: Beat | None
    is_overdue: bool


@dataclass(frozen=True)
class Report:
    """The on-call report.

    Args:
        standing: the figures.
        dead_assets: failed assets by reason, the most frequent first; counted among the newest
            :data:`~.status.COUNT_LIMIT`.
        dead_deliveries: failed deliveries, likewise.
        jobs: bulk jobs that wait or run.
        merges: merges of tags in progress.
        backfills: backfills that run, or whose process is gone.
        clocks: the scheduled tasks.
        needs: problems that need attention, the most urgent first.
    """

    standing: Snapshot
    dead_assets: tuple[Pile, ...]
    dead_deliveries: tuple[Pile, ...]
    jobs: tuple[BulkJob, ...]
    merges: tuple[TagMerge, ...]
    backfills: tuple[Backfill, ...]
    clocks: tuple[Clock, ...]
    needs: tuple[Concern, ...]


def report() -> Report:
    """Return the on-call report. Runs seven statements, besides those of a snapshot."""
    standing = snapshot()
    database = alias()
    jobs = BulkJob.objects.using(database).filter(due_at__isnull=False, state__in=OPEN_STATES)
    merges = TagMerge.objects.using(database).filter(state__in=AT_WORK)
    backfills = Backfill.objects.using(database).filter(state=Backfill.State.RUNNING)
    running = tuple(backfills.order_by("-pk")[:SHOWN])
    clocks = tuple(_clocks(standing))
    return Report(
        standing=standing,
        dead_assets=_piles(dead_assets()),
        dead_deliveries=_piles(dead_deliveries()),
        jobs=tuple(
            jobs.defer("asset_ids")
            .select_related("requested_by", "undoes")
            .order_by("-pk")[:SHOWN]
        ),
        merges=tuple(merges.order_by("-pk")[:SHOWN]),
        backfills=running,
        clocks=clocks,
        needs=tuple(_needs(standing, clocks, running)),
    )


def dead_assets() -> QuerySet[Asset]:
    """Return the failed assets, which are not retried automatically."""
    return Asset.objects.using(alias()).filter(tagging_state=Asset.State.FAILED)


def dead_deliveries() -> QuerySet[WebhookDelivery]:
    """Return the failed deliveries, which are not retried automatically."""
    return WebhookDelivery.objects.using(alias()).filter(state=WebhookDelivery.State.FAILED)


def is_silent(backfill: Backfill, standing: Snapshot) -> bool:
    """Whether a running backfill has saved no progress for :data:`SILENT`: its process is gone."""
    return standing.at - backfill.changed_at > SILENT


def _piles(dead: QuerySet[Any]) -> tuple[Pile, ...]:
    # Not a subquery with a limit, which MariaDB rejects.
    last = dead.order_by("-pk").values_list("pk", flat=True)
    earliest = last[COUNT_LIMIT - 1 : COUNT_LIMIT].first()
    if earliest is not None:
        dead = dead.filter(pk__gte=earliest)
    counted = dead.order_by().values_list("error_code").annotate(rows=Count("*"))
    return tuple(Pile(code, rows) for code, rows in counted.order_by("-rows", "error_code"))


def _clocks(standing: Snapshot) -> Iterator[Clock]:
    beats = {beat.name: beat for beat in standing.beats}
    for name, (limit, says) in CLOCKWORK.items():
        beat = beats.pop(name, None)
        is_overdue = beat is not None and beat.age > limit.total_seconds()
        yield Clock(name, str(says), beat, is_overdue)
    yield from (Clock(name, "", beat, is_overdue=False) for name, beat in beats.items())


def _needs(
    standing: Snapshot, clocks: tuple[Clock, ...], backfills: tuple[Backfill, ...]
) -> Iterator[Concern]:
    yield from standing.concerns
    if standing.inbox_lag > INBOX_LATE.total_seconds():
        yield Concern(
            "inbox_late",
            _(
                "A delivery has waited for %(long)s. Look whether a worker runs, and takes the "
                "queue of filestack_tags.process_inbox."
            )
            % {"long": long(standing, standing.inbox_lag)},
        )
    may_call = not {"circuit_open", "budget_exhausted"} & {
        concern.code for concern in standing.concerns
    }
    if may_call and standing.queue_age > QUEUE_LATE.total_seconds():
        yield Concern(
            "queue_late",
            _(
                "An asset has waited for %(long)s, though calls may be made. Look whether a worker "
                "runs, and takes the queue of filestack_tags.tag_asset. If it does, more workers, "
                "TAGGING_CONCURRENCY or RATE_LIMIT make the queue shorter."
            )
            % {"long": long(standing, standing.queue_age)},
        )
    if standing.failed_deliveries.count:
        text = ngettext(
            "%(count)s delivery failed, and is not tried again by itself.",
            "%(count)s deliveries failed, and are not tried again by themselves.",
            standing.failed_deliveries.count,
        )
        yield Concern("dead_deliveries", text % {"count": standing.failed_deliveries})
    if standing.failed_assets.count:
        text = ngettext(
            "%(count)s asset could not be tagged, and is not tried again by itself.",
            "%(count)s assets could not be tagged, and are not tried again by themselves.",
            standing.failed_assets.count,
        )
        yield Concern("dead_assets", text % {"count": standing.failed_assets})
    for clock in clocks:
        if clock.is_overdue and clock.beat is not None and clock.name != "sweep":
            yield Concern(
                "clock_overdue",
                _(
                    "%(name)s has not run for %(long)s. Look whether Celery beat runs, and has the "
                    "task in CELERY_BEAT_SCHEDULE."
                )
                % {"name": clock.name, "long": long(standing, clock.beat.age)},
            )
    for backfill in backfills:
        if is_silent(backfill, standing):
            yield Concern(
                "backfill_silent",
                _(
                    "Backfill %(id)d has noted nothing for %(long)s: its process is gone. "
                    "manage.py filestack_tags_backfill --resume goes on where it was."
                )
                % {
                    "id": backfill.pk,
                    "long": timesince(backfill.changed_at, standing.at, depth=1),
                },
            )


def long(standing: Snapshot, seconds: float) -> str:
    """Return a duration in words, such as ``20 minutes``, ending at the snapshot."""
    return timesince(standing.at - timedelta(seconds=seconds), standing.at, depth=1)
