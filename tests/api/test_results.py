"""The API's summaries of a result: count, facets, histogram; and pages with chosen fields."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from filestack_tags import curation
from filestack_tags.api.asset_json import FIELDS, describe
from filestack_tags.api.problems import INVALID_PARAMETER, INVALID_QUERY
from filestack_tags.models import Asset, Tag

from .rows import person, tagged

pytestmark = pytest.mark.django_db


@pytest.fixture
def three(db: None) -> list[Asset]:
    return [
        tagged("first", {"Sky": 90, "person": 60}, mimetype="image/png"),
        tagged("second", {"sky": 60, "sea": 95}, mimetype="image/jpeg"),
        tagged("third", {"sea": 40}, {"sky": 100}, mimetype="text/plain"),
    ]


def get(api: APIClient, path: str, **query: Any) -> Any:
    reply = api.get(f"/api/v1/{path}", query)
    assert reply.status_code == 200, reply.json()
    return reply.json()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("source=user", {"third"}),
        ("source=user&source=auto", {"first", "second", "third"}),
        ("decision=accepted", {"first"}),
        ("decision=rejected", {"second"}),
        ("mimetype=image/png", {"first"}),
        ("mimetype=IMAGE/*&mimetype=text/plain", {"first", "second", "third"}),
        ("uploader=ann", {"second"}),
        ("uploader=ann&uploader=bob", {"second"}),
        ("uploaded_after=2026-11", {"second", "third"}),
        ("uploaded_after=2026-11-01&uploaded_before=2026-11-30", {"second"}),
        ("uploaded_before=2026-10", {"first"}),
        ("uploaded_before=2025", set()),
        ("uploaded_after=2026-11-30T12:00Z", {"second", "third"}),
        ("uploaded_after=2026-11-30T12:00:00.000001Z", {"third"}),
        ("uploaded_before=2026-11-30T11:59:59Z", {"first"}),
        ("uploaded_before=2026-11-30T14:00%2B02:00", {"first", "second"}),
        ("created_after=2025-02", {"second", "third"}),
        ("created_before=2025-02-28&created_after=2025-02-28", {"second"}),
        ("tagged_after=2025-03", {"third"}),
        ("tagged_before=2025-02", {"first", "second"}),
        ("q=-tagged:<=2025-02", {"third"}),
    ],
)
def test_what_the_search_language_says_of_files_is_a_parameter(
    api: APIClient, three: list[Asset], query: str, expected: set[str]
) -> None:
    ids = dict(Tag.objects.values_list("key", "pk"))
    curation.accept(three[0].pk, ids["person"], user=None)
    curation.reject(three[1].pk, ids["sea"], user=None)
    Asset.objects.filter(pk=three[1].pk).update(uploader=person("ann"))
    for asset, day in zip(three, ("2026-10-31", "2026-11-30", "2026-12-01"), strict=True):
        at = f"{day} 12:00:00+00:00"
        Asset.objects.filter(pk=asset.pk).update(uploaded_at=at)
    for asset, day in zip(three, ("2025-01-31", "2025-02-28", "2025-03-01"), strict=True):
        at = f"{day} 12:00:00+00:00"
        Asset.objects.filter(pk=asset.pk).update(created_at=at, tags_at=at)
    shown = api.get(f"/api/v1/assets/?{query}").json()["results"]
    assert {row["reference"] for row in shown} == expected


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("assets/?mimetype=", "mimetype"),
        ("assets/?uploader=%00", "uploader"),
        ("assets/?uploaded_after=yesterday", "uploaded_after"),
        ("assets/?uploaded_after=", "uploaded_after"),
        ("assets/?uploaded_after=%202026", "uploaded_after"),
        ("assets/?uploaded_before=2026..2027", "uploaded_before"),
        ("assets/?uploaded_before=9999", "uploaded_before"),
        ("assets/?created_after=2026-02-30", "created_after"),
        ("assets/?created_before=30.11.2026", "created_before"),
        ("assets/?tagged_after=2026-11-30T25:00Z", "tagged_after"),
        ("assets/?tagged_before=2026-11-30T14:00 02:00", "tagged_before"),
        ("assets/?fields=", "fields"),
        ("assets/?fields=id,colour", "fields"),
        ("assets/?fields=id;tags", "fields"),
        ("assets/?include=totals", "include"),
        ("assets/facets/?limit=0", "limit"),
        ("assets/facets/?limit=101", "limit"),
        ("assets/histogram/", "tag"),
        ("assets/histogram/?tag=", "tag"),
        ("assets/histogram/?tag=a&tag=b", "tag"),
        ("assets/histogram/?tag=%00", "tag"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named(
    api: APIClient, path: str, parameter: str
) -> None:
    reply = api.get(f"/api/v1/{path}")
    assert reply.status_code == 400
    assert reply.json()["type"] == INVALID_PARAMETER.type
    assert reply.json()["parameter"] == parameter


@pytest.mark.parametrize("path", ["count", "facets", "histogram"])
def test_a_search_that_cannot_be_read_is_explained_everywhere(
    api: APIClient, path: str
) -> None:
    reply = api.get(f"/api/v1/assets/{path}/", {"q": "sky=>80", "tag": "sky"})
    assert reply.json()["type"] == INVALID_QUERY.type
    assert reply.json()["position"] == 4


def test_assets_are_counted(api: APIClient, three: list[Asset]) -> None:
    assert get(api, "assets/count/") == {"count": 3, "exact": True}
    assert get(api, "assets/count/", tag="sky:80") == {"count": 2, "exact": True}
    assert get(api, "assets/count/", q="nowhere") == {"count": 0, "exact": True}


def test_the_tags_of_a_result_are_counted(api: APIClient, three: list[Asset]) -> None:
    assert get(api, "assets/facets/", mimetype="image/*", limit=2) == {
        "approximate": False,
        "sample": 2,
        "matches": 2,
        "tags": [
            {"key": "sky", "name": "Sky", "count": 2},
            {"key": "person", "name": "person", "count": 1},
        ],
    }


def test_the_confidences_of_a_tag_are_counted_within_the_result(
    api: APIClient, three: list[Asset]
) -> None:
    assert get(api, "assets/histogram/", tag="SKY") == {
        "tag": "sky",
        "total": 3,
        "counts": [
            {"confidence": 60, "count": 1},
            {"confidence": 90, "count": 1},
            {"confidence": 100, "count": 1},
        ],
    }
    within = get(api, "assets/histogram/", tag="sky", q="sea")
    assert [row["confidence"] for row in within["counts"]] == [60, 100]
    curation.hide(Tag.objects.get(key="sky").pk)
    nothing = {"tag": "sky", "total": 0, "counts": []}
    assert get(api, "assets/histogram/", tag="sky") == nothing
    assert get(api, "assets/histogram/", tag="nowhere") == nothing | {"tag": "nowhere"}


def test_a_list_includes_totals_and_facets_where_they_are_asked_for(
    api: APIClient, three: list[Asset]
) -> None:
    plain = get(api, "assets/", tag="sea", page_size=1)
    assert list(plain) == ["next", "previous", "results"]
    full = get(api, "assets/", tag="sea", page_size=1, include="total,facets")
    assert full["total"] == {"count": 2, "exact": True}
    assert full["facets"] == get(api, "assets/facets/", tag="sea")
    assert full["results"] == plain["results"]
    assert "include=total" in full["next"]


def test_fields_are_chosen_in_lists_and_alone(api: APIClient, three: list[Asset]) -> None:
    (row,) = get(api, "assets/", tag="person", fields="tags, id")["results"]
    assert list(row) == ["id", "tags"]
    assert get(api, f"assets/{three[0].pk}/", fields="filename") == {"filename": ""}


def test_the_fields_that_can_be_chosen_are_those_that_are_shown(three: list[Asset]) -> None:
    (shown,) = describe([three[0].pk], "default")
    assert tuple(shown) == FIELDS


def test_without_tags_they_are_not_asked_for(
    three: list[Asset], django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1):
        assert describe([three[0].pk], "default", {"id"}) == [{"id": three[0].pk}]


@pytest.mark.parametrize("path", ["assets/", "assets/{pk}/", "assets/facets/", "tags/"])
def test_what_is_known_is_not_sent_again(api: APIClient, three: list[Asset], path: str) -> None:
    path = f"/api/v1/{path.format(pk=three[0].pk)}"
    reply = api.get(path)
    tag = reply["ETag"]
    assert tag.startswith('W/"')
    assert reply["Cache-Control"] == "private, no-cache"
    for known in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        again = api.get(path, headers={"If-None-Match": known})
        assert again.status_code == 304
        assert again.content == b""
        assert again["ETag"] == tag
    curation.accept(three[0].pk, Tag.objects.get(key="person").pk, user=None)
    curation.rename(Tag.objects.get(key="sky").pk, "heaven")
    changed = api.get(path, headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed["ETag"] != tag


def test_only_what_was_found_has_a_tag(api: APIClient) -> None:
    for path in ("/api/v1/assets/1/", "/api/v1/assets/?x=1"):
        assert "ETag" not in api.get(path, headers={"If-None-Match": "*"})
    made = api.post("/api/v1/assets/", {"handle": "h1"}, format="json")
    assert made.status_code == 201
    assert "ETag" not in made


@pytest.mark.parametrize("count", [3, 30])
@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("assets/?include=total,facets&q=sky", 14),  # PostgreSQL queries an estimate, too
        ("assets/count/?q=sky", 8),
        ("assets/facets/?q=sky", 8),
        ("assets/histogram/?tag=sky&q=sky", 9),
        ("assets/{pk}/?fields=id", 5),
    ],
)
def test_questions_take_as_many_queries_for_thirty_assets_as_for_three(
    api: APIClient, django_assert_max_num_queries: Any, count: int, path: str, most: int
) -> None:
    for number in range(count):
        asset = tagged(f"h{number}", {"sky": 90, f"only{number}": 50})
    # Session, user, two for permissions; names, statistics; then the query itself.
    with django_assert_max_num_queries(most):
        assert api.get(f"/api/v1/{path.format(pk=asset.pk)}").status_code == 200
