"""The thread that runs due work."""

from __future__ import annotations

import threading

import pytest

from filestack_tags.testing.worker import Worker


def test_it_works_as_long_as_there_is_work_and_again_when_woken() -> None:
    left, idle = [1, 2, 3], threading.Event()

    def step() -> bool:
        if left:
            left.pop()
            return True
        idle.set()
        return False

    worker = Worker("test", step)
    worker.wake()
    assert idle.wait(30)
    idle.clear()
    left.append(4)
    worker.wake()
    assert idle.wait(30)
    worker.stop()

    assert left == []


def test_a_failure_is_logged_and_it_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    second = threading.Event()
    calls: list[int] = []

    def step() -> bool:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("broken")
        second.set()
        return False

    worker = Worker("test", step)
    worker.wake()
    assert second.wait(30)
    worker.stop()

    assert "test failed; the worker continues" in caplog.text


def test_it_never_starts_once_stopped() -> None:
    called = threading.Event()
    worker = Worker("test", called.is_set)
    worker.stop()
    worker.wake()

    assert not any(thread.name == "test" for thread in threading.enumerate())
