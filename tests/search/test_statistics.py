"""Statistics for the search planner: counted again, corrected, and measured."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from filestack_tags import curation, tasks
from filestack_tags.assets import registry
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, Tag, TaggingRun, TagStatistic
from filestack_tags.search import statistics
from filestack_tags.search.statistics import Drift
from filestack_tags.tagging import results
from tests import scripted

pytestmark = pytest.mark.django_db


def tagged(handle: str, **scores: int) -> Asset:
    asset, _ = registry.register(Source.handle(handle))
    run = TaggingRun.objects.create(asset=asset, tagger="t", trigger="code", content_version=1)
    results.apply(run.pk, scripted.reply(scores), result_at=timezone.now())
    return asset


def stored() -> dict[tuple[str, int], int]:
    return {
        (key, score): assets
        for key, score, assets in TagStatistic.objects.values_list(
            "tag__key", "score", "assets"
        )
    }


def tag(key: str) -> Tag:
    return Tag.objects.get(key=key)


def test_a_refresh_counts_what_searches_find() -> None:
    first, forgotten = tagged("a", sky=90, sea=50), tagged("b", sky=10, sea=50)
    tagged("c", sky=90, sea=50)
    curation.reject(first.pk, tag("sea").pk, user=None)
    registry.archive(forgotten.pk)
    statistics.refresh()
    assert stored() == {("sky", 90): 2, ("sea", 50): 1}


def test_a_refresh_corrects_what_is_wrong_missing_or_too_much() -> None:
    tagged("a", sky=90, sea=50)
    TagStatistic.objects.create(tag=tag("sky"), score=90, assets=7)
    TagStatistic.objects.create(tag=tag("sky"), score=0, assets=3)
    assert statistics.drift() == statistics.refresh() == Drift(rows=3, assets=10, counted=2)
    assert stored() == {("sky", 90): 1, ("sea", 50): 1}
    assert statistics.drift() == Drift(rows=0, assets=0, counted=2)


def test_a_refresh_writes_nothing_when_nothing_is_wrong() -> None:
    tagged("a", sky=90)
    statistics.refresh()
    with CaptureQueriesContext(connection) as captured:
        statistics.refresh()
    assert all(query["sql"].startswith("SELECT") for query in captured.captured_queries)


def test_a_refresh_may_be_of_some_tags_only() -> None:
    tagged("a", sky=90, sea=50)
    assert statistics.refresh([tag("sea").pk]) == Drift(rows=1, assets=1, counted=1)
    assert stored() == {("sea", 50): 1}


def test_measuring_drift_writes_nothing() -> None:
    tagged("a", sky=90)
    assert statistics.drift() == Drift(rows=1, assets=1, counted=1)
    assert stored() == {}


def test_tags_are_counted_in_the_order_of_their_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    tagged("a", **{f"tag{number}": number for number in range(10)})
    monkeypatch.setattr(statistics, "BATCH_SIZE", 4)
    ids = sorted(Tag.objects.values_list("pk", flat=True))
    assert list(statistics._batches(reversed([*ids, *ids]))) == [ids[:4], ids[4:8], ids[8:]]
    statistics.refresh()
    assert len(stored()) == 10


def test_drift_is_a_share_of_what_is_counted() -> None:
    assert Drift(rows=1, assets=2, counted=8).share == 0.25
    assert Drift().share == 0


def test_statistics_go_with_their_tag() -> None:
    sky = Tag.objects.create(key="sky", name="sky")
    TagStatistic.objects.create(tag=sky, score=1, assets=1)
    sky.delete()
    assert stored() == {}


def test_the_task_refreshes_and_says_how_far_it_was_off() -> None:
    tagged("a", sky=90, sea=50)
    TagStatistic.objects.create(tag=tag("sky"), score=90, assets=1)
    assert tasks.refresh_statistics.delay().get() == 0.5
    assert stored() == {("sky", 90): 1, ("sea", 50): 1}


def test_the_command_refreshes_or_only_checks() -> None:
    def run(*args: Any) -> str:
        out = StringIO()
        call_command("filestack_tags_refresh_statistics", *args, stdout=out)
        return out.getvalue()

    tagged("a", sky=90, sea=50)
    assert run("--check") == "2 rows are wrong by 2 assets, 100.0% of 2.\n"
    assert run() == "2 rows were wrong by 2 assets, 100.0% of 2.\n"
    assert run("--check") == "0 rows are wrong by 0 assets, 0.0% of 2.\n"
