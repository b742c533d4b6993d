"""The status of the app: figures, and problems that need attention."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from filestack_tags import tasks
from filestack_tags.filestack.sources import Source
from filestack_tags.models import (
    Asset,
    Circuit,
    DailyUsage,
    Heartbeat,
    TaggingRun,
    WebhookDelivery,
)
from filestack_tags.operations import heartbeat, status
from filestack_tags.operations.sinks.gauges import GAUGES, readings
from filestack_tags.operations.status import problems, snapshot
from filestack_tags.search.totals import Total

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _at_noon() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


def ago(seconds: float) -> datetime:
    return timezone.now() - timedelta(seconds=seconds)


def asset(number: int, state: str, due_at: datetime | None = None) -> Asset:
    source = Source.handle(f"h{number}")
    return Asset.objects.create(
        kind="handle",
        reference=source.reference,
        digest=f"{number}",
        tagging_state=state,
        due_at=(due_at or timezone.now()) if state in ("queued", "running") else None,
    )


def delivery(number: int, state: str, **facts: Any) -> WebhookDelivery:
    if state not in ("received", "processing"):
        facts["due_at"] = None
    return WebhookDelivery.objects.create(
        event_key=f"{number}", raw_body=b"{}", state=state, **facts
    )


def failed(of: Asset, code: str, finished_at: datetime) -> TaggingRun:
    return TaggingRun.objects.create(
        asset=of,
        tagger="filestack",
        trigger="code",
        content_version=1,
        state="failed",
        error_code=code,
        finished_at=finished_at,
    )


def read(taken: status.Snapshot) -> dict[str, float]:
    return {
        f"{gauge.name}{''.join(f' {word}' for word in labels.values())}": value
        for gauge, labels, value in readings(taken)
    }


def test_assets_are_counted_by_where_they_stand_and_the_oldest_due_one_is_timed() -> None:
    asset(1, "queued", ago(30))
    asset(2, "queued", ago(90))
    asset(3, "queued", ago(-500))  # a retry that is not due yet
    asset(4, "running", ago(-300))
    asset(5, "failed")
    asset(6, "tagged")
    taken = snapshot()
    assert (taken.queued, taken.running) == (Total(3, is_exact=True), Total(1, is_exact=True))
    assert taken.failed_assets == Total(1, is_exact=True)
    assert taken.queue_age == 90


def test_the_inbox_lags_by_its_oldest_delivery_but_for_those_replayed() -> None:
    delivery(1, "received", received_at=ago(9000), processed_at=ago(8000))  # replayed
    delivery(2, "received", received_at=ago(20))
    delivery(3, "processing", received_at=ago(40))
    delivery(4, "processed", received_at=ago(5000), processed_at=ago(4999))
    delivery(5, "failed", received_at=ago(6000), processed_at=ago(5000))
    taken = snapshot()
    assert taken.open_deliveries == Total(3, is_exact=True)
    assert taken.inbox_lag == 40
    assert taken.failed_deliveries == Total(1, is_exact=True)


def test_nothing_waits_for_no_time() -> None:
    taken = snapshot()
    assert (taken.queue_age, taken.inbox_lag) == (0, 0)
    assert taken.failures == {}


def test_failures_are_those_of_the_last_day_by_code_the_most_frequent_first() -> None:
    of = asset(1, "failed")
    failed(of, "server_error", ago(25 * 3600))
    for code, times in (("server_error", 1), ("own_code", 2), ("rate_limited", 3)):
        for _ in range(times):
            failed(of, code, ago(60))
    taken = snapshot()
    assert list(taken.failures.items()) == [
        ("rate_limited", 3),
        ("own_code", 2),
        ("server_error", 1),
    ]
    shown = read(taken)
    assert shown["failures.recent rate_limited"] == 3
    assert shown["failures.recent other"] == 2


def test_counting_stops_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "COUNT_LIMIT", 3)
    for number in range(4):
        failed(asset(number, "failed"), f"code{number}", ago(60))
        delivery(number, "received")
    taken = snapshot()
    assert taken.failed_assets == Total(3, is_exact=False)
    assert taken.open_deliveries == Total(3, is_exact=False)
    assert set(taken.failures) == {"code1", "code2", "code3"}  # the last three


def test_a_snapshot_takes_as_many_statements_for_much_as_for_nothing() -> None:
    def statements() -> list[str]:
        with CaptureQueriesContext(
            connection,
        ) as asked:
            snapshot()
        return [query["sql"] for query in asked.captured_queries]

    empty = statements()
    for number in range(20):
        failed(asset(number, "queued", ago(number)), "server_error", ago(1))
        delivery(number, "received")
    assert len(statements()) == len(empty) == 14
    # Every count has a limit, except that of failures, which are limited beforehand.
    counts = [sql for sql in statements() if "COUNT(*)" in sql]
    assert len(counts) == 7
    assert all("LIMIT" in sql for sql in counts)


def test_an_open_circuit_is_a_problem_with_its_reason(settings: Any) -> None:
    heartbeat.beat("sweep")
    Circuit.objects.create(
        tagger="filestack",
        opened_at=ago(60),
        retry_at=ago(-60),
        error_code="invalid_application",
        reason="Check API_KEY: Filestack does not know this application.",
    )
    Circuit.objects.create(tagger="workflow", failures=2)
    (problem,) = problems()
    assert problem.code == "circuit_open"
    assert "filestack" in problem.text
    assert "Check API_KEY" in problem.text
    shown = read(snapshot())
    assert (shown["circuit.open filestack"], shown["circuit.open workflow"]) == (1, 0)


def test_a_budget_that_is_used_up_is_a_problem(settings: Any) -> None:
    heartbeat.beat("sweep")
    DailyUsage.objects.create(day=date(2026, 3, 10), calls=7)
    DailyUsage.objects.create(day=date(2026, 3, 1), calls=3)
    DailyUsage.objects.create(day=date(2026, 2, 28), calls=100)
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "BUDGET_PER_DAY": 7,
        "BUDGET_PER_MONTH": 100,
    }
    (problem,) = problems()
    assert problem.code == "budget_exhausted"
    assert "BUDGET_PER_DAY" in problem.text
    shown = read(snapshot())
    assert (shown["budget.used day"], shown["budget.used month"]) == (7, 10)
    assert (shown["budget.left day"], shown["budget.left month"]) == (0, 90)
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"BUDGET_PER_DAY": None}
    assert problems() == ()
    assert "budget.left day" not in read(snapshot())


def test_a_sweep_that_does_not_run_is_a_problem_until_it_does() -> None:
    assert [problem.code for problem in problems()] == ["sweep_overdue"]
    tasks.sweep()
    assert problems() == ()
    Heartbeat.objects.update(finished_at=ago(299))
    assert problems() == ()
    Heartbeat.objects.update(finished_at=ago(12 * 60))
    (problem,) = problems()
    assert "12\xa0minutes" in problem.text


def test_the_sweep_and_the_statistics_leave_what_they_found(
    told: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    asset(1, "queued", ago(120))
    tasks.sweep()
    tasks.refresh_statistics()
    beats = {beat.name: (beat.at, beat.found) for beat in snapshot().beats}
    assert beats == {
        "sweep": (timezone.now(), {"assets": 1}),
        "refresh_statistics": (timezone.now(), {}),
    }
    assert [(one.value, one.labels) for one in told if one.name == "sweep.found"] == [
        (1, {"what": "assets"})
    ]


def test_a_heartbeat_is_one_row_however_often_it_beats() -> None:
    heartbeat.beat("prune", deliveries=3)
    with time_machine.travel(NOW + timedelta(hours=1), tick=False):
        assert heartbeat.beat("prune", deliveries=0) == {"deliveries": 0}
        (row,) = Heartbeat.objects.all()
        assert (row.finished_at, row.found) == (timezone.now(), {"deliveries": 0})


def test_every_gauge_is_read_when_there_is_something_to_read(settings: Any) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"BUDGET_PER_DAY": 7}
    failed(asset(1, "failed"), "server_error", ago(1))
    Circuit.objects.create(tagger="filestack")
    heartbeat.beat("sweep")
    assert {gauge.name for gauge, _, _ in readings(snapshot())} == GAUGES.keys()
    for gauge, labels, _ in readings(snapshot()):
        assert tuple(labels) == gauge.labels
