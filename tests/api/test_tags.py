"""The tags endpoint."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from filestack_tags import curation
from filestack_tags.curation import merging
from filestack_tags.models import Tag

from .rows import tagged

pytestmark = pytest.mark.django_db


@pytest.fixture
def ids(db: None) -> dict[str, int]:
    tagged("h1", {"Sky": 90, "skyline": 80, "trip (a/b)": 70, "st. bernard": 60})
    tagged("h2", {"sky": 70})
    return dict(Tag.objects.values_list("key", "pk"))


def test_tags_are_listed_by_key_with_their_counts_and_aliases(
    api: APIClient, ids: dict[str, int]
) -> None:
    curation.add_alias(ids["sky"], "heaven")
    curation.set_minimum(ids["sky"], 40)
    shown = api.get("/api/v1/tags/").json()["results"]
    assert [tag["key"] for tag in shown] == sorted(ids)
    assert shown[0] == {
        "key": "sky",
        "name": "Sky",
        "asset_count": 2,
        "min_confidence": 40,
        "hidden": False,
        "aliases": ["heaven"],
    }


def test_only_the_members_that_are_chosen_are_sent(
    api: APIClient, ids: dict[str, int], django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(
        5
    ):  # four for the session and the user; aliases are not read
        shown = api.get("/api/v1/tags/", {"fields": "key, asset_count", "q": "sky"})
    assert shown.json()["results"] == [
        {"key": "sky", "asset_count": 2},
        {"key": "skyline", "asset_count": 1},
    ]
    curation.add_alias(ids["sky"], "heaven")
    one = api.get("/api/v1/tags/heaven/", {"fields": "aliases"})
    assert one.json() == {"aliases": ["heaven"]}


@pytest.mark.parametrize("path", ["tags/", "tags/sky/"])
def test_a_member_of_a_tag_that_is_not_known_is_named(
    api: APIClient, ids: dict[str, int], path: str
) -> None:
    reply = api.get(f"/api/v1/{path}", {"fields": "key,colour"})
    assert reply.status_code == 400
    assert reply.json()["parameter"] == "fields"
    assert "colour" in reply.json()["detail"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("sky", ["sky", "skyline"]), ("SKY L", []), ("SkyL", ["skyline"]), ("%", []), (" ", None)],
)
def test_tags_are_found_by_how_they_begin(
    api: APIClient, ids: dict[str, int], text: str, expected: list[str] | None
) -> None:
    shown = api.get("/api/v1/tags/", {"q": text}).json()["results"]
    assert [tag["key"] for tag in shown] == (sorted(ids) if expected is None else expected)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("sky", "sky"),
        ("SKY", "sky"),
        ("heaven", "sky"),
        ("trip (a%2Fb)", "trip (a/b)"),
        ("st. bernard", "st. bernard"),
        ("nowhere", None),
        ("a%00b", None),
        ("x" * 201, None),
    ],
)
def test_a_tag_is_found_by_key_name_or_alias(
    api: APIClient, ids: dict[str, int], key: str, expected: str | None
) -> None:
    curation.add_alias(ids["sky"], "heaven")
    reply = api.get(f"/api/v1/tags/{key}/")
    assert reply.status_code == (200 if expected else 404)
    assert reply.json().get("key") == expected


def test_a_tag_that_is_being_merged_is_the_one_it_becomes(
    api: APIClient, ids: dict[str, int]
) -> None:
    merging.start(ids["skyline"], ids["sky"], user=None)
    assert api.get("/api/v1/tags/skyline/").json()["key"] == "sky"


def test_hidden_tags_are_not_there(api: APIClient, ids: dict[str, int]) -> None:
    curation.hide(ids["sky"])
    assert "sky" not in {tag["key"] for tag in api.get("/api/v1/tags/").json()["results"]}
    assert api.get("/api/v1/tags/sky/").status_code == 404


@pytest.mark.parametrize("count", [3, 30])
def test_a_list_takes_as_many_queries_for_thirty_tags_as_for_three(
    api: APIClient, django_assert_num_queries: Any, count: int
) -> None:
    for number in range(count):
        tag = Tag.objects.create(key=f"t{number}", name=f"t{number}")
        curation.add_alias(tag.pk, f"alias{number}")
    with django_assert_num_queries(6):  # session, user, permissions twice, tags, aliases
        assert len(api.get("/api/v1/tags/").json()["results"]) == count
