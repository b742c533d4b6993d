"""Search plans: the driver, the order of the probes, and the cost."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import override_settings

from filestack_tags.exceptions import SearchError
from filestack_tags.models import Tag, TagStatistic
from filestack_tags.search import estimates, statistics
from filestack_tags.search.plan import plan

from .test_planner import an_asset

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_estimates():
    estimates.forget()
    yield
    estimates.forget()


@pytest.fixture
def library():
    """Twelve assets: all have sky, six sea, three sand at a rising confidence, one whale."""
    for number in range(12):
        tags = {"sky": 90}
        if number < 6:
            tags["sea"] = 80
        if number < 3:
            tags["sand"] = 30 * (number + 1)
        if number == 0:
            tags["whale"] = 100
        an_asset(f"r{number}", tags=tags)
    statistics.refresh()
    estimates.forget()


def found(query: str, **options) -> int:
    statement = plan(query, **options).matches()
    with connection.cursor() as cursor:
        cursor.execute(statement.sql, statement.params)
        return len(cursor.fetchall())


@pytest.mark.parametrize(
    ("query", "driver", "probes"),
    [
        ("sky sea whale", "whale", ["sea", "sky"]),
        ("sky -sea sand", "sand", ["sky", "-sea"]),
        ("sky (whale OR sand)", "whale OR sand", ["sky"]),
        ("sky sea>=90", "sea>=90", ["sky"]),
        ("sky sand>=80 sea", "sand>=80", ["sea", "sky"]),
        ("sky s*", "sky", ["s*"]),
        ("status:new whale -name:x* sky", "whale", ["sky", "status:new", "-name:x*"]),
    ],
)
@pytest.mark.usefixtures("library")
def test_the_rarest_term_drives_and_the_rest_follow_by_rarity(query, driver, probes):
    chosen = plan(query)
    assert str(chosen.driver.node) == driver
    assert [str(node) for node in chosen.probes] == probes


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("", 12),
        ("-sky", 0),
        ("-sea", 6),
        ("untagged", 0),
        ("tagged -whale", 11),
        ("sea OR status:new", 12),
        ("(sea OR status:failed) -(sand whale)", 5),
        ("source:auto", 12),
        ("decision:accepted", 0),
        ("sky@rejected", 0),
        ("sea -nothing", 6),
        ("sea nothing", 0),
        ("sea OR nothing", 6),
    ],
)
@pytest.mark.usefixtures("library")
def test_every_search_is_planned_whether_or_not_a_tag_is_required(query, number):
    assert found(query) == number


@pytest.mark.usefixtures("library")
def test_a_required_tag_that_does_not_exist_makes_the_answer_empty():
    assert plan("sky nothing").is_empty
    assert not plan("sky -nothing").is_empty
    assert not plan("sky OR nothing").is_empty


@pytest.mark.usefixtures("library")
def test_a_search_for_one_tag_is_known_by_its_stream():
    assert plan("sky>=80").single.low == 80
    assert plan("sky>=80 sea").single is None
    assert plan("s*").single is None
    assert plan("sky@user").single is None
    assert plan("status:new").single is None


@pytest.mark.usefixtures("library")
def test_wrong_statistics_choose_another_driver_and_the_same_answer():
    TagStatistic.objects.all().delete()
    for tag in Tag.objects.all():
        wrong = {"sky": 0, "whale": 100_000}.get(tag.key, 50)
        TagStatistic.objects.create(tag=tag, score=50, assets=wrong)
    estimates.forget()
    chosen = plan("sky sea whale")
    assert str(chosen.driver.node) == "sky"
    assert found("sky sea whale") == 1


@pytest.mark.usefixtures("library")
def test_without_statistics_the_count_of_assets_decides():
    TagStatistic.objects.all().delete()
    Tag.objects.filter(key="sea").update(asset_count=3)
    Tag.objects.filter(key="sky").update(asset_count=9)
    estimates.forget()
    assert str(plan("sky sea").driver.node) == "sea"


@pytest.mark.usefixtures("library")
def test_one_term_needs_no_statistics_and_several_need_one_query_once(
    django_assert_num_queries,
):
    with django_assert_num_queries(1):
        plan("sky>=80")
    with django_assert_num_queries(2):
        plan("sky sea (whale OR sand)")
    with django_assert_num_queries(1):
        plan("sky sea (whale OR sand)")
    with django_assert_num_queries(0):
        plan("status:new -untagged")


@pytest.mark.usefixtures("library")
def test_estimates_are_asked_again_after_a_while(monkeypatch, django_assert_num_queries):
    plan("sky sea")
    now = estimates.monotonic()
    monkeypatch.setattr(estimates, "monotonic", lambda: now + estimates.LIFETIME + 1)
    with django_assert_num_queries(2):
        plan("sky sea")


@pytest.mark.usefixtures("library")
def test_the_memory_of_estimates_is_bounded(monkeypatch):
    monkeypatch.setattr(estimates, "MAX_REMEMBERED", 4)
    for query in ("sky sea", "sand whale", "sky>=5 whale>=7"):
        plan(query)
        assert len(estimates._remembered) <= 4


@pytest.mark.usefixtures("library")
def test_explain_names_the_driver_with_estimated_and_real_rows():
    assert plan("sky -sea sand>=50").explain(analyze=True).splitlines() == [
        "Driven by sand>=50: 1 tag, about 2 rows, really 2.",
        "Each asset is asked for sky, about 12 rows.",
        "Each asset is asked for -sea.",
        "Matches: 0",
    ]
    assert plan("s*").explain() == "Driven by s*: 3 tags, about 21 rows."


@pytest.mark.usefixtures("library")
def test_explain_says_when_assets_are_walked_and_when_nothing_can_match():
    assert "Walks the assets" in plan("-sky").explain(analyze=True)
    assert plan("sky nothing").explain(analyze=True).startswith("Nothing can match")


@pytest.mark.usefixtures("library")
def test_hidden_tags_are_reached_only_with_permission():
    Tag.objects.filter(key="whale").update(hidden=True)
    assert found("whale") == 0
    assert found("whale include:hidden", include_hidden=True) == 1
    with pytest.raises(SearchError, match="permission"):
        plan("whale include:hidden")


@override_settings(FILESTACK_TAGS={"SEARCH_MAX_WILDCARD_TAGS": 2})
@pytest.mark.usefixtures("library")
def test_a_prefix_of_too_many_tags_is_refused_with_its_place():
    with pytest.raises(SearchError) as refused:
        plan("whale s*")
    assert refused.value.position == 6
