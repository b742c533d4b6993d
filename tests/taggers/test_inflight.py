"""Calls in flight: many at once, collected in the order they end."""

from __future__ import annotations

import asyncio
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from filestack_tags.exceptions import ServerError, TaggerError
from filestack_tags.filestack.sources import Source
from filestack_tags.taggers import TaggerReply, inflight
from filestack_tags.taggers.inflight import InFlight
from tests import scripted

HERE = "tests.taggers.test_inflight"
SOURCE = Source.handle("h")


class Gate:
    """Holds calls until it is opened, and counts how many are inside at once."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.inside = 0
        self.most = 0

    async def pass_through(self) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        while not self.opened.is_set():
            await asyncio.sleep(0.001)
        self.inside -= 1

    def wait_for(self, number: int) -> None:
        """Return when so many calls are inside."""
        for _ in range(10_000):
            if self.inside == number:
                return
            time.sleep(0.001)
        raise AssertionError(f"{self.inside} calls are inside, not {number}.")


gate = Gate()


class Awaited:
    name = "awaited"

    def tag(self, source: Source) -> TaggerReply:
        raise AssertionError("it can be awaited")

    async def atag(self, source: Source) -> TaggerReply:
        await gate.pass_through()
        if source.reference == "bad":
            raise ServerError("Filestack answered 502.")
        return scripted.reply({source.reference: 90})

    def follow(self, job_id: str) -> TaggerReply:
        raise AssertionError("it can be awaited")

    async def afollow(self, job_id: str) -> TaggerReply:
        return scripted.reply({job_id: 80})


class Blocking:
    name = "blocking"

    def tag(self, source: Source) -> TaggerReply:
        return scripted.reply({threading.current_thread().name: 1})


@pytest.fixture(autouse=True)
def _closed_gate(settings: Any) -> None:
    global gate
    gate = Gate()
    settings.FILESTACK_TAGS = {
        "TAGGERS": {"awaited": f"{HERE}.Awaited", "blocking": f"{HERE}.Blocking"}
    }


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
            flight.start(number, "awaited", Source.handle(f"h{number}"))
        assert len(flight) == 7
        gate.wait_for(3)
        assert flight.landed(0.2) == []  # time for one too many to come in
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
        flight.start("failed", "awaited", Source.handle("bad"))
        flight.start("unknown", "no.such.tagger", SOURCE)
        flight.start("no job", "blocking", SOURCE, "job-1")
        ended = collect(flight, 3)
    assert isinstance(ended["failed"], ServerError)
    assert "There is no tagger" in str(ended["unknown"])
    assert isinstance(ended["no job"], TaggerError)
    assert ended["no job"].code == "configuration"


def test_a_job_is_asked_about_in_the_same_way() -> None:
    with InFlight[str](1) as flight:
        flight.start("job", "awaited", SOURCE, "job-7")
        assert label(collect(flight, 1)["job"]) == "job-7"


def test_a_tagger_that_blocks_is_called_from_a_thread_of_its_own() -> None:
    with InFlight[str](1) as flight:
        flight.start("x", "blocking", SOURCE)
        assert label(collect(flight, 1)["x"]).startswith("filestack_tags-tagger")


def test_calls_that_nobody_waits_for_any_more_are_given_up() -> None:
    with InFlight[str](1) as flight:
        flight.start("x", "awaited", SOURCE)
        assert flight.landed(0.05) == []
    with InFlight[str](1) as flight:
        assert flight.landed(0.05) == []


def test_after_the_first_answer_the_others_are_waited_for_only_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(inflight, "monotonic", lambda: clock[0])
    gate.opened.set()
    with InFlight[int](2) as flight:
        answers, waits = flight._ended, []

        def get(timeout: float) -> Any:
            waits.append(timeout)
            return answers.get(timeout=10 if len(waits) % 2 else 0)

        monkeypatch.setattr(flight, "_ended", SimpleNamespace(put=answers.put, get=get))
        for late in (0.0, 5.0):  # seconds since it ended, when somebody looks
            flight.start(1, "awaited", SOURCE)
            while answers.empty():
                time.sleep(0.001)
            gate.opened.clear()
            flight.start(2, "awaited", SOURCE)
            clock[0] += late
            assert [one.key for one in flight.landed(60)] == [1]
            gate.opened.set()
            flight.landed(60)
            del waits[2:]
            assert waits == [60, pytest.approx(0 if late else inflight.LINGER)]
            waits.clear()


def test_a_call_waits_for_its_moment_without_taking_a_place() -> None:
    gate.opened.set()
    with InFlight[str](1) as flight:
        began = time.monotonic()
        flight.start("later", "awaited", Source.handle("later"), at=began + 1.5)
        flight.start("now", "awaited", Source.handle("now"))
        assert [one.key for one in flight.landed(10)] == ["now"]
        assert [one.key for one in flight.landed(10)] == ["later"]
        assert time.monotonic() - began >= 1.5


def test_a_call_whose_moment_has_not_come_can_be_withdrawn() -> None:
    with InFlight[str](1) as flight:
        flight.start("later", "awaited", Source.handle("later"), at=time.monotonic() + 60)
        assert flight.withdraw() == ["later"]
        assert len(flight) == 0
