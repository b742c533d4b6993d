"""The pipeline: due assets are tagged together, and nothing is lost on the way."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from time import monotonic, sleep
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from filestack_tags import tasks
from filestack_tags.db.datetimes import to_database_time
from filestack_tags.exceptions import InvalidApplication, ServerError
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, Circuit, TaggingRun
from filestack_tags.tagging import (
    asset_leases,
    call_budget,
    circuit_breaker,
    pipeline,
    queue,
    rate_limit,
)
from filestack_tags.tagging.results import Outcome
from filestack_tags.tagging.taggers import PendingJob
from tests import scripted
from tests.tagging.rows import queued

pytestmark = pytest.mark.django_db


def work(asset_id: int) -> list[Outcome]:
    told: list[Outcome] = []
    pipeline.work(asset_id, told.append)
    return told


def states() -> list[str]:
    return list(Asset.objects.order_by("id").values_list("tagging_state", flat=True))


def test_one_task_takes_along_what_else_is_due(script: Any) -> None:
    ids = queued(30)
    assert {outcome.asset_id for outcome in work(ids[0])} == set(ids)
    assert states() == ["tagged"] * 30
    assert TaggingRun.objects.count() == len(scripted.asked) == 30
    assert [outcome.state for outcome in work(ids[7])] == [Asset.State.TAGGED]


def test_the_task_says_what_became_of_its_asset(script: Any) -> None:
    (pk,) = queued(1)
    assert tasks.tag_asset(pk) == "succeeded"
    assert tasks.tag_asset(pk) == "tagged"
    assert tasks.tag_asset(10**9) == "gone"


def test_what_failed_for_now_is_told_with_its_time(script: Any) -> None:
    script[:] = [ServerError("Filestack answered 502.")]
    ids = queued(3)
    told = work(ids[0])
    due = dict(Asset.objects.values_list("pk", "due_at"))
    assert {outcome.asset_id: outcome.retry_at for outcome in told} == due
    assert all(moment > timezone.now() for moment in due.values())


def test_a_job_is_left_to_its_webhook(script: Any) -> None:
    script[:] = [PendingJob("wf", f"job-{number}", raw="{}") for number in range(3)]
    work(queued(3)[0])
    assert states() == ["running"] * 3


def test_jobs_that_are_handed_out_again_are_asked_about(script: Any, settings: Any) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "TAGGER": "tests.scripted.FollowedTagger"
    }
    (pk,) = queued(1)
    script[:] = [PendingJob("wf", "job-1", raw="{}"), scripted.reply({"sky": 90})]
    work(pk)
    Asset.objects.update(due_at=timezone.now())
    assert [outcome.state for outcome in work(pk)] == ["succeeded"]


def test_the_budget_ends_it(script: Any, settings: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(scripted.ScriptedTagger, "paid", True, raising=False)
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"BUDGET_PER_DAY": 5}
    work(queued(9)[0])
    assert sorted(states()) == ["queued"] * 4 + ["tagged"] * 5
    assert len(scripted.asked) == call_budget.usage().today == 5


def test_the_rate_only_slows_it_down(script: Any, settings: Any) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"RATE_LIMIT": "200/second"}
    work(queued(20)[0])
    assert states() == ["tagged"] * 20


def test_each_call_is_made_at_its_moment_and_few_looks_are_enough(
    script: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "RATE_LIMIT": "40/second",
        "API_KEY": "a rate of its own",
        "TAGGING_CONCURRENCY": 8,
    }
    made: list[float] = []
    looks: list[int] = []
    tag, permits = scripted.ScriptedTagger.tag, rate_limit.permits

    def noting(self: Any, source: Any) -> Any:
        made.append(monotonic())
        return tag(self, source)

    def counting(wanted: int) -> Any:
        looks.append(wanted)
        return permits(wanted)

    monkeypatch.setattr(scripted.ScriptedTagger, "tag", noting)
    monkeypatch.setattr(rate_limit, "permits", counting)
    first = queued(30)[0]
    begun = monotonic()
    work(first)
    assert states() == ["tagged"] * 30
    # Threads may be late, but never early: no call comes before all earlier slots.
    assert max(made) - begun > 0.9 * (rate_limit.NOTICE + 29 / 40)
    assert len(looks) < 20


def test_what_waited_for_a_circuit_does_not_come_at_once(
    script: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One trial call; after it, concurrency grows with time."""
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"TAGGING_CONCURRENCY": 8}
    monkeypatch.setattr(circuit_breaker, "RECOVERY", timedelta(seconds=1.5))
    name = settings.FILESTACK_TAGS["TAGGER"]
    ids = queued(70)
    circuit_breaker.record(
        name, [circuit_breaker.Call(False, error=InvalidApplication("The key is unknown."))]
    )
    work(ids[0])
    assert not scripted.asked
    Circuit.objects.update(retry_at=timezone.now())
    counting = threading.Lock()
    in_flight = 0
    seen: list[tuple[datetime, int]] = []

    def slowly(self: Any, source: Any) -> Any:
        nonlocal in_flight
        with counting:
            in_flight += 1
            seen.append((timezone.now(), in_flight))
        sleep(0.05)
        with counting:
            in_flight -= 1
        return scripted.reply({"sky": 90})

    monkeypatch.setattr(scripted.ScriptedTagger, "tag", slowly)
    work(ids[0])
    closed_at = Circuit.objects.get(tagger=name).closed_at
    assert closed_at is not None
    for pk in ids:  # those claimed together with the trial call
        work(pk)
    assert states() == ["tagged"] * 70
    assert seen[0][0] < to_database_time(closed_at) < seen[1][0]
    for at, number in seen:
        share = (at - to_database_time(closed_at)) / circuit_breaker.RECOVERY
        assert number <= max(1, 8 * share)
    assert max(number for _, number in seen) > 4


