"""Pages: a walk returns every row once, in both directions, despite concurrent changes."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from filestack_tags.assets import registry
from filestack_tags.models import Asset, Tag

from .rows import tagged

pytestmark = pytest.mark.django_db


def walk(api: APIClient, url: str | None, link: str = "next") -> list[list[Any]]:
    pages = []
    while url:
        page = api.get(url).json()
        pages.append([row.get("id", row["key"]) for row in page["results"]])
        url = page[link]
        assert len(pages) < 50, "the walk does not end"
    return pages


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8])
def test_a_walk_returns_every_asset_once_and_the_way_back_the_same_pages(
    api: APIClient, size: int
) -> None:
    ids = [tagged(f"h{number}").pk for number in range(7)]
    there = walk(api, f"/api/v1/assets/?page_size={size}")
    assert [pk for page in there for pk in page] == ids[::-1]
    url = f"/api/v1/assets/?page_size={size}"
    for _ in there[1:]:
        url = api.get(url).json()["next"]
    assert walk(api, url, "previous")[::-1] == there


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("newest", ["d", "c", "b", "a"]),
        ("oldest", ["a", "b", "c", "d"]),
        ("confidence", ["c", "b", "a", "d"]),
        ("confidence&order_tag=sea", ["d", "b", "c", "a"]),
        ("best", ["d", "c", "b", "a"]),
    ],
)
def test_pages_come_in_the_order_that_is_asked_for(
    api: APIClient, order: str, expected: list[str]
) -> None:
    for name, tags in {
        "a": {"sky": 80},
        "b": {"sky": 80, "sea": 60},
        "c": {"sky": 90, "sea": 10},
        "d": {"sky": 70, "sea": 95},
    }.items():
        tagged(name, tags)
    query = "sky OR sea" if order == "best" else "sky"
    found = []
    url = f"/api/v1/assets/?q={query}&page_size=3&order={order}"
    while url:
        page = api.get(url).json()
        found += [row["reference"] for row in page["results"]]
        url = page["next"]
    assert found == expected


def test_a_cursor_belongs_to_its_search_and_order(api: APIClient) -> None:
    for name in "abc":
        tagged(name, {"sky": 90, "sea": 80})
    link = api.get("/api/v1/assets/?q=sky&page_size=2").json()["next"]
    cursor = link.partition("cursor=")[2].partition("&")[0]
    for other in ("q=sea", "q=sky&order=oldest"):
        refused = api.get(f"/api/v1/assets/?{other}&page_size=2&cursor={cursor}")
        assert (refused.status_code, refused.json()["parameter"]) == (400, "cursor")


def test_rows_that_come_and_go_are_neither_repeated_nor_lost(api: APIClient) -> None:
    ids = [tagged(f"h{number}", {"sky": 90}).pk for number in range(6)]
    first = api.get("/api/v1/assets/?page_size=2&tag=sky").json()
    tagged("newer", {"sky": 90})
    registry.archive(ids[5])
    rest = [pk for page in walk(api, first["next"]) for pk in page]
    assert rest == ids[3::-1]


def test_tags_are_paged_by_key_in_any_script(api: APIClient) -> None:
    keys = ["a", "ä", "a b", "b", "é&=?", "שמיים", "天空", "😀"]
    Tag.objects.bulk_create(Tag(key=key, name=key) for key in keys)
    there = walk(api, "/api/v1/tags/?page_size=3")
    assert sorted(key for page in there for key in page) == sorted(keys)
    last = api.get("/api/v1/tags/?page_size=3").json()
    while last["next"]:
        url = last["next"]
        last = api.get(url).json()
    assert walk(api, url, "previous")[::-1] == there


def test_a_page_has_fifty_rows_unless_asked_otherwise(api: APIClient) -> None:
    Asset.objects.bulk_create(
        Asset(kind="handle", reference=f"h{number}", digest=str(number))
        for number in range(201)
    )
    assert len(api.get("/api/v1/assets/").json()["results"]) == 50
    assert len(api.get("/api/v1/assets/?page_size=200").json()["results"]) == 200
