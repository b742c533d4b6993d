"""Spending: calls are counted before they are made, and never beyond the budget."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
import time_machine

from filestack_tags import assets, claims, spending, tagging
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, Spending, TaggingRun
from filestack_tags.transactions import atomic
from tests import scripted

pytestmark = pytest.mark.django_db


@pytest.fixture
def paid(script: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(scripted.ScriptedTagger, "paid", True, raising=False)
    return script


@pytest.fixture
def queued(paid: Any) -> list[int]:
    ids = [assets.register(Source.handle(f"h{number}"))[0].pk for number in range(6)]
    assert tagging.request(ids) == ids
    return ids


def budget(settings: Any, **limits: int) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | limits


def test_every_call_is_a_run_and_is_counted(queued: list[int]) -> None:
    for pk in queued:
        tagging.tag(pk)
    assert spending.spent() == spending.Spent(today=6, month=6)
    assert TaggingRun.objects.count() == len(scripted.asked) == 6
    assert spending.spent().left() is None


def test_a_tagger_that_costs_nothing_is_not_counted(asset: Asset, script: Any) -> None:
    tagging.request([asset.pk])
    tagging.tag(asset.pk)
    assert spending.spent().today == 0


@pytest.mark.parametrize("limit", ["BUDGET_PER_DAY", "BUDGET_PER_MONTH"])
def test_the_budget_stops_calls_and_leaves_the_rest_queued(
    settings: Any, queued: list[int], limit: str
) -> None:
    budget(settings, **{limit: 4})
    claimed = claims.claim(queued)
    assert [type(item) for item in claimed] == [claims.Work] * 4 + [claims.Refusal] * 2
    held = claimed[4]
    assert isinstance(held, claims.Refusal)
    assert (held.held, held.state) == ("budget", Asset.State.QUEUED)
    left = Asset.objects.get(pk=queued[5])
    assert (left.tagging_state, left.attempts) == (Asset.State.QUEUED, 0)
    assert tagging.waiting(10) == tagging.due(10) == []
    assert spending.spent().left() == 0


def test_more_budget_is_used_at_once(settings: Any, queued: list[int]) -> None:
    budget(settings, BUDGET_PER_DAY=0)
    assert tagging.tag(queued[0]).state == Asset.State.QUEUED
    budget(settings, BUDGET_PER_DAY=1)
    assert tagging.tag(queued[0]).state == "succeeded"


def test_the_next_day_and_the_next_month_have_their_own(settings: Any) -> None:
    budget(settings, BUDGET_PER_DAY=3, BUDGET_PER_MONTH=5)
    granted = []
    for moment in ((2026, 1, 30), (2026, 1, 31), (2026, 2, 1)):
        with time_machine.travel(datetime(*moment, 12, tzinfo=UTC)):
            day = spending.open_day()
            with atomic():
                granted.append(spending.reserve(4, day))
    assert granted == [3, 2, 3]
    assert list(Spending.objects.order_by("day").values_list("day", "calls")) == [
        (date(2026, 1, 30), 3), (date(2026, 1, 31), 2), (date(2026, 2, 1), 3),
    ]  # fmt: skip


def test_what_is_given_back_was_not_spent(queued: list[int]) -> None:
    works = [item for item in claims.claim(queued) if isinstance(item, claims.Work)]
    tagging.land([(works[0], scripted.reply({"sky": 90}))])
    claims.release(works)
    assert spending.spent().today == 1
    states = dict(Asset.objects.values_list("pk", "tagging_state"))
    assert [states[pk] for pk in queued] == [Asset.State.TAGGED] + [Asset.State.QUEUED] * 5
    assert set(Asset.objects.values_list("attempts", flat=True)) == {0}
    assert TaggingRun.objects.filter(error_code=claims.RELEASED).count() == 5
    assert [type(item) for item in claims.claim(queued[1:])] == [claims.Work] * 5


def test_what_is_given_back_may_go_to_rest(queued: list[int]) -> None:
    works = [item for item in claims.claim(queued) if isinstance(item, claims.Work)]
    claims.release(works, to_rest=True)
    assert set(Asset.objects.values_list("tagging_state", "due_at")) == {("new", None)}
