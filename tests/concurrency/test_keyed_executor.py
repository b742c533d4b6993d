"""Work for many keys in a few threads, one thread for a key."""

from __future__ import annotations

from collections.abc import Iterator
from queue import Queue
from threading import Event
from typing import Any

import pytest

from filestack_tags.concurrency.keyed_executor import KeyedExecutor

LONGEST = 10.0
"""Timeout in seconds for something that should happen."""


class Work:
    """Work whose keys below zero wait until the test lets them end."""

    def __init__(self, limit: int = 4) -> None:
        self.gate = Event()
        self.begun: Queue[int] = Queue()
        self.left: dict[int, int] = {}
        self.executor = KeyedExecutor(self.do, limit)

    def do(self, key: int) -> bool:
        self.begun.put(key)
        if key < 0:
            assert self.gate.wait(LONGEST)
        if key == 13:
            raise ValueError
        self.left[key] = self.left.get(key, 1) - 1
        return self.left[key] > 0


@pytest.fixture
def work() -> Iterator[Work]:
    made = Work()
    yield made
    made.gate.set()
    assert made.executor.wait(range(-20, 20), LONGEST)


def test_a_slow_key_delays_no_other(work: Work) -> None:
    assert work.executor.start([-1, -2]) == [-1, -2]
    assert not work.executor.wait([-1], 0.05)
    for key in range(1, 10):
        work.executor.start([key])
        assert work.executor.wait([key], LONGEST)
    assert not work.executor.wait([-1], 0)


def test_no_more_keys_are_worked_on_than_the_limit_allows(work: Work) -> None:
    work.executor.start([-1, -2, -3, -4, 5])
    assert {work.begun.get(timeout=LONGEST) for _ in range(4)} == {-1, -2, -3, -4}
    assert not work.executor.wait([5], 0.05)
    assert work.begun.empty()
    work.gate.set()
    assert work.executor.wait([5], LONGEST)


def test_a_key_that_is_called_while_it_is_worked_on_is_worked_on_once_more(work: Work) -> None:
    work.executor.start([-1])
    assert work.begun.get(timeout=LONGEST) == -1
    for _ in range(3):
        assert work.executor.start([-1]) == []
    work.gate.set()
    assert work.executor.wait([-1], LONGEST)
    assert work.begun.get(timeout=LONGEST) == -1
    assert work.begun.empty()


def test_a_key_with_more_to_do_takes_turns_with_those_that_wait() -> None:
    work = Work(limit=1)
    work.left = {-1: 3}
    work.executor.start([-1, 2])
    work.gate.set()
    assert work.executor.wait([-1, 2], LONGEST)
    assert [work.begun.get() for _ in range(4)] == [-1, 2, -1, -1]


def test_work_that_fails_ends_its_turn_alone(work: Work, caplog: Any) -> None:
    work.executor.start([13, 14])
    assert work.executor.wait([13, 14], LONGEST)
    assert "The work for 13 failed" in caplog.text
    work.executor.start([1])
    assert work.executor.wait([1], LONGEST)
