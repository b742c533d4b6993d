"""Workflow jobs from start to end, with the emulator on a port of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from filestack_tags import tasks
from filestack_tags.assets import registry
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, TaggingRun, WebhookDelivery
from filestack_tags.tagging import queue, workflows
from filestack_tags.tagging.taggers import PendingJob, TaggerReply
from filestack_tags.tagging.taggers.filestack import WorkflowTagger
from filestack_tags.testing import Account, EmulatorApp, EmulatorServer, Workflow
from tests.db.test_concurrency import at_once
from tests.testing.surroundings import BASE, config, picture

LOOK = "687r07d2"  # the docs show ids that are not UUIDs
MINUTE = 60
HOUR = 60 * MINUTE
EXPECTED = {"red": 99, "40 x 20": 90}


@pytest.fixture
def emulator(settings: Any) -> Iterator[EmulatorApp]:
    workflow = Workflow(LOOK, ("tags", "sfw", "again=tags"))
    account = Account(workflows=(workflow,))
    with EmulatorApp(config(account=account)) as app, EmulatorServer(app) as server:
        settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
            "CDN_URL": server.url,
            "TAGGER": "workflow:look",
            "WORKFLOWS": {"look": LOOK},
            "RULES": {"safe": "sfw eq true", "red": "tags.auto.red gte 90"},
        }
        yield app


@pytest.fixture
def picture_of(emulator: EmulatorApp, db: None) -> Asset:
    file = emulator.files.add(
        picture(), filename="red.jpg", mimetype="image/jpeg", options={}, base_url=BASE
    )
    return registry.register(Source.handle(file.handle))[0]


def start(asset: Asset) -> TaggingRun:
    assert queue.request([asset.pk]) == [asset.pk]
    assert queue.tag(asset.pk).state == Asset.State.RUNNING
    return TaggingRun.objects.get()


def poll(asset: Asset) -> str:
    """Poll the asset's job when that is due."""
    asset.refresh_from_db()
    assert asset.due_at is not None
    with time_machine.travel(aware(asset.due_at), tick=False):
        return queue.tag(asset.pk).state


def aware(moment: Any) -> Any:
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)


def told(emulator: EmulatorApp) -> dict[str, Any]:
    """The event of the job's end."""
    assert emulator.workflows.run_next()
    body: dict[str, Any] = emulator.webhooks.deliveries()[-1]["body"]
    return body


def calls(emulator: EmulatorApp, operation: str) -> int:
    return [name for name, _ in emulator.requests].count(operation)


def test_a_named_workflow_is_started_and_its_webhook_applied(
    emulator: EmulatorApp, picture_of: Asset, deliver: Any, tags_of: Any
) -> None:
    run = start(picture_of)
    assert (run.tagger, run.workflow_id) == ("workflow:look", LOOK)
    deliver(told(emulator))
    run.refresh_from_db()
    assert run.state == TaggingRun.State.SUCCEEDED
    assert run.rule_results == {"safe": True, "red": True}
    assert tags_of(picture_of) == EXPECTED
    assert calls(emulator, "workflow_status") == 0


def test_a_task_starts_the_workflow_that_the_request_names_and_asks_for_its_job(
    emulator: EmulatorApp,
    picture_of: Asset,
    settings: Any,
    tags_of: Any,
    django_capture_on_commit_callbacks: Any,
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"TAGGER": "filestack"}
    emulator.faults.add("no_webhook")
    with django_capture_on_commit_callbacks(execute=True):
        tasks.request_tagging([picture_of.pk], tagger="workflow:look")
    assert calls(emulator, "run_workflow") == 1
    emulator.run_due()
    with time_machine.travel(timezone.now() + timedelta(seconds=662), tick=False):
        assert queue.due() == [picture_of.pk]
        tasks.tag_asset(picture_of.pk)
    assert tags_of(picture_of) == EXPECTED
    assert TaggingRun.objects.get().tagger == "workflow:look"


def test_a_job_whose_webhook_never_came_is_asked_for_and_applied(
    emulator: EmulatorApp, picture_of: Asset, tags_of: Any
) -> None:
    emulator.faults.add("no_webhook")
    run = start(picture_of)
    assert emulator.run_due() == 1
    assert "fs.workflow" not in [item["action"] for item in emulator.webhooks.deliveries()]
    assert queue.tag(picture_of.pk).state == Asset.State.RUNNING  # not before it is due
    assert calls(emulator, "workflow_status") == 0
    with time_machine.travel(timezone.now() + timedelta(seconds=662), tick=False):
        assert queue.due() == [picture_of.pk]
    assert poll(picture_of) == TaggingRun.State.SUCCEEDED
    assert calls(emulator, "workflow_status") == 1
    run.refresh_from_db()
    assert run.rule_results == {"safe": True, "red": True}
    assert tags_of(picture_of) == EXPECTED


def test_a_job_is_asked_for_ever_more_seldom_and_given_up_before_filestack_forgets_it(
    emulator: EmulatorApp, picture_of: Asset
) -> None:
    run = start(picture_of)
    asked: list[float] = []
    state = Asset.State.RUNNING
    while state == Asset.State.RUNNING:
        picture_of.refresh_from_db()
        asked.append((picture_of.due_at - run.started_at).total_seconds())
        state = poll(picture_of)
    waits = [after - before for before, after in pairwise(asked)]
    assert [round(wait / MINUTE) for wait in (asked[0], *waits[:4])] == [10, 10, 20, 40, 60]
    assert max(waits) < 61 * MINUTE
    assert asked[-1] == pytest.approx(47 * HOUR)
    assert len(asked) < 60
    assert calls(emulator, "workflow_status") == len(asked)
    run.refresh_from_db()
    assert (state, run.error_code) == (Asset.State.FAILED, "workflow_deadline")


