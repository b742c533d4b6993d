"""The circuit breaker: pauses calls that would all be rejected, with a trial call now and then."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from filestack_tags.db import transactions
from filestack_tags.db.transactions import atomic
from filestack_tags.exceptions import (
    AccessDenied,
    FileNotFound,
    InvalidApplication,
    PolicyRejected,
    RateLimited,
    ServerError,
    TaggerError,
)
from filestack_tags.models import Asset, Circuit
from filestack_tags.tagging import circuit_breaker, queue
from tests import scripted

pytestmark = pytest.mark.django_db

NAME = "tests.scripted.ScriptedTagger"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[time_machine.Traveller]:
    """The clock of this host, and the shared one."""
    monkeypatch.setattr(circuit_breaker, "shared_now", timezone.now)
    with time_machine.travel(datetime(2026, 1, 1, 12, tzinfo=UTC), tick=False) as traveller:
        yield traveller


files = itertools.count(100)


def note(*errors: TaggerError | None, is_trial: bool = False) -> None:
    """Record calls for as many different files."""
    calls = [circuit_breaker.Call(is_trial, error, next(files)) for error in errors]
    circuit_breaker.record("filestack", calls)


def admitted(wanted: int = 10) -> int:
    with atomic():
        number, tries = circuit_breaker.acquire("filestack", wanted)
        assert not tries or number == 1
        return number


def row() -> Circuit:
    return Circuit.objects.get(tagger="filestack")


def test_a_closed_circuit_admits_all_and_writes_nothing(clock: Any) -> None:
    note(None, ServerError("down"), FileNotFound("gone"))
    assert admitted() == 10
    assert not Circuit.objects.exists()
    assert not circuit_breaker.blocked()


def test_one_wrong_key_opens_it_and_says_why(clock: Any) -> None:
    note(None, InvalidApplication("The key is unknown."))
    assert admitted() == 0
    assert circuit_breaker.blocked() == {"filestack"}
    assert [str(found) for found in circuit_breaker.open_circuits()] == ["filestack"]
    assert row().reason.startswith("The key is unknown. Correct API_KEY")
    assert row().retry_at == timezone.now() + timedelta(seconds=60)


def test_denials_open_it_when_several_come_in_a_row(clock: Any) -> None:
    for _ in range(4):
        note(AccessDenied("no"))
    note(None)
    for _ in range(4):
        note(AccessDenied("no"))
        assert admitted() == 10
    note(AccessDenied("no"))
    assert admitted() == 0


@pytest.mark.parametrize("error", [AccessDenied("no"), PolicyRejected("no")], ids=repr)
def test_one_file_alone_never_opens_it(clock: Any, error: TaggerError) -> None:
    for _ in range(50):
        circuit_breaker.record(
            "filestack", [circuit_breaker.Call(is_trial=False, error=error, asset_id=7)]
        )
    assert admitted() == 10
    for _ in range(3):
        note(error)
    assert admitted() == 10
    note(error)
    assert admitted() == 0


def test_a_rate_limit_is_of_the_account_whichever_file_it_refuses(clock: Any) -> None:
    for _ in range(5):
        call = circuit_breaker.Call(
            is_trial=False, error=RateLimited("Too many calls."), asset_id=7
        )
        circuit_breaker.record("filestack", [call])
    assert admitted() == 0


def test_an_answer_proves_that_the_account_has_access(clock: Any) -> None:
    note(*[PolicyRejected("no")] * 5)
    assert admitted() == 0
    note(FileNotFound("gone"))  # proves nothing about access to other files
    assert admitted() == 0
    note(None)  # was in flight when the circuit opened
    assert admitted() == 10
    assert circuit_breaker.allowed(64) == 64
    note(InvalidApplication("no"))
    note(None)
    assert admitted() == 0


def test_a_used_up_quota_opens_it_until_filestack_said(clock: Any) -> None:
    reset = timezone.now() + timedelta(hours=7)
    note(RateLimited("Too many calls.", retry_at=reset), None)
    assert row().retry_at == reset


def test_a_quota_that_never_comes_back_is_asked_about_within_the_month(clock: Any) -> None:
    note(RateLimited("No.", retry_at=timezone.now() + timedelta(days=900)))
    assert row().retry_at == timezone.now() + timedelta(days=32)


def test_one_of_many_tries_when_the_delay_is_over(clock: Any) -> None:
    note(InvalidApplication("no"))
    clock.shift(61)
    assert not circuit_breaker.blocked()
    assert [admitted(), admitted()] == [1, 0]
    clock.shift(301)  # it never returned
    assert admitted() == 1


def test_each_vain_try_doubles_the_delay_up_to_the_longest(clock: Any) -> None:
    delays = []
    for _ in range(9):
        clock.shift(1)
        note(InvalidApplication("no"), is_trial=True)
        delays.append((row().retry_at - timezone.now()).total_seconds())
        clock.shift(3600)
    assert delays == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_an_answer_to_the_try_closes_it(clock: Any) -> None:
    note(InvalidApplication("no"))
    clock.shift(61)
    assert admitted() == 1
    note(FileNotFound("this file is gone, but the account is known"), is_trial=True)
    assert admitted() == 10
    assert (row().opened_at, row().reason, row().failures) == (None, "", 0)


def test_calls_come_back_little_by_little_once_it_closed(clock: Any) -> None:
    assert circuit_breaker.allowed(64) == 64
    note(InvalidApplication("no"))
    clock.shift(61)
    assert circuit_breaker.allowed(64) == 64  # of which admit() lets one through
    assert admitted() == 1
    note(None, is_trial=True)
    found = []
    for _ in range(7):
        found.append((circuit_breaker.allowed(64), circuit_breaker.allowed(1)))
        clock.shift(5)
    assert found == [(1, 1), (10, 1), (21, 1), (32, 1), (42, 1), (53, 1), (64, 1)]
    note(None)
    assert circuit_breaker.allowed(64) == 64
    note(InvalidApplication("no"))
    assert circuit_breaker.close("filestack")
    assert circuit_breaker.allowed(64) == 1


def test_one_whose_clock_is_wrong_is_not_let_in_sooner(
    clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    note(InvalidApplication("no"))
    assert circuit_breaker.close("filestack")
    shared = timezone.now()
    monkeypatch.setattr(circuit_breaker, "shared_now", lambda: shared)
    for wrong in (-290, 580):
        clock.shift(wrong)
        assert circuit_breaker.allowed(64) == 1


def test_calls_from_before_it_opened_neither_close_it_nor_keep_it_open(clock: Any) -> None:
    note(InvalidApplication("no"))
    opened = row()
    clock.shift(1)
    note(None, InvalidApplication("no"))
    after = row()
    assert (after.opened_at, after.retry_at, after.opened_times) == (
        opened.opened_at,
        opened.retry_at,
        0,
    )


def test_a_try_closes_what_a_host_with_a_fast_clock_opened(
    asset: Asset, script: Any, clock: Any
) -> None:
    soon = timezone.now() + timedelta(seconds=2)
    script[:] = [RateLimited("Too many calls.", retry_at=soon), scripted.reply({"sky": 90})]
    queue.request([asset.pk])
    clock.shift(90)
    queue.tag(asset.pk)
    clock.shift(-80)
    Asset.objects.update(due_at=timezone.now())
    assert queue.tag(asset.pk).state == "succeeded"
    assert Circuit.objects.get(tagger=NAME).opened_at is None


@pytest.mark.parametrize("wrong", [timedelta(minutes=-9), timedelta(minutes=9)], ids=str)
def test_a_host_whose_clock_is_wrong_opens_it_for_as_long_as_any_other(
    monkeypatch: pytest.MonkeyPatch, wrong: timedelta
) -> None:
    shared = timezone.now()
    monkeypatch.setattr(circuit_breaker, "shared_now", lambda: shared)
    with time_machine.travel(shared + wrong):
        note(InvalidApplication("no"))
        assert circuit_breaker.blocked() == {"filestack"}
        assert admitted() == 0
    assert row().retry_at == shared + timedelta(seconds=60)
    shared += timedelta(seconds=61)
    with time_machine.travel(shared + wrong):
        assert circuit_breaker.blocked() == set()
        assert admitted() == 1


def test_the_clock_that_hosts_share_is_that_of_the_database() -> None:
    ours = timezone.now()
    with time_machine.travel(ours + timedelta(days=1)):
        theirs = transactions.shared_now()
    if connection.vendor == "sqlite":
        theirs -= timedelta(days=1)
    assert abs(theirs - ours) < timedelta(minutes=1)


def test_while_all_are_closed_no_clock_is_asked(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        assert not circuit_breaker.blocked()
    with django_assert_num_queries(1):
        assert circuit_breaker.acquire("filestack", 9) == (9, False)


def test_after_the_last_call_allowed_nobody_calls_until_filestack_said(
    asset: Asset, script: Any, clock: Any
) -> None:
    reset = timezone.now() + timedelta(minutes=7)
    script[:] = [replace(scripted.reply({"sky": 90}), resumes_at=reset)]
    queue.request([asset.pk])
    assert queue.tag(asset.pk).state == "succeeded"
    found = Circuit.objects.get(tagger=NAME)
    assert (found.retry_at, found.reason) == (reset, "Filestack allows no more calls for now.")


def test_a_person_closes_it(clock: Any) -> None:
    assert not circuit_breaker.close("filestack")
    note(InvalidApplication("no"))
    assert circuit_breaker.close("filestack")
    assert not circuit_breaker.close("filestack")
    assert admitted() == 10


def test_while_it_is_open_assets_stay_queued_and_nobody_is_asked(
    asset: Asset, script: Any, clock: Any
) -> None:
    script[:] = [InvalidApplication("The key is unknown."), scripted.reply({"sky": 90})]
    queue.request([asset.pk])
    queue.tag(asset.pk)
    clock.shift(59)
    Asset.objects.update(due_at=timezone.now())
    assert queue.tag(asset.pk).state == Asset.State.QUEUED
    assert queue.waiting(10) == []
    asset.refresh_from_db()
    assert (asset.attempts, len(scripted.asked)) == (1, 1)
    clock.shift(62)
    assert queue.waiting(10) == queue.due(10) == [asset.pk]
    assert queue.tag(asset.pk).state == "succeeded"
    assert Circuit.objects.get(tagger=NAME).opened_at is None


def test_the_sweep_leaves_alone_what_waits_for_it_to_close(
    asset: Asset, script: Any, settings: Any, clock: Any
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"CIRCUIT_DELAY": 3600}
    script[:] = [InvalidApplication("no")]
    queue.request([asset.pk])
    queue.tag(asset.pk)
    clock.shift(1800)
    assert queue.due() == []
