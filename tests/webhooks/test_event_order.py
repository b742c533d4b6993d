"""Events out of order, and clocks that differ: nothing is lost, and nothing deleted is restored."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from amqp.exceptions import NotAllowed
from django.utils import timezone

from filestack_tags import tasks
from filestack_tags.exceptions import PayloadError
from filestack_tags.filestack.payloads import parse_event
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, LeaseLost, TaggingRun, WebhookDelivery
from filestack_tags.tagging import queue
from filestack_tags.testing.payloads import fp_delete, fp_overwrite, fp_upload, fs_workflow
from filestack_tags.webhooks import handlers, processing
from filestack_tags.webhooks.handler_types import ReceivedEvent
from tests import scripted

pytestmark = pytest.mark.django_db

HANDLE = "VJQTvCboRVivWJ2BpKgd"
BEHIND = timedelta(seconds=90)


def test_a_worker_whose_clock_is_slow_does_not_take_an_overwrite_for_an_older_one(
    deliver: Any, script: Any
) -> None:
    now = timezone.now()
    deliver(fp_upload(HANDLE))
    deliver(fp_overwrite(HANDLE, timestamp=int(now.timestamp()) - 20))
    with time_machine.travel(now - BEHIND):
        deliver(fp_overwrite(HANDLE, timestamp=int(now.timestamp()) - 5))
    assert Asset.objects.get().content_version == 3


def test_a_moment_far_ahead_is_not_believed(deliver: Any, script: Any) -> None:
    now = timezone.now()
    deliver(fp_upload(HANDLE, timestamp=int(now.timestamp()) + 86400 * 365))
    assert Asset.objects.get().facts_at <= now + timedelta(minutes=6)


@pytest.mark.parametrize(
    "others",
    [{"attempts": 2}, {"state": "processed", "due_at": None}, {"state": "received"}],
    ids=str,
)
def test_who_loses_the_lease_on_a_delivery_undoes_what_it_did(
    deliver: Any, script: Any, monkeypatch: pytest.MonkeyPatch, others: dict[str, Any]
) -> None:
    deliver(fp_upload(HANDLE))
    work = handlers.HANDLERS["fp.overwrite"]

    def slow(events: Any) -> Any:
        results = work(events)
        WebhookDelivery.objects.filter(pk=events[0].delivery.pk).update(**others)
        return results

    monkeypatch.setattr(handlers, "HANDLERS", {"fp.overwrite": slow})
    deliver(fp_overwrite(HANDLE))
    assert Asset.objects.get().content_version == 1


@pytest.mark.parametrize(
    "raised", [PayloadError("unreadable"), RuntimeError("broken")], ids=repr
)
def test_who_loses_the_lease_on_a_delivery_does_not_fail_it(
    deliver: Any, monkeypatch: pytest.MonkeyPatch, raised: Exception
) -> None:
    def slow(handler: Any, events: Any) -> Any:
        rows = WebhookDelivery.objects.filter(pk=events[0].delivery.pk)
        rows.update(state="processed", due_at=None)
        raise raised

    monkeypatch.setattr(processing, "_handle", slow)
    deliver(fp_upload(HANDLE))
    assert WebhookDelivery.objects.get().state == WebhookDelivery.State.PROCESSED


def test_a_commit_whose_answer_was_lost_is_not_done_again(deliver: Any, script: Any) -> None:
    deliver(fp_upload(HANDLE))
    deliver(fp_overwrite(HANDLE))
    delivery = WebhookDelivery.objects.get(action="fp.overwrite")
    event = ReceivedEvent(delivery, parse_event(bytes(delivery.raw_body)))
    with pytest.raises(LeaseLost):
        processing._handle(handlers.HANDLERS["fp.overwrite"], [event])
    assert Asset.objects.get().content_version == 2


def test_a_job_older_than_the_overwrite_that_made_its_file_known_is_older(
    deliver: Any, settings: Any, script: Any
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"AUTO_TAG": False}
    now = timezone.now().timestamp()
    deliver(fp_overwrite(HANDLE, timestamp=int(now) - 10))
    deliver(fs_workflow(HANDLE, tags={"before": 60}, created=int(now - 20) * 10**9))
    asset = Asset.objects.get()
    assert asset.tagging_state != Asset.State.TAGGED
    assert (asset.content_version, asset.tags_version) == (2, 1)


def test_a_job_of_the_second_of_an_overwrite_does_not_answer_for_the_new_content(
    deliver: Any, script: Any, monkeypatch: pytest.MonkeyPatch, tags_of: Any
) -> None:
    moment = int(timezone.now().timestamp()) - 60
    deliver(fp_upload(HANDLE, timestamp=moment - 10))
    with monkeypatch.context() as patch:
        patch.setattr(tasks.tag_asset, "apply_async", lambda *args, **options: None)
        deliver(fp_overwrite(HANDLE, timestamp=moment))
    created = moment * 10**9 + 400_000_000
    deliver(fs_workflow(HANDLE, tags={"before": 60}, created=created))
    asset = Asset.objects.get()
    assert asset.tagging_state == Asset.State.QUEUED
    script[:] = [scripted.reply({"after": 70})]
    queue.tag(asset.pk)
    assert tags_of(asset) == {"after": 70}


def test_a_deletion_by_a_slow_clock_is_not_undone_by_its_upload(
    deliver: Any, script: Any
) -> None:
    now = timezone.now()
    with time_machine.travel(now - BEHIND):
        deliver(fp_delete(HANDLE, timestamp=int(now.timestamp()) - 5))
    deliver(fp_upload(HANDLE, timestamp=int(now.timestamp()) - 10))
    assert Asset.objects.get().deleted_at is not None


def test_a_job_of_that_second_is_believed_where_nobody_else_asks(
    deliver: Any, settings: Any, script: Any, tags_of: Any
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"AUTO_TAG": False}
    moment = int(timezone.now().timestamp()) - 60
    deliver(fp_upload(HANDLE, timestamp=moment - 10))
    deliver(fp_overwrite(HANDLE, timestamp=moment))
    created = moment * 10**9 + 400_000_000
    deliver(fs_workflow(HANDLE, tags={"after": 60}, created=created))
    asset = Asset.objects.get()
    assert asset.tagging_state == Asset.State.TAGGED
    assert tags_of(asset) == {"after": 60}


def test_what_happened_in_the_second_of_the_deletion_does_not_bring_the_file_back(
    deliver: Any, script: Any
) -> None:
    deliver(fp_delete(HANDLE, timestamp=1600000000))
    deliver(fp_upload(HANDLE, timestamp=1600000000))
    assert Asset.objects.get().deleted_at is not None
    job = fs_workflow(HANDLE, tags={"sky": 60}, created=1600000000 * 10**9 + 700_000_000)
    deliver(job)
    assert Asset.objects.get().deleted_at is not None
    tasks.register(Source.handle(HANDLE))
    assert Asset.objects.get().deleted_at is None


@pytest.mark.parametrize("error", [NotAllowed("no such vhost"), ConnectionResetError("gone")])
def test_a_broker_that_lets_nobody_in_is_one_that_is_down(
    deliver: Any, script: Any, monkeypatch: pytest.MonkeyPatch, error: Exception,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def refuse(*args: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(tasks.process_inbox, "apply_async", refuse)
    assert deliver(fp_upload(HANDLE)).status_code == 200
    assert "left to the recovery task" in caplog.text


def test_a_task_that_is_due_now_names_no_time_to_wait_for(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(
        tasks.tag_asset, "apply_async", lambda args, **options: sent.append(options)
    )
    with django_capture_on_commit_callbacks(execute=True):
        tasks.register(Source.handle(HANDLE), trigger=TaggingRun.Trigger.CODE)
    assert sent == [{}]


def test_a_worker_whose_clock_is_slow_tags_what_others_have_queued(script: Any) -> None:
    asset, _ = tasks.register(Source.handle(HANDLE))
    with time_machine.travel(timezone.now() - BEHIND):
        assert queue.waiting(1) == [asset.pk]
        assert queue.tag(asset.pk).state == "succeeded"


def test_a_retry_that_is_not_due_yet_is_left_alone(script: Any) -> None:
    asset, _ = tasks.register(Source.handle(HANDLE))
    Asset.objects.update(attempts=1)
    with time_machine.travel(timezone.now() - BEHIND):
        assert queue.waiting(1) == []
        assert queue.tag(asset.pk).state == Asset.State.QUEUED
