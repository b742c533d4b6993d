"""Concurrent calls: many at once, collected in the order they end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from filestack_tags.exceptions import ServerError, TaggerError
from filestack_tags.filestack.sources import Source
from filestack_tags.tagging.taggers import TaggerReply, concurrent_calls
from filestack_tags.tagging.taggers.concurrent_calls import ConcurrentCalls
from tests import scripted

HERE = "tests.tagging.taggers.test_concurrent_calls"
SOURCE = Source.handle("h")


class Gate:
    """Holds calls until it is opened, and counts how many are inside at once."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.lock = threading.Lock()
        self.inside = 0
        self.most = 0

    def pass_through(self) -> None:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        assert self.opened.wait(30)
        with self.lock:
            self.inside -= 1

    def wait_for(self, number: int) -> None:
        """Return when this many calls are inside."""
        for _ in range(10_000):
            if self.inside == number:
                return
            time.sleep(0.001)
        raise AssertionError(f"{self.inside} calls are inside, not {number}.")


gate = Gate()


class Gated:
    name = "gated"

    def tag(self, source: Source) -> TaggerReply:
        gate.pass_through()
        if source.reference == "bad":
            raise ServerError("Filestack answered 502.")
        return scripted.reply({source.reference: 90})

    def follow(self, job_id: str) -> TaggerReply:
        return scripted.reply({job_id: 80})


class Blocking:
    name = "blocking"

    def tag(self, source: Source) -> TaggerReply:
        return scripted.reply({threading.current_thread().name: 1})


@pytest.fixture(autouse=True)
def _closed_gate(settings: Any) -> Iterator[None]:
    global gate
    gate = Gate()
    settings.FILESTACK_TAGS = {
        "TAGGERS": {"gated": f"{HERE}.Gated", "blocking": f"{HERE}.Blocking"}
    }
    yield
    gate.opened.set()  # its threads end


def collect(calls: ConcurrentCalls[Any], number: int) -> dict[Any, Any]:
    ended: dict[Any, Any] = {}
    while len(ended) < number:
        answers = calls.collect(10)
        assert answers, "a call did not end"
        ended |= dict(answers)
    return ended


def label(answer: Any) -> str:
    return answer.scores[0].name


def test_as_many_are_made_at_once_as_are_allowed_and_no_more() -> None:
    with ConcurrentCalls[int](3) as calls:
        for number in range(7):
            calls.start(number, "gated", Source.handle(f"h{number}"))
        assert len(calls) == 7
        gate.wait_for(3)
        assert calls.collect(0.2) == []  # time for one too many to arrive
        assert gate.most == 3
        gate.opened.set()
        ended = collect(calls, 7)
        assert {key: label(answer) for key, answer in ended.items()} == {
            number: f"h{number}" for number in range(7)
        }
        assert len(calls) == 0
    assert gate.most == 3


def test_what_a_call_raised_is_its_answer() -> None:
    gate.opened.set()
    with ConcurrentCalls[str](2) as calls:
        calls.start("failed", "gated", Source.handle("bad"))
        calls.start("unknown", "no.such.tagger", SOURCE)
        calls.start("no job", "blocking", SOURCE, "job-1")
        ended = collect(calls, 3)
    assert isinstance(ended["failed"], ServerError)
    assert "There is no tagger" in str(ended["unknown"])
    assert isinstance(ended["no job"], TaggerError)
    assert ended["no job"].code == "configuration"


def test_a_job_is_asked_about_in_the_same_way() -> None:
    with ConcurrentCalls[str](1) as calls:
        calls.start("job", "gated", SOURCE, "job-7")
        assert label(collect(calls, 1)["job"]) == "job-7"


def test_a_tagger_that_blocks_is_called_from_a_thread_of_its_own() -> None:
    with ConcurrentCalls[str](1) as calls:
        calls.start("x", "blocking", SOURCE)
        assert label(collect(calls, 1)["x"]).startswith("filestack_tags-tagger")


def test_calls_that_nobody_waits_for_any_more_are_abandoned() -> None:
    with ConcurrentCalls[str](1) as calls:
        calls.start("x", "gated", SOURCE)
        calls.start("y", "gated", SOURCE)
        assert calls.collect(0.05) == []
    gate.opened.set()
    gate.wait_for(0)
    assert gate.most == 1  # the second call was not made
    with ConcurrentCalls[str](1) as calls:
        assert calls.collect(0.05) == []


def test_after_the_first_answer_the_others_are_waited_for_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(concurrent_calls, "LINGER", 10)
    with ConcurrentCalls[str](2) as calls:
        calls.start("fast", "blocking", SOURCE)
        calls.start("slow", "gated", SOURCE)
        threading.Timer(0.2, gate.opened.set).start()
        assert {key for key, _ in calls.collect(60)} == {"fast", "slow"}


def test_after_the_first_answer_the_others_are_waited_for_only_a_moment() -> None:
    with ConcurrentCalls[str](2) as calls:
        calls.start("fast", "blocking", SOURCE)
        calls.start("slow", "gated", SOURCE)
        began = time.monotonic()
        assert [key for key, _ in calls.collect(60)] == ["fast"]
        assert time.monotonic() - began < 10
        gate.opened.set()
        assert [key for key, _ in calls.collect(60)] == ["slow"]


def test_a_call_is_not_made_before_its_moment() -> None:
    gate.opened.set()
    with ConcurrentCalls[str](1) as calls:
        began = time.monotonic()
        calls.start("later", "gated", SOURCE, at=began + 0.5)
        assert calls.collect(0.1) == []
        assert [key for key, _ in calls.collect(10)] == ["later"]
        assert time.monotonic() - began >= 0.5


def test_calls_that_have_not_begun_can_be_canceled() -> None:
    with ConcurrentCalls[str](1) as calls:
        calls.start("first", "gated", SOURCE)
        gate.wait_for(1)
        calls.start("second", "gated", SOURCE)
        assert calls.cancel() == ["second"]
        assert len(calls) == 1
        gate.opened.set()
        assert [key for key, _ in calls.collect(10)] == ["first"]
