"""The inbox: wake-ups, the order of processing, and when a task leaves the rest."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone
from kombu.exceptions import OperationalError

from filestack_tags import metrics, tasks
from filestack_tags.concurrency.single_flight import SingleFlight
from filestack_tags.models import Asset, WebhookDelivery
from filestack_tags.tasks import actions, celery_tasks
from filestack_tags.testing.payloads import event, fp_upload, fs_workflow
from filestack_tags.webhooks import handlers, inbox, processing
from tests import signed_headers

State = WebhookDelivery.State

pytestmark = pytest.mark.django_db


def request(body: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    raw = json.dumps(body).encode()
    return raw, signed_headers(raw)


def receive(number: int = 0) -> int:
    return inbox.receive(*request(fp_upload(f"h{number}"))).delivery_id


def set_due(pk: int, **ago: float) -> None:
    WebhookDelivery.objects.filter(pk=pk).update(due_at=timezone.now() - timedelta(**ago))


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """Hold back messages; the list has each with its countdown in seconds."""
    held: list[tuple[str, float]] = []
    for task in (tasks.process_inbox, tasks.tag_asset):
        monkeypatch.setattr(
            task,
            "apply_async",
            lambda ids, countdown=0.0, name=task.name: held.append((name, countdown)),
        )
    return held


@pytest.fixture
def processed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The deliveries that were processed, in order."""
    order: list[int] = []
    close = WebhookDelivery.close

    def record(delivery: WebhookDelivery, *args: Any) -> None:
        order.append(delivery.pk)
        close(delivery, *args)

    monkeypatch.setattr(WebhookDelivery, "close", record)
    return order


def test_deliveries_are_processed_in_the_order_of_their_receipt(processed: list[int]) -> None:
    ids = [receive(n) for n in range(10)]
    set_due(ids[7], hours=1)
    tasks.process_inbox()
    assert processed == [ids[7], *ids[:7], *ids[8:]]


def test_of_many_that_wait_those_drawn_are_among_the_oldest_and_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inbox, "CANDIDATES", 20)
    ids = [receive(n) for n in range(40)]
    draws = [inbox.due(limit=5) for _ in range(30)]
    for drawn in draws:
        assert len(drawn) == 5
        assert drawn == sorted(drawn)
        assert set(drawn) <= set(ids[:20])
    assert len({tuple(drawn) for drawn in draws}) > 1
    assert inbox.due(limit=40) == ids


def test_one_task_processes_all_that_waits_however_many_it_draws_at_once(
    processed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "CANDIDATES", 4)
    ids = [receive(n) for n in range(50)]
    tasks.process_inbox()
    assert sorted(processed) == ids
    assert inbox.due() == []


