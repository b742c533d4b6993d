"""Messages: at least one for every notification, seldom more than one for a burst."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from queue import Queue
from threading import Event, Thread, current_thread, main_thread
from typing import Any

import pytest

from filestack_tags.concurrency.debounce import Debouncer

LONGEST = 10.0
"""Timeout in seconds for something that should happen."""


class Debounced:
    """A debouncer whose intervals end when the test says so."""

    def __init__(self, publish: Callable[[], object] = lambda: None) -> None:
        self.published: Queue[Thread] = Queue()
        self.pausing: Queue[float] = Queue()
        self.intervals: Queue[None] = Queue()
        self.work = publish
        self.debouncer = Debouncer(self.publish, interval=0.1, pause=self.pause)
        self.notify = self.debouncer.notify

    def publish(self) -> None:
        self.published.put(current_thread())
        self.work()

    def pause(self, seconds: float) -> None:
        self.pausing.put(seconds)
        self.intervals.get(timeout=LONGEST)

    def wait(self) -> None:
        """Wait until every notification is published, and the interval has begun."""
        assert self.pausing.get(timeout=LONGEST) == 0.1

    def end_interval(self) -> None:
        self.intervals.put(None)


def test_the_first_notification_is_published_at_once_and_by_another_thread() -> None:
    debounced = Debounced()
    debounced.notify()
    assert debounced.published.get(timeout=LONGEST) is not main_thread()
    debounced.end_interval()


def test_a_burst_is_published_once_more_after_its_last_notification() -> None:
    debounced = Debounced()
    debounced.notify()
    debounced.wait()
    for _ in range(100):
        debounced.notify()
    assert debounced.published.qsize() == 1
    debounced.end_interval()
    debounced.wait()
    assert debounced.published.qsize() == 2
    debounced.end_interval()


def test_a_ring_while_the_message_is_being_sent_is_published_after_it() -> None:
    """It may be about a row that the receiver of that message could not see yet."""
    sending, go_on = Event(), Event()

    def send() -> None:
        sending.set()
        assert go_on.wait(LONGEST)

    debounced = Debounced(send)
    debounced.notify()
    assert sending.wait(LONGEST)
    debounced.notify()
    go_on.set()
    debounced.wait()
    debounced.end_interval()
    debounced.wait()
    assert debounced.published.qsize() == 2
    debounced.end_interval()


def test_the_thread_ends_without_notifications_and_the_next_one_begins_anew() -> None:
    debounced = Debounced()
    for _ in range(2):
        debounced.notify()
        thread = debounced.published.get(timeout=LONGEST)
        debounced.end_interval()
        thread.join(LONGEST)
        assert not thread.is_alive()
        assert debounced.published.empty()


def test_a_message_that_fails_is_logged_without_its_text_and_the_next_is_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> None:
        raise ValueError("redis://user:password@host")

    debounced = Debounced(fail)
    debounced.notify()
    debounced.wait()
    debounced.notify()
    debounced.end_interval()
    debounced.wait()
    assert debounced.published.qsize() == 2
    debounced.end_interval()
    assert "A notification failed: ValueError" in caplog.text
    assert "password" not in caplog.text


def test_without_a_thread_the_caller_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: Any) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(Thread, "start", refuse)
    debounced = Debounced()
    for number in (1, 2):
        debounced.notify()
        assert debounced.published.qsize() == number


def test_inline_the_caller_publishes_and_its_errors_are_the_caller_s() -> None:
    def fail() -> None:
        raise ValueError

    for _ in range(2):
        with pytest.raises(ValueError):  # noqa: PT011  any would do
            Debouncer(fail, inline=lambda: True).notify()


PROGRAM = """
import os, sys
from filestack_tags.concurrency.debounce import Debouncer
debouncer = Debouncer(lambda: os.write(1, b"%d " % os.getpid()), interval=0.2)
debouncer.notify()
"""


def test_the_interpreter_waits_for_the_last_message_before_it_exits() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + "debouncer.notify()"],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert 1 <= len(done.stdout.split()) <= 2
    assert not done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_sends_messages_of_its_own() -> None:
    """The parent's thread is not in the child, which would wait for it forever."""
    child = "if child := os.fork():\n    os.waitpid(child, 0)\nelse:\n    debouncer.notify()"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM + child],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert len(set(done.stdout.split())) == 2