def test_after_its_slice_it_asks_for_another_task(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "SLICE", -1)
    ids = queued(2)
    told = work(ids[1])
    assert [one.state for one in told] == [Asset.State.QUEUED]
    assert told[0].retry_at
    assert told[0].asset_id in ids
    monkeypatch.setattr(pipeline, "SLICE", 10)
    work(ids[0])
    assert states() == ["tagged"] * 2


def test_a_task_that_arrives_meanwhile_leaves_its_asset_to_the_one_at_work(
    script: Any, settings: Any
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"TAGGING_CONCURRENCY": 1}
    (first, second) = queued(2)
    arrived: list[str] = []

    def meanwhile(source: Source) -> Any:
        thread = threading.Thread(
            target=lambda: arrived.append(pipeline.work(second, lambda outcome: None))
        )
        thread.start()
        thread.join()
        return scripted.reply({"sky": 90})

    script[:] = [meanwhile, scripted.reply({"sky": 90})]
    told = work(first)
    assert arrived == [Asset.State.QUEUED]
    assert [one.asset_id for one in told] == [first, second]


@pytest.mark.django_db(transaction=True)
def test_answers_are_kept_while_the_database_is_away(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply, failures = queue.apply_replies, [OperationalError("gone"), OperationalError("still")]

    def away(answers: Any) -> Any:
        if failures:
            raise failures.pop()
        return apply(answers)

    monkeypatch.setattr(queue, "apply_replies", away)
    monkeypatch.setattr(pipeline, "PAUSE", 0.01)
    work(queued(1)[0])
    assert states() == ["tagged"]
    assert len(scripted.asked) == 1


def test_what_is_in_flight_is_applied_before_an_error_is_raised(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = queue.waiting
    calls: list[int] = []

    def once(limit: int) -> list[int]:
        calls.append(limit)
        if len(calls) > 1:
            raise OperationalError("the database is away")
        return waiting(limit)

    monkeypatch.setattr(queue, "waiting", once)
    ids = queued(3)
    with pytest.raises(OperationalError, match="away"):
        work(ids[0])
    assert states() == ["tagged"] * 3
    monkeypatch.undo()
    assert work(ids[0])  # the slot is free again


def test_a_task_whose_asset_was_taken_along_costs_neither_a_permit_nor_a_claim(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = queued(3)
    work(ids[0])
    asked: list[int] = []
    monkeypatch.setattr(rate_limit, "permits", asked.append)
    monkeypatch.setattr(asset_leases, "acquire", asked.append)
    assert [(one.asset_id, one.state) for one in work(ids[1])] == [(ids[1], "tagged")]
    assert not asked


def test_assets_are_leased_in_portions(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "LEASED_TOGETHER", 2)
    acquire, leased = asset_leases.acquire, []

    def counting(ids: Any, **how: Any) -> Any:
        leased.append(len(ids))
        return acquire(ids, **how)

    monkeypatch.setattr(asset_leases, "acquire", counting)
    work(queued(7)[0])
    assert states() == ["tagged"] * 7
    assert max(leased) == 2


def test_an_error_in_a_later_portion_loses_no_answer(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "LEASED_TOGETHER", 2)
    acquire, portions = asset_leases.acquire, []

    def failing(ids: Any, **how: Any) -> Any:
        portions.append(ids)
        if len(portions) == 3:
            raise OperationalError("the database is away")
        return acquire(ids, **how)

    ids = queued(7)
    monkeypatch.setattr(asset_leases, "acquire", failing)
    with pytest.raises(OperationalError, match="away"):
        work(ids[0])
    tagged = [pk for portion in portions[:2] for pk in portion]
    assert [Asset.objects.get(pk=pk).tagging_state for pk in tagged] == ["tagged"] * len(tagged)
    assert sorted(states()) == ["queued"] * (7 - len(tagged)) + ["tagged"] * len(tagged)


@pytest.mark.parametrize("ends_by", ["stop", "budget"])
def test_no_further_portion_is_leased_after_a_stop_or_a_refusal(
    paid: Any, settings: Any, monkeypatch: pytest.MonkeyPatch, ends_by: str
) -> None:
    monkeypatch.setattr(pipeline, "LEASED_TOGETHER", 2)
    if ends_by == "budget":
        settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"BUDGET_PER_DAY": 1}
    acquire, portions = asset_leases.acquire, []

    def counting(ids: Any, **how: Any) -> Any:
        portions.append(ids)
        return acquire(ids, **how)

    monkeypatch.setattr(asset_leases, "acquire", counting)
    supply = pipeline._QueuedAssets([], lambda outcome: None)
    queued(7)
    pipeline.run(
        supply,
        concurrency=8,
        report_progress=lambda outcome: None,
        is_stopped=lambda: len(portions) > 0,
    )
    assert len(portions) == 1
