"""Totals are exact for one tag, and up to a cap for everything else."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.models import Count, Q
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from filestack_tags.exceptions import SearchError
from filestack_tags.models import Asset
from filestack_tags.search import Search
from filestack_tags.search.totals import Total

from .test_matching import an_asset, package

pytestmark = pytest.mark.django_db


@pytest.fixture
def five_skies() -> None:
    for number in range(5):
        tags = {"sky": 50 + 10 * number} | ({"sea": 90} if number else {})
        an_asset(f"sky{number}", tags=tags, width=number)
    an_asset("sand", tags={"sand": 90})


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("sky", 5),
        ("sky>=70", 3),
        ("sky:50..60", 2),
        ("sky@accepted", 0),
        ("no-such-tag", 0),
        ("sky no-such-tag", 0),
    ],
)
def test_one_tag_is_counted_to_the_end(five_skies, query, expected):
    assert Search(query).total(cap=2) == Total(expected, is_exact=True)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", 6),
        ("sky sea", 4),
        ("sky OR sand", 6),
        ("s*", 6),
        ("-sand", 5),
        ("sky width:>=2", 3),
        ("width:>=2", 3),
        ("tagged", 6),
    ],
)
def test_anything_else_is_exact_up_to_the_cap(five_skies, query, expected):
    assert Search(query).total(cap=expected) == Total(expected, is_exact=True)
    assert Search(query).total(cap=expected - 1) == Total(expected - 1, is_exact=False)


def test_a_threshold_does_not_hide_what_a_person_accepted():
    an_asset("a", tags={"sky": 90})
    an_asset("b", tags={"sky": 10})
    an_asset("c", tags={"sky": {"confidence": 10, "decision": 1}})
    an_asset("d", tags={"sky": {"confidence": 90, "decision": 2}})
    with package(MIN_CONFIDENCE=50):
        assert Search("sky").total() == Total(2, is_exact=True)


def test_a_total_reads_as_people_write_it():
    assert str(Total(1234, is_exact=True)) == "1,234"
    assert str(Total(10_000, is_exact=False)) == "10,000+"


def test_the_database_reads_one_match_more_than_the_cap(five_skies):
    with CaptureQueriesContext(connection) as queries:
        Search("sky sea").total(cap=3)
    assert "LIMIT 4" in queries[-1]["sql"]


def test_a_total_asks_one_query_besides_the_plan(five_skies):
    search = Search("sky sea")
    search.plan()
    with CaptureQueriesContext(connection) as queries:
        search.total()
    assert len(queries) == 1


@pytest.mark.parametrize("cap", [0, -1])
def test_a_cap_below_one_is_refused(cap):
    with pytest.raises(ValueError, match="cap must be at least 1"):
        Search("sky").total(cap=cap)


def test_hidden_tags_are_counted_with_permission_only():
    an_asset("a", tags={"sky": 90})
    with pytest.raises(SearchError):
        Search("sky include:hidden").total()
    assert Search("sky include:hidden", include_hidden=True).total().count == 1


def test_a_queryset_that_is_just_a_search_is_counted_as_its_plan_counts_it(five_skies):
    an_asset("gone", deleted_at=timezone.now(), tags={"sky": 90, "sea": 90})
    assets = Asset.objects
    searched = assets.search("sky sea")
    for rows in (searched, searched.order_by("-width"), searched.values("pk")):
        with CaptureQueriesContext(connection) as queries:
            assert rows.count() == 4
        assert "EXISTS" not in queries[-1]["sql"]
    assert assets.search("").count() == 6
    assert assets.search("no-such-tag").count() == 0
    assert assets.search("decision:added").count() == 0
    list(searched)
    with CaptureQueriesContext(connection) as queries:
        assert searched.count() == 4
    assert len(queries) == 0


def test_further_conditions_of_a_queryset_count_too(five_skies):
    rows = Asset.objects.search("sky sea")
    assert rows.filter(width=1).count() == 1
    assert rows.exclude(width=1).count() == 3
    assert rows[:2].count() == 2
    assert rows.none().count() == 0
    assert (rows | Asset.objects.filter(reference="sand")).count() == 5
    assert rows.values("asset_tags__tag").count() == 8
    assert rows.values("kind").distinct().count() == 1
    assert rows.values("kind").annotate(number=Count("pk")).count() == 1
    assert rows.order_by().union(rows.order_by()).count() == 4
    assert rows.search("sand").count() == 0
    assert rows.extra(where=["width = 2"]).count() == 1


def test_a_count_keeps_to_the_scope_and_to_archived_assets(five_skies):
    an_asset("gone", deleted_at=timezone.now(), tags={"sky": 90, "sea": 90})
    assert Asset.objects.within(Q(width__gte=3)).search("sky sea").count() == 2
    assert Search("sky sea", scope=Q(width__gte=3)).assets().count() == 2
    assert Search("sky sea").assets().count() == 4
    assert Search("sky sea").assets(Asset.objects.all(), archived=True).count() == 5
    assert Search("sky sea").assets(Asset.objects.filter(deleted_at=None)).count() == 4
    assert Search("sky sea").assets(Asset.objects.exclude(deleted_at=None)).count() == 0
