"""Gauges: the figures of a snapshot by name, the same for every sink."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from filestack_tags import metrics
from filestack_tags.db.transactions import alias
from filestack_tags.operations.status import Snapshot, snapshot

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gauge:
    """One figure of a snapshot, as sinks export it."""

    name: str
    unit: str
    description: str
    labels: tuple[str, ...] = ()


GAUGES: Mapping[str, Gauge] = {
    gauge.name: gauge
    for gauge in (
        Gauge("assets.queued", "", "Assets that wait for a call, up to 10,000."),
        Gauge("assets.running", "", "Assets whose call is in progress, up to 10,000."),
        Gauge(
            "assets.failed",
            "",
            "Assets that failed and are not retried automatically, up to 10,000.",
        ),
        Gauge("queue.age", "seconds", "How long the oldest due asset has been waiting."),
        Gauge("deliveries.open", "", "Deliveries that are not processed yet, up to 20,000."),
        Gauge(
            "deliveries.failed",
            "",
            "Deliveries that failed and are not retried automatically, up to 10,000.",
        ),
        Gauge("inbox.lag", "seconds", "How long ago the oldest open delivery was received."),
        Gauge(
            "failures.recent",
            "",
            "Runs that failed in the last 24 hours, for the ten most frequent codes.",
            ("code",),
        ),
        Gauge(
            "circuit.open",
            "",
            "1 while calls to a tagger are paused, otherwise 0.",
            ("tagger",),
        ),
        Gauge("budget.used", "", "Calls made today or this month (UTC).", ("period",)),
        Gauge(
            "budget.left", "", "Calls that are still allowed, if there is a limit.", ("period",)
        ),
        Gauge(
            "heartbeat.age",
            "seconds",
            "How long ago a scheduled task last finished.",
            ("name",),
        ),
    )
}
"""Every gauge, by name."""

Reading = tuple[Gauge, Mapping[str, str], float]


def readings(taken: Snapshot) -> Iterator[Reading]:
    """Return the readings of every gauge: gauge, labels and value."""

    def read(gauge: str, value: float, /, **labels: str) -> Reading:
        return GAUGES[gauge], labels, float(value)

    yield read("assets.queued", taken.queued.count)
    yield read("assets.running", taken.running.count)
    yield read("assets.failed", taken.failed_assets.count)
    yield read("queue.age", taken.queue_age)
    yield read("deliveries.open", taken.open_deliveries.count)
    yield read("deliveries.failed", taken.failed_deliveries.count)
    yield read("inbox.lag", taken.inbox_lag)
    codes: Counter[str] = Counter()
    for code, number in taken.failures.items():
        codes[code if code in metrics.CODES else metrics.OTHER] += number
    for code, number in sorted(codes.items()):
        yield read("failures.recent", number, code=code)
    for row in taken.circuits:
        yield read("circuit.open", row.opened_at is not None, tagger=row.tagger)
    for budget in taken.budgets:
        yield read("budget.used", budget.used, period=budget.period)
        if budget.left is not None:
            yield read("budget.left", budget.left, period=budget.period)
    for beat in taken.beats:
        yield read("heartbeat.age", beat.age, name=beat.name)


def read_now() -> list[Reading]:
    """Return the current readings of every gauge, or nothing if the database is unreachable.

    The collecting thread may not be one of Django's, so a connection that has outlived
    ``CONN_MAX_AGE`` is closed here.
    """
    try:
        connection = connections[alias()]
        _close_if_old(connection)
        try:
            return list(readings(snapshot()))
        finally:
            _close_if_old(connection)
    except Exception:  # whatever it is, this process's events must still be collected
        logger.exception("The gauges cannot be read")
        return []


def _close_if_old(connection: BaseDatabaseWrapper) -> None:
    if not connection.in_atomic_block:  # not a request's connection, which Django closes
        connection.close_if_unusable_or_obsolete()