def test_after_its_slice_a_task_leaves_the_rest_to_the_next(
    processed: list[int], published: list[tuple[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(celery_tasks, "INBOX_SLICE", -1.0)
    ids = [receive(n) for n in range(inbox.BATCH_SIZE + 3)]
    tasks.process_inbox()
    assert len(processed) == inbox.BATCH_SIZE < len(ids)
    assert published == [("filestack_tags.process_inbox", 0.0)]


def test_a_task_ends_when_others_have_what_it_drew(
    published: list[tuple[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processing, "process", lambda ids: [])
    receive()
    tasks.process_inbox()
    assert not published


def test_a_task_too_many_in_its_process_leaves_its_work_to_one_that_is_at_it(
    processed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delivery stored after the other task had looked is not missed: that task looks again."""
    monkeypatch.setattr(celery_tasks, "_inbox_flight", SingleFlight(1))
    first = receive(1)
    later: list[int] = []
    real = inbox.due

    def due() -> list[int]:
        found = real()
        if not found and not later:
            later.append(receive(2))
            tasks.process_inbox()
            assert processed == [first]
        return found

    monkeypatch.setattr(inbox, "due", due)
    tasks.process_inbox()
    assert processed == [first, *later]


def test_a_task_that_fails_leaves_its_seat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(celery_tasks, "_inbox_flight", SingleFlight(1))

    def fail(pk: int) -> Any:
        raise DatabaseError

    with monkeypatch.context() as patch:
        patch.setattr(processing, "process", fail)
        receive()
        with pytest.raises(DatabaseError):
            tasks.process_inbox()
    tasks.process_inbox()
    assert WebhookDelivery.objects.get().state == State.PROCESSED


def test_a_new_delivery_is_processed_though_its_host_s_clock_is_fast(
    processed: list[int],
) -> None:
    with time_machine.travel(timezone.now() + timedelta(hours=3), tick=False):
        pk = receive()
    tasks.process_inbox()
    assert processed == [pk]


@pytest.mark.parametrize(
    ("state", "attempts", "ago", "is_due"),
    [
        (State.RECEIVED, 1, 1, True),
        (State.RECEIVED, 1, -10, False),
        (State.PROCESSING, 1, 1, True),
        (State.PROCESSING, 1, -10, False),
        (State.PROCESSING, 0, -10, False),
    ],
)
def test_retries_and_leases_are_taken_when_they_are_due(
    processed: list[int], state: str, attempts: int, ago: float, is_due: bool
) -> None:
    pk = receive()
    WebhookDelivery.objects.update(state=state, attempts=attempts)
    set_due(pk, seconds=ago)
    assert inbox.due() == ([pk] if is_due else [])
    assert bool(processing.process([pk])) is is_due
    assert processed == ([pk] if is_due else [])


@pytest.mark.parametrize("state", [State.PROCESSED, State.IGNORED, State.FAILED])
def test_what_is_closed_does_not_wait(state: str) -> None:
    receive()
    WebhookDelivery.objects.update(state=state, due_at=None)
    assert inbox.due() == []


def test_a_retry_has_a_message_of_its_own_at_its_time(
    published: list[tuple[str, float]], monkeypatch: pytest.MonkeyPatch, longest_delay: None
) -> None:
    def fail(events: Any) -> Any:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(handlers, "HANDLERS", {"fp.upload": fail})
    receive()
    tasks.process_inbox()
    ((name, countdown),) = published
    assert name == "filestack_tags.process_inbox"
    assert 13 < countdown <= 15
    delivery = WebhookDelivery.objects.get()
    assert (delivery.state, delivery.attempts) == (State.RECEIVED, 1)
    assert 'raise DatabaseError("the disk is full")' in delivery.error


def test_the_effect_of_an_event_that_fails_is_gone_but_its_traceback_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = handlers.HANDLERS["fs.workflow"]

    def handle(events: Any) -> Any:
        real(events)
        raise RuntimeError("after the effect")

    monkeypatch.setattr(handlers, "HANDLERS", {"fs.workflow": handle})
    tasks.receive(*request(fs_workflow("h", tags={"sky": 90})))
    tasks.process_inbox()
    assert not Asset.objects.exists()
    error = WebhookDelivery.objects.get().error
    assert error.startswith("Traceback")
    assert "RuntimeError: after the effect" in error


def test_a_process_that_dies_each_time_leaves_a_failed_delivery_in_the_end(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"WEBHOOK_MAX_ATTEMPTS": 3}

    def die(events: Any) -> Any:
        raise SystemExit  # as a killed process: nothing records it

    monkeypatch.setattr(handlers, "HANDLERS", {"fp.upload": die})
    receive()
    for _ in range(3):
        set_due(WebhookDelivery.objects.get().pk, seconds=1)
        with pytest.raises(SystemExit):
            tasks.process_inbox()
    assert WebhookDelivery.objects.get().state == State.PROCESSING
    set_due(WebhookDelivery.objects.get().pk, seconds=1)
    tasks.process_inbox()
    delivery = WebhookDelivery.objects.get()
    assert (delivery.state, delivery.attempts) == (State.FAILED, 3)
    assert delivery.error == "The worker stopped before it had finished."
    assert delivery.error_code == "abandoned"


def test_an_event_that_cannot_be_understood_fails_at_once_and_the_next_is_processed() -> None:
    inbox.receive(*request(event("fp.upload", {})))
    receive()
    tasks.process_inbox()
    states = WebhookDelivery.objects.order_by("id").values_list("state", "attempts")
    assert list(states) == [(State.FAILED, 1), (State.PROCESSED, 1)]


def test_the_sweep_wakes_the_inbox_once_for_all_that_waits(
    published: list[tuple[str, float]], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        assert tasks.sweep() == {}
    assert not published
    for number in range(3):
        receive(number)
    with django_capture_on_commit_callbacks(execute=True):
        assert tasks.sweep() == {"deliveries": 3}
    assert published == [("filestack_tags.process_inbox", 0.0)]


def test_inside_a_transaction_each_delivery_has_its_message_when_it_commits(
    published: list[tuple[str, float]], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        for number in range(2):
            tasks.receive(*request(fp_upload(f"h{number}")))
        assert not published
    assert published == [("filestack_tags.process_inbox", 0.0)] * 2


@pytest.mark.django_db(transaction=True)
class TestOutsideATransaction:
    def test_each_request_notifies_once_it_has_stored_its_delivery(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        notified: list[int] = []
        monkeypatch.setattr(
            actions._inbox_debouncer,
            "notify",
            lambda: notified.append(WebhookDelivery.objects.count()),
        )
        for number in (1, 2, 2):  # a duplicate notifies, too: the first message may be lost
            body, headers = request(fp_upload(f"h{number}", event_id=number))
            response = client.post(
                "/filestack/webhook/", body, content_type="application/json", headers=headers
            )
            assert response.status_code == 200
        assert notified == [1, 2, 2]

    def test_an_eager_celery_processes_the_delivery_in_the_request(self) -> None:
        tasks.receive(*request(fp_upload("h")))
        assert WebhookDelivery.objects.get().state == State.PROCESSED

    def test_a_broker_that_is_down_is_counted_and_the_delivery_left_to_the_sweep(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def refuse(*args: Any, **kwargs: Any) -> None:
            raise OperationalError("connection refused: redis://user:password@host")

        counted: list[str] = []
        end = metrics.subscribe(lambda told: counted.append(told.name))
        with monkeypatch.context() as patch:
            patch.setattr(tasks.process_inbox, "apply_async", refuse)
            tasks.receive(*request(fp_upload("h")))
        end()
        assert "broker.unreachable" in counted
        assert "filestack_tags.process_inbox was not sent" in caplog.text
        assert "password" not in caplog.text
        assert tasks.sweep()["deliveries"] == 1
        assert WebhookDelivery.objects.get().state == State.PROCESSED
