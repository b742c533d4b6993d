"""Calls in flight: many at once, collected in the order they end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from filestack_tags.exceptions import ServerError, TaggerError
from filestack_tags.filestack.sources import Source
from filestack_tags.tagging.taggers import TaggerReply, concurrent_calls
from filestack_tags.tagging.taggers.concurrent_calls import InFlight
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


def collect(flight: InFlight[Any], number: int) -> dict[Any, Any]:
    ended: dict[Any, Any] = {}
    while len(ended) < number:
        landed = flight.landed(10)
        assert landed, "a call did not end"
        ended |= {one.key: one.answer for one in landed}
    return ended


def label(answer: Any) -> str:
    return answer.scores[0].name


def test_as_many_are_made_at_once_as_are_allowed_and_no_more() -> None:
    with InFlight[int](3) as flight:
        for number in range(7):
            flight.start(number, "gated", Source.handle(f"h{number}"))
        assert len(flight) == 7
        gate.wait_for(3)
        assert flight.landed(0.2) == []  # time for one too many to arrive
        assert gate.most == 3
        gate.opened.set()
        ended = collect(flight, 7)
        assert {key: label(answer) for key, answer in ended.items()} == {
            number: f"h{number}" for number in range(7)
        }
        assert len(flight) == 0
    assert gate.most == 3


def test_what_a_call_raised_is_its_answer() -> None:
    gate.opened.set()
    with InFlight[str](2) as flight:
        flight.start("failed", "gated", Source.handle("bad"))
        flight.start("unknown", "no.such.tagger", SOURCE)
        flight.start("no job", "blocking", SOURCE, "job-1")
        ended = collect(flight, 3)
    assert isinstance(ended["failed"], ServerError)
    assert "There is no tagger" in str(ended["unknown"])
    assert isinstance(ended["no job"], TaggerError)
    assert ended["no job"].code == "configuration"


def test_a_job_is_asked_about_in_the_same_way() -> None:
    with InFlight[str](1) as flight:
        flight.start("job", "gated", SOURCE, "job-7")
        assert label(collect(flight, 1)["job"]) == "job-7"


def test_a_tagger_that_blocks_is_called_from_a_thread_of_its_own() -> None:
    with InFlight[str](1) as flight:
        flight.start("x", "blocking", SOURCE)
        assert label(collect(flight, 1)["x"]).startswith("filestack_tags-tagger")


def test_calls_that_nobody_waits_for_any_more_are_abandoned() -> None:
    with InFlight[str](1) as flight:
        flight.start("x", "gated", SOURCE)
        flight.start("y", "gated", SOURCE)
        assert flight.landed(0.05) == []
    gate.opened.set()
    gate.wait_for(0)
    assert gate.most == 1  # the second call was not made
    with InFlight[str](1) as flight:
        assert flight.landed(0.05) == []


def test_after_the_first_answer_the_others_are_waited_for_only_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(concurrent_calls, "monotonic", lambda: clock[0])
    gate.opened.set()
    with InFlight[int](2) as flight:
        answers, waits = flight._ended, []

        def get(timeout: float) -> Any:
            waits.append(timeout)
            return answers.get(timeout=10 if len(waits) % 2 else 0)

        monkeypatch.setattr(flight, "_ended", SimpleNamespace(put=answers.put, get=get))
        for late in (0.0, 5.0):  # seconds between its end and the check
            flight.start(1, "gated", SOURCE)
            while answers.empty():
                time.sleep(0.001)
            gate.opened.clear()
            flight.start(2, "gated", SOURCE)
            clock[0] += late
            assert [one.key for one in flight.landed(60)] == [1]
            gate.opened.set()
            flight.landed(60)
            del waits[2:]
            assert waits == [60, pytest.approx(0 if late else concurrent_calls.LINGER)]
            waits.clear()


def test_a_call_waits_for_its_moment_without_taking_a_place() -> None:
    gate.opened.set()
    with InFlight[str](1) as flight:
        began = time.monotonic()
        flight.start("later", "gated", Source.handle("later"), at=began + 1.5)
        flight.start("now", "gated", Source.handle("now"))
        assert [one.key for one in flight.landed(10)] == ["now"]
        assert [one.key for one in flight.landed(10)] == ["later"]
        assert time.monotonic() - began >= 1.5


def test_a_call_whose_moment_has_not_come_can_be_withdrawn() -> None:
    with InFlight[str](1) as flight:
        flight.start("later", "gated", Source.handle("later"), at=time.monotonic() + 60)
        assert flight.withdraw() == ["later"]
        assert len(flight) == 0
