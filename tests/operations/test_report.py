"""The on-call report."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from filestack_tags.curation import bulk
from filestack_tags.error_codes import ErrorCode
from filestack_tags.exceptions import PayloadError, TaggerError
from filestack_tags.models import Asset, Backfill, BulkJob, Heartbeat, TagMerge, WebhookDelivery
from filestack_tags.operations import heartbeat
from filestack_tags.operations import report as operations_report
from filestack_tags.operations.report import FailureGroup, report
from filestack_tags.tagging import queue
from filestack_tags.tagging.queue import tag
from filestack_tags.webhooks import inbox, processing
from tests import scripted

pytestmark = pytest.mark.django_db


def codes() -> list[str]:
    return [problem.code for problem in report().problems]


def dead_asset(number: int, code: str) -> Asset:
    return Asset.objects.create(
        kind="handle",
        reference=f"h{number}",
        digest=str(number),
        tagging_state="failed",
        error_code=code,
    )


def dead_delivery(key: str, code: str) -> WebhookDelivery:
    return WebhookDelivery.objects.create(
        event_key=key,
        raw_body=b"{}",
        state="failed",
        due_at=None,
        error_code=code,
        processed_at=timezone.now(),
    )


def test_no_problem_while_the_scheduled_tasks_run() -> None:
    heartbeat.beat("sweep")
    found = report()
    assert found.problems == ()
    assert [(task.name, task.beat is None) for task in found.scheduled_tasks] == [
        ("sweep", False),
        ("refresh_statistics", True),
        ("prune", True),
    ]


def test_what_is_dead_is_counted_by_reason_the_most_frequent_first() -> None:
    heartbeat.beat("sweep")
    for number, code in enumerate(["file_not_found", "workflow_failed", "file_not_found", ""]):
        dead_asset(number, code)
    dead_delivery("1", "payload")
    found = report()
    assert found.failed_assets == (
        FailureGroup("file_not_found", 2),
        FailureGroup("", 1),
        FailureGroup("workflow_failed", 1),
    )
    assert found.failed_deliveries == (FailureGroup("payload", 1),)
    assert [problem.code for problem in found.problems] == [
        "failed_deliveries",
        "failed_assets",
    ]
    assert "4 assets could not be tagged" in found.problems[1].text
    assert "1 delivery failed" in found.problems[0].text


def test_the_dead_are_counted_among_the_newest_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations_report, "COUNT_LIMIT", 2)
    for number, code in enumerate(["old", "new", "new"]):
        dead_asset(number, code)
    assert report().failed_assets == (FailureGroup("new", 2),)


def test_what_waits_too_long_needs_somebody_unless_calls_may_not_be_made(
    settings: Any,
) -> None:
    heartbeat.beat("sweep")
    late = timezone.now() - operations_report.QUEUE_LATE - timedelta(minutes=5)
    asset = dead_asset(1, "")
    Asset.objects.filter(pk=asset.pk).update(tagging_state="queued", due_at=late)
    WebhookDelivery.objects.create(event_key="1", raw_body=b"{}", received_at=late)
    found = report()
    assert [problem.code for problem in found.problems] == ["inbox_late", "queue_late"]
    assert "20\xa0minutes" in found.problems[1].text
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"BUDGET_PER_DAY": 0}
    assert codes() == ["budget_exhausted", "inbox_late"]


def test_a_scheduled_task_that_stopped_is_overdue_and_one_that_never_ran_is_not() -> None:
    heartbeat.beat("sweep")
    heartbeat.beat("prune")
    heartbeat.beat("nightly-import")
    assert codes() == []
    Heartbeat.objects.exclude(name="sweep").update(
        finished_at=timezone.now() - timedelta(days=3)
    )
    found = report()
    assert [problem.code for problem in found.problems] == ["task_overdue"]
    assert "prune has not run for 3\xa0days" in found.problems[0].text
    assert {task.name: task.is_overdue for task in found.scheduled_tasks} == {
        "sweep": False,
        "refresh_statistics": False,
        "prune": True,
        "nightly-import": False,
    }


def test_what_is_under_way_is_shown_and_a_silent_backfill_needs_somebody() -> None:
    heartbeat.beat("sweep")
    job, _ = bulk.create(bulk.BulkRequest("export", format="csv"), user=None)
    BulkJob.objects.create(action="export", state="finished", due_at=None)
    merge = TagMerge.objects.create(
        source_id=1, target_id=2, source_name="a", target_name="b", assets=9
    )
    TagMerge.objects.create(
        source_id=3, target_id=4, source_name="c", target_name="d", state="merged", due_at=None
    )
    running = Backfill.objects.create()
    Backfill.objects.create(state=Backfill.State.STOPPED)
    found = report()
    assert (found.jobs, found.merges, found.backfills) == ((job,), (merge,), (running,))
    assert found.problems == ()
    Backfill.objects.update(updated_at=timezone.now() - timedelta(hours=2))
    assert codes() == ["backfill_stalled"]


def test_a_report_takes_as_many_statements_for_much_as_for_nothing() -> None:
    def statements() -> int:
        with CaptureQueriesContext(connection) as asked:
            report()
        return len(asked)

    empty = statements()
    for number in range(20):
        dead_asset(number, f"code{number}")
        dead_delivery(str(number), f"code{number}")
        bulk.create(bulk.BulkRequest("export", format="csv"), user=None)
        Backfill.objects.create()
    assert statements() == empty == 21


def test_every_code_has_a_meaning_and_a_fix() -> None:
    assert all(code.meaning and code.fix for code in ErrorCode)
    assert ErrorCode.of_run("mine") is ErrorCode.OTHER
    assert ErrorCode.of_delivery("ZeroDivisionError") is ErrorCode.HANDLER_FAILED
    assert ErrorCode.of_run("") is ErrorCode.of_delivery("") is ErrorCode.UNKNOWN


def test_texts_of_codes_are_translated_when_they_are_displayed() -> None:
    with translation.override("de"):
        assert ErrorCode.SERVER_ERROR.meaning != ErrorCode.SERVER_ERROR.english_meaning
    assert ErrorCode.SERVER_ERROR.meaning == ErrorCode.SERVER_ERROR.english_meaning


def test_an_asset_has_the_code_of_its_last_error_until_it_has_its_tags(
    asset: Asset, script: Any
) -> None:
    script[:] = [TaggerError("No.", code="mine" * 20), scripted.reply({"sky": 90})]
    queue.request([asset.pk])
    tag(asset.pk)
    asset.refresh_from_db()
    assert (asset.tagging_state, asset.error_code) == ("failed", ("mine" * 20)[:50])
    assert list(Asset.objects.search(f"status:failed error:{asset.error_code}")) == [asset]
    assert asset.runs.get().error_code == asset.error_code
    queue.request([asset.pk])
    tag(asset.pk)
    asset.refresh_from_db()
    assert (asset.tagging_state, asset.error_code) == ("tagged", "")


def test_a_delivery_says_why_it_failed(
    deliver: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"WEBHOOK_MAX_ATTEMPTS": 1}
    for error, code in ((PayloadError("No handle."), "payload"), (KeyError("x"), "KeyError")):

        def fail(*_args: Any, error: Exception = error) -> Any:
            raise error

        monkeypatch.setattr(processing.handlers, "HANDLERS", {"fp.delete": fail})
        deliver({"id": code, "action": "fp.delete", "text": {"url": "https://x/h"}})
        assert WebhookDelivery.objects.latest("pk").error_code == code
    monkeypatch.undo()
    ids = list(WebhookDelivery.objects.values_list("pk", flat=True))
    assert inbox.replay([*ids, 0]) == ids
    assert set(WebhookDelivery.objects.values_list("state", "attempts")) == {("received", 0)}
    assert inbox.replay(ids) == []
