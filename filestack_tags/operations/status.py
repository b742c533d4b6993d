"""Return the current status of the app for operators. Read-only.

:func:`snapshot` returns the figures, :func:`problems` what needs attention. Every statement uses an
index and reads a bounded number of rows, however many assets there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, QuerySet
from django.utils import timezone
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from filestack_tags.conf import get_settings
from filestack_tags.db.transactions import alias
from filestack_tags.models import Asset, Circuit, Heartbeat, TaggingRun, WebhookDelivery
from filestack_tags.search.totals import Total, capped
from filestack_tags.tagging import call_budget
from filestack_tags.tagging.taggers.base import BUILT_IN

COUNT_LIMIT = 10_000
"""Maximum rows counted of each kind; larger totals are not exact."""

RECENT = timedelta(hours=24)
"""How far back to look for failures, within the last :data:`COUNT_LIMIT`."""

TOP_CODES = 10

SWEEP_OVERDUE = timedelta(minutes=5)
"""After how long a recovery task that should run every minute is reported."""


@dataclass(frozen=True)
class Budget:
    """Tagging calls in one period: how many were made, and how many are allowed (``None``: any)."""

    period: str
    used: int
    limit: int | None

    @property
    def left(self) -> int | None:
        """The remaining calls, ``None`` when there is no limit."""
        return None if self.limit is None else max(self.limit - self.used, 0)


@dataclass(frozen=True)
class Beat:
    """When a scheduled task last finished, and what it found."""

    name: str
    at: datetime
    age: float
    found: Mapping[str, int]


@dataclass(frozen=True)
class Problem:
    """A problem that needs attention: a fixed code, and a text with its cause and fix."""

    code: str
    text: str


@dataclass(frozen=True)
class Snapshot:
    """The current status. Ages are in seconds, 0 when nothing waits.

    Args:
        at: when it was taken.
        queued: assets that wait for a call.
        running: assets whose call or workflow job is in progress.
        queue_age: how long the longest-waiting asset has been due.
        failed_assets: assets that failed and are not retried automatically.
        open_deliveries: deliveries that are not processed yet.
        inbox_lag: how long ago the oldest of them was received; replayed ones do not count.
        failed_deliveries: deliveries that failed and are not retried automatically.
        failures: how many runs failed in the last 24 hours, by error code, the most frequent ten.
        circuits: every tagger that rejected calls, with an open or closed circuit.
        budgets: today and this calendar month (UTC).
        beats: heartbeats of the scheduled tasks.
        problems: what needs attention.
    """

    at: datetime
    queued: Total
    running: Total
    queue_age: float
    failed_assets: Total
    open_deliveries: Total
    inbox_lag: float
    failed_deliveries: Total
    failures: Mapping[str, int]
    circuits: tuple[Circuit, ...]
    budgets: tuple[Budget, ...]
    beats: tuple[Beat, ...]
    problems: tuple[Problem, ...]


def snapshot() -> Snapshot:
    """Return the current status. Fourteen statements; 36 ms with a million rows of each kind."""
    now = timezone.now()
    circuits, budgets, beats = _circuits(), _budgets(), _beats(now)
    assets = Asset.objects.using(alias())
    states = WebhookDelivery.State
    received, processing = _deliveries(states.RECEIVED), _deliveries(states.PROCESSING)
    return Snapshot(
        at=now,
        queued=_count(assets.filter(tagging_state=Asset.State.QUEUED)),
        running=_count(assets.filter(tagging_state=Asset.State.RUNNING)),
        queue_age=_age(assets.filter(due_at__lte=now).order_by("due_at"), "due_at", now),
        failed_assets=_count(assets.filter(tagging_state=Asset.State.FAILED)),
        open_deliveries=_sum(_count(received), _count(processing)),
        inbox_lag=max(
            _age(rows.filter(processed_at=None).order_by("id"), "received_at", now)
            for rows in (received, processing)
        ),
        failed_deliveries=_count(_deliveries(states.FAILED)),
        failures=_failures(now),
        circuits=circuits,
        budgets=budgets,
        beats=beats,
        problems=tuple(_problems(now, circuits, budgets, beats)),
    )


def problems() -> tuple[Problem, ...]:
    """Return what needs attention. Three statements on tables of a few rows."""
    now = timezone.now()
    return tuple(_problems(now, _circuits(), _budgets(), _beats(now)))


def not_configured() -> str:
    """Return what to set before anything can be tagged, an empty string if nothing is missing.

    Taggers of this package other than ``local`` need a Filestack account.
    """
    settings = get_settings()
    kind = settings.TAGGER.partition(":")[0]
    missing = [name for name in ("API_KEY", "APP_SECRET") if not getattr(settings, name)]
    if kind == "local" or kind not in BUILT_IN or not missing:
        return ""
    return _(
        "No file can be tagged: FILESTACK_TAGS lacks %(names)s. Copy the values from the Filestack "
        "portal, or set TAGGER to 'local' to tag without an account."
    ) % {"names": ", ".join(missing)}


def _circuits() -> tuple[Circuit, ...]:
    return tuple(Circuit.objects.using(alias()).order_by("tagger"))


def _budgets() -> tuple[Budget, ...]:
    settings = get_settings()
    usage = call_budget.usage()
    return (
        Budget("day", usage.today, settings.BUDGET_PER_DAY),
        Budget("month", usage.month, settings.BUDGET_PER_MONTH),
    )


def _beats(now: datetime) -> tuple[Beat, ...]:
    rows = Heartbeat.objects.using(alias()).order_by("name")
    return tuple(
        Beat(row.name, at, max((now - at).total_seconds(), 0.0), row.found)
        for row in rows
        for at in (row.finished_at,)
    )


def _problems(
    now: datetime,
    circuits: tuple[Circuit, ...],
    budgets: tuple[Budget, ...],
    beats: tuple[Beat, ...],
) -> Iterator[Problem]:
    if text := not_configured():
        yield Problem("not_configured", text)
    for row in circuits:
        if row.opened_at is not None:
            yield Problem(
                "circuit_open",
                _("Calls to the tagger %(tagger)s are paused until %(next)s: %(reason)s")
                % {
                    "tagger": row.tagger,
                    "next": row.retry_at.isoformat(" ", "minutes") if row.retry_at else "–",
                    "reason": row.reason,
                },
            )
    texts = {
        "day": _(
            "The budget of %(limit)d calls for today (UTC) is used up. Assets wait until tomorrow, "
            "or until you raise BUDGET_PER_DAY."
        ),
        "month": _(
            "The budget of %(limit)d calls for this month (UTC) is used up. Assets wait until next "
            "month, or until you raise BUDGET_PER_MONTH."
        ),
    }
    for budget in budgets:
        if budget.left == 0:
            yield Problem("budget_exhausted", texts[budget.period] % {"limit": budget.limit})
    last = next((beat for beat in beats if beat.name == "sweep"), None)
    if last is None:
        yield Problem(
            "sweep_overdue",
            _(
                "The recovery task has never run, so work that lost its task is not resumed. Add "
                "filestack_tags.sweep to CELERY_BEAT_SCHEDULE and run Celery beat, or run "
                "filestack_tags_sweep from cron."
            ),
        )
    elif last.age > SWEEP_OVERDUE.total_seconds():
        yield Problem(
            "sweep_overdue",
            _(
                "The recovery task (sweep) has not run for %(duration)s, so work that lost its "
                "task is not resumed. Check that Celery beat, the broker and a worker are running."
            )
            % {"duration": timesince(last.at, now)},
        )


def _deliveries(state: str) -> QuerySet[WebhookDelivery]:
    return WebhookDelivery.objects.using(alias()).filter(state=state)


def _count(rows: QuerySet[Asset] | QuerySet[WebhookDelivery]) -> Total:
    return capped(rows, COUNT_LIMIT)


def _sum(one: Total, other: Total) -> Total:
    return Total(one.count + other.count, is_exact=one.is_exact and other.is_exact)


def _age(
    rows: QuerySet[Asset] | QuerySet[WebhookDelivery], column: str, now: datetime
) -> float:
    """Return how long the first of ``rows`` has waited (seconds)."""
    since = rows.values_list(column, flat=True).first()
    return max((now - since).total_seconds(), 0.0) if since else 0.0


def _failures(now: datetime) -> dict[str, int]:
    # No index covers their time. The last ones are found by the index on their state; where it
    # matters, few of them are older than a day.
    failed = TaggingRun.objects.using(alias()).filter(state=TaggingRun.State.FAILED)
    last = failed.order_by("-id").values_list("pk", flat=True)
    earliest = last[COUNT_LIMIT - 1 : COUNT_LIMIT].first()
    if earliest is not None:
        failed = failed.filter(pk__gte=earliest)
    counted = failed.filter(finished_at__gte=now - RECENT).values_list("error_code")
    return dict(counted.annotate(runs=Count("*")).order_by("-runs", "error_code")[:TOP_CODES])
