"""A broker that accepts connections and never answers delays no request."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from queue import Queue
from threading import Event, Timer
from typing import Any

import pytest
from celery import current_app
from django.test import Client
from django.utils import timezone

from filestack_tags import metrics, tasks
from filestack_tags.concurrency.message_publisher import Publisher
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, Heartbeat, WebhookDelivery
from filestack_tags.tasks import broker as sending
from filestack_tags.testing.payloads import fp_upload
from tests.dripping import Dripping, dripping
from tests.hosts.shop.models import Product

pytestmark = pytest.mark.slow

LONGEST = 10.0
"""Timeout in seconds for something that should happen."""


@pytest.fixture(params=["redis", "amqp"])
def broker(
    request: pytest.FixtureRequest, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Dripping]:
    """The application's broker: it accepts connections and never answers."""
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"PUBLISH_TIMEOUT": 0.5}
    publisher = Publisher(sending._not_sent, lambda: 0.5)
    monkeypatch.setattr(sending, "_publisher", publisher)
    monkeypatch.setattr(sending, "_lines", {})
    with dripping("never answers") as server:
        changes = {
            "task_always_eager": False,
            "broker_url": f"{request.param}://{server.address}//",
        }
        former = {name: current_app.conf.get(name) for name in changes}
        current_app.conf.update(changes)
        end = Timer(LONGEST, server.stopped.set)
        end.start()
        yield server
        end.cancel()
        current_app.conf.update(former)


@pytest.mark.django_db(transaction=True)
def test_requests_do_not_wait_for_it(
    broker: Dripping, admin_client: Client, deliver: Any
) -> None:
    counted: Queue[str] = Queue()
    end = metrics.subscribe(lambda told: counted.put(told.name))
    for number in range(5):
        body = {"kind": "handle", "reference": f"h{number}"}
        response = admin_client.post(
            "/api/v1/assets/", json.dumps(body), content_type="application/json"
        )
        assert response.status_code == 201
        assert deliver(fp_upload(f"w{number}")).status_code == 200
        Product.objects.create(file=f"pictured/{number}.jpg")
    assert not broker.stopped.is_set(), "only the broker's end ended a request"
    assert set(Asset.objects.values_list("tagging_state", flat=True)) == {"queued"}
    assert WebhookDelivery.objects.count() == 5
    while counted.get(timeout=LONGEST) != "broker.unreachable":
        pass  # the thread detected it, and the rest is left to the recovery task
    end()


@pytest.mark.django_db(transaction=True)
def test_code_that_registers_many_files_does_not_wait_for_it(broker: Dripping) -> None:
    for number in range(50):
        tasks.register(Source.handle(f"h{number}"))
    assert not broker.stopped.is_set()
    assert Asset.objects.filter(tagging_state="queued").count() == 50


@pytest.mark.django_db(transaction=True)
def test_the_recovery_task_does_not_wait_for_it_and_finds_the_work_again(
    broker: Dripping,
) -> None:
    tasks.register(Source.handle("h"))
    Asset.objects.update(due_at=timezone.now() - timedelta(hours=1))
    for _ in range(2):
        assert tasks.sweep.apply().result == {"assets": 1}
    assert not broker.stopped.is_set(), "only the broker's end ended the task"
    assert Heartbeat.objects.filter(name="sweep").exists()


@pytest.mark.parametrize(
    ("url", "steps"),
    [
        ("redis://127.0.0.1//", ("socket_timeout", "socket_connect_timeout")),
        ("amqp://127.0.0.1//", ("read_timeout", "write_timeout")),
    ],
)
def test_without_the_setting_every_wait_ends_after_two_seconds(
    url: str, steps: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(current_app.conf, "broker_url", url)
    connection = sending._connection(current_app)  # opens none
    assert connection.connect_timeout == 2
    assert {connection.transport_options[step] for step in steps} == {2}
    assert sending._publisher._seconds() == 2


PROGRAM = """
import sys, time
import django
django.setup()
from celery import current_app
from filestack_tags import tasks
from filestack_tags.tasks import broker
current_app.conf.update(task_always_eager=False, broker_url=sys.argv[1])
broker.publish(tasks.sweep)
print(time.monotonic())
"""


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_process_that_ends_waits_for_it_as_long_as_the_setting_says(scheme: str) -> None:
    with dripping("never answers") as server:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, f"{scheme}://{server.address}//"],
            env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"},
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
    assert done.stdout


class Sending:
    """A publisher whose messages are sent when the test says so."""

    def __init__(self, seconds: float = LONGEST, **options: Any) -> None:
        self.sent: list[str] = []
        self.dropped: Queue[tuple[str, str]] = Queue()
        self.gate = Event()
        self.publisher = Publisher(
            lambda name, error: self.dropped.put((name, type(error).__name__)),
            lambda: seconds,
            **options,
        )

    def put(self, name: str, error: Exception | None = None) -> None:
        def send() -> None:
            assert self.gate.wait(LONGEST)
            if error:
                raise error
            self.sent.append(name)

        self.publisher.put(name, send)


def test_messages_are_sent_in_their_order_by_another_thread() -> None:
    sending = Sending()
    for name in "abc":
        sending.put(name)
    assert sending.sent == []
    sending.gate.set()
    assert sending.publisher.flush()
    assert sending.sent == ["a", "b", "c"]
    assert sending.dropped.empty()


def test_after_a_failure_messages_are_dropped_until_the_pause_is_over() -> None:
    sending = Sending(pause=60)
    for name in "abc":
        sending.put(name, ValueError("amqp://user:password@host") if name == "a" else None)
    sending.gate.set()
    assert sending.dropped.get(timeout=LONGEST) == ("a", "ValueError")
    for name in "bc":
        assert sending.dropped.get(timeout=LONGEST) == (name, "NoneType")
    sending.put("d")
    assert sending.dropped.get_nowait() == ("d", "NoneType")
    sending.publisher._paused_until = 0
    sending.put("e")
    assert sending.publisher.flush()
    assert sending.sent == ["e"]


def test_who_waited_in_vain_is_the_last_to_wait() -> None:
    sending = Sending(0.05, capacity=1, pause=60)
    sending.put("being sent")
    while sending.publisher._waiting:
        threading.Event().wait(0.001)
    sending.put("waiting")
    sending.put("too many")  # waits, in vain
    assert sending.dropped.get_nowait()[0] == "too many"
    sending.publisher._seconds = lambda: LONGEST * 10
    sending.put("another")  # does not wait any more
    assert sending.dropped.get_nowait()[0] == "another"
    assert not sending.publisher.flush()
    sending.gate.set()


FORK = """
import os
from filestack_tags.concurrency.message_publisher import Publisher
publisher = Publisher(lambda name, error: print("dropped", name), lambda: 10.0)
publisher.put("a", lambda: os.write(1, b"%d " % os.getpid()))
publisher.flush()
if child := os.fork():
    os.waitpid(child, 0)
else:
    publisher.put("b", lambda: os.write(1, b"%d " % os.getpid()))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_sends_messages_of_its_own_before_it_exits() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert len(set(done.stdout.split())) == 2, done.stderr