def test_a_question_that_fails_again_and_again_is_not_asked_more_often(
    emulator: EmulatorApp, picture_of: Asset
) -> None:
    run = start(picture_of)
    emulator.faults.add("server_error", operation="workflow_status", times=None)
    asked = []
    for _ in range(5):
        picture_of.refresh_from_db()
        asked.append((picture_of.due_at - run.started_at).total_seconds())
        assert poll(picture_of) == Asset.State.RUNNING
    assert [round(moment / MINUTE) for moment in asked] == [10, 20, 40, 80, 140]


def test_a_job_of_which_a_task_failed_gives_what_it_has_when_it_is_asked_for(
    emulator: EmulatorApp, picture_of: Asset, monkeypatch: pytest.MonkeyPatch, tags_of: Any
) -> None:
    emulator.faults.add("no_webhook")
    start(picture_of)
    failed = {"error": "service temporarily unavailable"}
    whole = emulator.workflows._result
    monkeypatch.setattr(
        emulator.workflows,
        "_result",
        lambda task, source: failed if task == "sfw" else whole(task, source),
    )
    emulator.run_due()
    poll(picture_of)
    assert tags_of(picture_of) == EXPECTED
    assert TaggingRun.objects.get().rule_results == {"safe": False, "red": True}


def test_a_webhook_between_a_question_and_its_answer_is_applied_once(
    emulator: EmulatorApp, picture_of: Asset, deliver: Any, tags_of: Any, interrupted: Any
) -> None:
    run = start(picture_of)
    event = told(emulator)
    interrupted(lambda: deliver(event))
    poll(picture_of)
    run.refresh_from_db()
    assert run.state == TaggingRun.State.SUCCEEDED
    assert run.delivery == WebhookDelivery.objects.get()
    assert tags_of(picture_of) == EXPECTED
    assert TaggingRun.objects.count() == 1


def test_a_webhook_that_comes_after_the_poll_changes_nothing(
    emulator: EmulatorApp, picture_of: Asset, deliver: Any, tags_of: Any
) -> None:
    run = start(picture_of)
    event = told(emulator)
    poll(picture_of)
    run.refresh_from_db()
    finished_at = run.finished_at
    deliver(event)
    run.refresh_from_db()
    assert run.finished_at == finished_at
    assert WebhookDelivery.objects.get().state == WebhookDelivery.State.PROCESSED
    assert tags_of(picture_of) == EXPECTED
    assert TaggingRun.objects.count() == 1


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Call a function after Filestack has answered a call, before the answer is applied."""
    follow = WorkflowTagger.follow

    def arrange(happening: Callable[[], Any]) -> None:
        def followed(tagger: WorkflowTagger, job_id: str) -> TaggerReply | PendingJob:
            answer = follow(tagger, job_id)
            happening()
            return answer

        monkeypatch.setattr(WorkflowTagger, "follow", followed)

    return arrange


@pytest.mark.skipif(
    connection.vendor == "sqlite",
    reason="SQLite has one writer; PostgreSQL and MariaDB run it",
)
@pytest.mark.django_db(transaction=True)
def test_a_poll_and_a_webhook_at_once_are_applied_once(
    emulator: EmulatorApp, picture_of: Asset, deliver: Any, tags_of: Any
) -> None:
    for _ in range(5):
        TaggingRun.objects.all().delete()
        Asset.objects.update(
            tagging_state=Asset.State.NEW, due_at=None, tags_version=0, tags_at=None
        )
        run = start(picture_of)
        event = told(emulator)
        Asset.objects.update(due_at=timezone.now())
        at_once(
            lambda number, event=event: deliver(event) if number else queue.tag(picture_of.pk),
            writers=2,
        )
        run.refresh_from_db()
        assert run.state == TaggingRun.State.SUCCEEDED
        assert TaggingRun.objects.count() == 1
        assert tags_of(picture_of) == EXPECTED
        picture_of.refresh_from_db()
        assert picture_of.tagging_state == Asset.State.TAGGED


def test_a_workflow_is_called_by_its_name(settings: Any) -> None:
    settings.FILESTACK_TAGS = {
        "WORKFLOW_ID": "wf-1",
        "WORKFLOWS": {"look": "wf-1", "glance": "wf-2"},
        "REGISTER_FROM_WORKFLOWS": ["gl*"],
    }
    assert workflows.taggers() == {
        "workflow": "wf-1", "workflow:look": "wf-1", "workflow:glance": "wf-2",
    }  # fmt: skip
    assert workflows.taggers_of("wf-1") == ["workflow:look", "workflow"]
    assert workflows.taggers_of("wf-3") == []
    assert [workflows.described(key) for key in ("wf-2", "wf-3")] == ["glance (wf-2)", "wf-3"]
    assert [workflows.registers_files(key) for key in ("wf-1", "wf-2", "")] == [
        False,
        True,
        False,
    ]


def test_without_an_id_there_is_no_workflow_to_run(settings: Any) -> None:
    settings.FILESTACK_TAGS = {"WORKFLOW_ID": ""}
    assert workflows.taggers() == {}
