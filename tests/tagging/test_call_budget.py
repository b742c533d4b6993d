"""Usage: calls are counted before they are made, and never exceed the budget."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from filestack_tags.db.transactions import atomic
from filestack_tags.error_codes import ErrorCode
from filestack_tags.models import Asset, DailyUsage, TaggingRun
from filestack_tags.tagging import asset_leases, call_budget, queue
from tests import scripted
from tests.tagging import rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def queued(paid: Any) -> list[int]:
    return rows.queued(6)


def budget(settings: Any, **limits: int) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | limits


def test_every_call_is_a_run_and_is_counted(queued: list[int]) -> None:
    for pk in queued:
        queue.tag(pk)
    assert call_budget.usage() == call_budget.Usage(today=6, month=6)
    assert TaggingRun.objects.count() == len(scripted.asked) == 6
    assert call_budget.usage().left() is None


def test_a_tagger_that_costs_nothing_is_not_counted(asset: Asset, script: Any) -> None:
    queue.request([asset.pk])
    queue.tag(asset.pk)
    assert call_budget.usage().today == 0


@pytest.mark.parametrize("limit", ["BUDGET_PER_DAY", "BUDGET_PER_MONTH"])
def test_the_budget_stops_calls_and_leaves_the_rest_queued(
    settings: Any, queued: list[int], limit: str
) -> None:
    budget(settings, **{limit: 4})
    claimed = asset_leases.acquire(queued)
    assert [type(item) for item in claimed] == [asset_leases.Lease] * 4 + [
        asset_leases.LeaseRefused
    ] * 2
    held = claimed[4]
    assert isinstance(held, asset_leases.LeaseRefused)
    assert (held.blocked_by, held.state) == ("budget", Asset.State.QUEUED)
    left = Asset.objects.get(pk=queued[5])
    assert (left.tagging_state, left.attempts) == (Asset.State.QUEUED, 0)
    assert queue.waiting(10) == queue.due(10) == []
    assert call_budget.usage().left() == 0


def test_more_budget_is_used_at_once(settings: Any, queued: list[int]) -> None:
    budget(settings, BUDGET_PER_DAY=0)
    assert queue.tag(queued[0]).state == Asset.State.QUEUED
    budget(settings, BUDGET_PER_DAY=1)
    assert queue.tag(queued[0]).state == "succeeded"


def test_the_next_day_and_the_next_month_have_their_own(settings: Any) -> None:
    budget(settings, BUDGET_PER_DAY=3, BUDGET_PER_MONTH=5)
    granted = []
    for moment in ((2026, 1, 30), (2026, 1, 31), (2026, 2, 1)):
        with time_machine.travel(datetime(*moment, 12, tzinfo=UTC)):
            day = call_budget.open_day(timezone.now())
            with atomic():
                granted.append(call_budget.reserve(4, day))
    assert granted == [3, 2, 3]
    assert list(DailyUsage.objects.order_by("day").values_list("day", "calls")) == [
        (date(2026, 1, 30), 3), (date(2026, 1, 31), 2), (date(2026, 2, 1), 3),
    ]  # fmt: skip


def test_what_is_given_back_was_not_spent(queued: list[int]) -> None:
    works = [
        item for item in asset_leases.acquire(queued) if isinstance(item, asset_leases.Lease)
    ]
    queue.apply_replies([(works[0], scripted.reply({"sky": 90}))])
    asset_leases.release(works)
    assert call_budget.usage().today == 1
    states = dict(Asset.objects.values_list("pk", "tagging_state"))
    assert [states[pk] for pk in queued] == [Asset.State.TAGGED] + [Asset.State.QUEUED] * 5
    assert set(Asset.objects.values_list("attempts", flat=True)) == {0}
    assert TaggingRun.objects.filter(error_code=ErrorCode.RELEASED).count() == 5
    assert [type(item) for item in asset_leases.acquire(queued[1:])] == [asset_leases.Lease] * 5


def test_what_is_given_back_may_go_to_rest(queued: list[int]) -> None:
    works = [
        item for item in asset_leases.acquire(queued) if isinstance(item, asset_leases.Lease)
    ]
    asset_leases.release(works, to_idle=True)
    assert set(Asset.objects.values_list("tagging_state", "due_at")) == {("new", None)}


BOUNDARIES = {
    "the end of a day": (datetime(2026, 3, 4, 23, 59, 50, tzinfo=UTC), 15),
    "the end of a month": (datetime(2026, 2, 28, 23, 59, 59, 999999, tzinfo=UTC), 1),
    "the end of a leap month": (datetime(2028, 2, 29, 23, 59, 50, tzinfo=UTC), 15),
    "the end of a year": (datetime(2026, 12, 31, 23, 59, 50, tzinfo=UTC), 15),
    "some days later": (datetime(2026, 3, 4, 12, tzinfo=UTC), 3 * 86400),
    "a clock that is set back": (datetime(2026, 3, 5, 0, 0, 5, tzinfo=UTC), -15),
}


@pytest.mark.parametrize("zone", [None, "UTC", "Pacific/Kiritimati", "America/Adak"])
@pytest.mark.parametrize(
    "limits",
    [
        {"BUDGET_PER_DAY": 4},
        {"BUDGET_PER_MONTH": 4},
        {"BUDGET_PER_DAY": 4, "BUDGET_PER_MONTH": 4},
    ],
    ids=str,
)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_calls_are_given_back_to_the_day_on_which_they_were_claimed(
    settings: Any, queued: list[int], boundary: str, limits: dict[str, int], zone: str | None
) -> None:
    budget(settings, **limits)
    if zone is None:
        settings.USE_TZ = False
    else:
        settings.TIME_ZONE = zone
    moment, later = BOUNDARIES[boundary]
    with time_machine.travel(moment, tick=False) as clock:
        Asset.objects.update(due_at=timezone.now())
        works = [
            item
            for item in asset_leases.acquire(queued)
            if isinstance(item, asset_leases.Lease)
        ]
        assert len(works) == 4
        clock.shift(later)
        queue.apply_replies([(works[0], scripted.reply({"sky": 90}))])
        asset_leases.release(works)
        asset_leases.release(works)  # changes nothing
    # Exactly one call was made, on the day of the claim.
    assert dict(DailyUsage.objects.filter(calls__gt=0).values_list("day", "calls")) == {
        moment.date(): 1
    }
    with time_machine.travel(moment, tick=False):
        left = call_budget.usage().left()
        assert left == 3
        Asset.objects.filter(tagging_state=Asset.State.QUEUED).update(due_at=timezone.now())
        claimed = asset_leases.acquire(queued[1:])
    assert sum(isinstance(item, asset_leases.Lease) for item in claimed) == left


def test_giving_back_more_than_was_counted_leaves_nothing(queued: list[int]) -> None:
    works = [
        item for item in asset_leases.acquire(queued) if isinstance(item, asset_leases.Lease)
    ]
    DailyUsage.objects.update(calls=2)
    asset_leases.release(works)
    assert call_budget.usage().today == 0
    DailyUsage.objects.all().delete()
    asset_leases.release(works)
    assert call_budget.usage().today == 0
