"""What the API shows of assets, and how it finds them."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from filestack_tags import curation
from filestack_tags.assets import registry
from filestack_tags.models import Asset, Tag

from .rows import person, tagged

pytestmark = pytest.mark.django_db


def found(api: APIClient, query: str) -> set[str]:
    reply = api.get(f"/api/v1/assets/?{query}")
    assert reply.status_code == 200, reply.json()
    return {row["reference"] for row in reply.json()["results"]}


@pytest.fixture
def three(db: None) -> None:
    tagged("first", {"sky": 90, "person": 60})
    tagged("second", {"sky": 60, "sea": 95})
    tagged("third", {"sea": 40}, {"sky": 100})


def test_an_asset_is_shown_with_its_facts_and_its_tags_most_confident_first(
    api: APIClient,
) -> None:
    asset = tagged(
        "VJQTvCboRVivWJ2BpKgd",
        {"Sky": 80, "sea": 95},
        {"holiday": 90},
        filename="a.jpg",
        mimetype="image/jpeg",
        size=2**40,
        width=4000,
        height=3000,
        upload_tags={"id": "7"},
    )
    reply = api.get(f"/api/v1/assets/{asset.pk}/")
    assert reply["Content-Type"] == "application/json"
    shown = reply.json()
    for moment in ("uploaded_at", "created_at", "updated_at"):
        assert shown.pop(moment).startswith("20")
    assert shown["tagging"].pop("tagged_at").startswith("20")
    assert shown == {
        "id": asset.pk,
        "kind": "handle",
        "reference": "VJQTvCboRVivWJ2BpKgd",
        "filename": "a.jpg",
        "mimetype": "image/jpeg",
        "size": 2**40,
        "width": 4000,
        "height": 3000,
        "container": "",
        "key": "",
        "store_status": "",
        "upload_tags": {"id": "7"},
        "uploader": None,
        "content_version": 1,
        "tagging": {"state": "tagged", "attempts": 0, "error": "", "stale": False},
        "tags": [
            {
                "name": "sea",
                "key": "sea",
                "confidence": 95,
                "source": "auto",
                "decision": "none",
            },
            {
                "name": "holiday",
                "key": "holiday",
                "confidence": 90,
                "source": "user",
                "decision": "none",
            },
            {
                "name": "Sky",
                "key": "sky",
                "confidence": 80,
                "source": "auto",
                "decision": "none",
            },
        ],
    }


def test_rejected_and_hidden_tags_and_those_below_their_minimum_are_not_shown(
    api: APIClient,
) -> None:
    asset = tagged("h1", {"sky": 90, "sea": 90, "boat": 90, "sand": 30, "fog": 30})
    ids = dict(Tag.objects.values_list("key", "pk"))
    curation.reject(asset.pk, ids["sky"], user=None)
    curation.hide(ids["sea"])
    curation.set_minimum(ids["sand"], 50)
    curation.set_minimum(ids["fog"], 50)
    curation.accept(asset.pk, ids["fog"], user=None)
    shown = api.get(f"/api/v1/assets/{asset.pk}/").json()["tags"]
    assert [(tag["key"], tag["decision"]) for tag in shown] == [
        ("boat", "none"),
        ("fog", "accepted"),
    ]


def test_the_uploader_is_named_by_username(api: APIClient) -> None:
    uploader = person("ann")
    asset = tagged("h1")
    Asset.objects.filter(pk=asset.pk).update(uploader=uploader)
    assert api.get(f"/api/v1/assets/{asset.pk}/").json()["uploader"] == "ann"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"first", "second", "third"}),
        ("q=sky>=80 -person", {"third"}),
        ("q=", {"first", "second", "third"}),
        ("tag=sky&tag=sea", {"second", "third"}),
        ("tag=SKY:80", {"first", "third"}),
        ("tag=sky:80&tag=sea:30", {"third"}),
        ("tag_any=person&tag_any=sea:90", {"first", "second"}),
        ("tag_none=person&tag_none=sea:90", {"third"}),
        ("tag=sky&min_confidence=80", {"first", "third"}),
        ("tag=sky&min_confidence=60", {"first", "second", "third"}),
        ("tag=sky:50&min_confidence=80", {"first", "second", "third"}),
        ("tag_none=sea&min_confidence=80", {"first", "third"}),
        ("min_confidence=92", {"second", "third"}),
        ("min_confidence=0", {"first", "second", "third"}),
        ("tag=nowhere", set()),
        ("tag_none=nowhere", {"first", "second", "third"}),
        ("tag=AND", set()),
        ("state=tagged", {"first", "second", "third"}),
        ("state=new&state=failed", set()),
        ("kind=url", set()),
        ("kind=url&kind=handle", {"first", "second", "third"}),
    ],
)
def test_parameters_narrow_the_list_together(
    api: APIClient, three: None, query: str, expected: set[str]
) -> None:
    assert found(api, query) == expected


def test_tag_and_confidence_are_met_by_the_same_tag(api: APIClient, three: None) -> None:
    """ "second" has sky, and another tag at 95, but not sky at 95."""
    assert found(api, "tag=sky:95") == {"third"}


def test_other_colons_and_quotes_belong_to_the_name(api: APIClient) -> None:
    tagged("h1", {'nasa: "apollo"': 90})
    assert found(api, 'tag=nasa: "apollo"') == {"h1"}
    assert found(api, 'tag=nasa: "apollo":90') == {"h1"}
    assert found(api, 'tag=nasa: "apollo":91') == set()


def test_hidden_tags_are_searched_with_the_permission_only(client_of: Any) -> None:
    tagged("h1", {"sky": 90})
    curation.hide(Tag.objects.get().pk)
    query = "q=sky include:hidden"
    assert found(client_of("view_asset", "search_hidden"), query) == {"h1"}
    refused = client_of("view_asset").get(f"/api/v1/assets/?{query}")
    assert refused.status_code == 400
    assert "permission" in refused.json()["detail"]


def test_archived_assets_are_neither_listed_nor_found_by_id(api: APIClient) -> None:
    asset = tagged("h1", {"sky": 90})
    registry.archive(asset.pk)
    assert found(api, "") == found(api, "tag=sky") == set()
    assert api.get(f"/api/v1/assets/{asset.pk}/").status_code == 404


@pytest.mark.parametrize("count", [3, 30])
@pytest.mark.parametrize("query", ["", "q=sky", "tag=sky&tag_none=sea&min_confidence=10"])
def test_a_list_takes_as_many_queries_for_thirty_assets_as_for_three(
    api: APIClient, django_assert_max_num_queries: Any, count: int, query: str
) -> None:
    uploader = person("ann")
    for number in range(count):
        tagged(f"h{number}", {"sky": 90, f"only{number}": 50})
    Asset.objects.update(uploader=uploader)
    api.get("/api/v1/assets/")
    # Session, user, two for permissions, two for names, one for statistics; ids, assets, their
    # tags.
    limit = 7 if not query else 10
    with django_assert_max_num_queries(limit) as asked:
        assert len(found(api, query)) == count
    shape = [sql["sql"].split()[0] for sql in asked.captured_queries]
    assert shape.count("SELECT") == len(shape)
