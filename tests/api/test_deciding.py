"""Decisions about the tags of an asset over the API: logged, idempotent, and undone exactly."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from filestack_tags import curation
from filestack_tags.api.problems import CONFLICT
from filestack_tags.models import Asset, AssetTag, Tag, TagDecision

from .rows import person, tagged

pytestmark = pytest.mark.django_db


@pytest.fixture
def asset(db: None) -> Asset:
    return tagged("h1", {"Sky": 80, "sea": 95, "fog": 20})


def put(api: APIClient, asset: Asset, key: str, **body: Any) -> Any:
    return api.put(f"/api/v1/assets/{asset.pk}/tags/{key}/", body, format="json")


def test_all_tags_of_an_asset_are_shown_with_what_people_said(
    api: APIClient, asset: Asset
) -> None:
    ids = dict(Tag.objects.values_list("key", "pk"))
    curation.reject(asset.pk, ids["sea"], user=person("ann"))
    curation.change(asset.pk, ids["sky"], 70, user=None)
    curation.set_minimum(ids["fog"], 50)
    rows = api.get(f"/api/v1/assets/{asset.pk}/tags/").json()["results"]
    assert [row.pop("decided_at") is None for row in rows] == [False, False, True]
    assert rows == [
        {
            "name": "sea",
            "key": "sea",
            "confidence": 95,
            "tagger_confidence": None,
            "source": "auto",
            "decision": "rejected",
            "decided_by": "ann",
            "visible": False,
        },
        {
            "name": "Sky",
            "key": "sky",
            "confidence": 70,
            "tagger_confidence": 80,
            "source": "auto",
            "decision": "accepted",
            "decided_by": None,
            "visible": True,
        },
        {
            "name": "fog",
            "key": "fog",
            "confidence": 20,
            "tagger_confidence": None,
            "source": "auto",
            "decision": "none",
            "decided_by": None,
            "visible": False,
        },
    ]
    alone = api.get(f"/api/v1/assets/{asset.pk}/tags/SEA/").json()
    assert (alone["key"], alone["decided_by"]) == ("sea", "ann")


def test_who_decided_is_told_with_the_permission_only(client_of: Any, asset: Asset) -> None:
    curation.reject(asset.pk, Tag.objects.get(key="sea").pk, user=person("ann"))
    path = f"/api/v1/assets/{asset.pk}/tags/sea/"
    assert client_of("view_asset").get(path).json()["decided_by"] is None
    assert client_of("view_asset", "view_tagdecision").get(path).json()["decided_by"] == "ann"


def test_hidden_and_withheld_tags_are_shown_with_the_permission_only(
    client_of: Any, settings: Any
) -> None:
    asset = tagged("h1", {"sky": 80, "woman": 70})
    curation.hide(Tag.objects.get(key="sky").pk)
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "HIDE_SENSITIVE": True}
    path = f"/api/v1/assets/{asset.pk}/tags/"
    plain, permitted = client_of("view_asset"), client_of("view_asset", "search_hidden")
    assert plain.get(path).json()["results"] == []
    assert plain.get(f"{path}sky/").status_code == 404
    assert plain.get(f"{path}?include=hidden").status_code == 403
    rows = permitted.get(f"{path}?include=hidden").json()["results"]
    assert [(row["key"], row["visible"]) for row in rows] == [("sky", False), ("woman", False)]
    assert permitted.get(path).json()["results"] == []


@pytest.mark.parametrize("method", ["put", "patch"])
def test_a_decision_is_made_once_and_says_what_it_changed(
    api: APIClient, asset: Asset, method: str
) -> None:
    path = f"/api/v1/assets/{asset.pk}/tags/sky/"
    send = getattr(api, method)
    for said, shown in (("accepted", "accepted"), ("rejected", "rejected"), (None, "none")):
        reply = send(path, {"decision": said}, format="json")
        assert reply.status_code == 200, reply.json()
        told = reply.json()
        assert told["changed"] is True
        assert told["tag"]["decision"] == shown
        entry = TagDecision.objects.get(pk=told["decision_id"])
        assert entry.user is not None
        assert (entry.origin, entry.user.username) == ("api", "client0")
        again = send(path, {"decision": said}, format="json").json()
        assert again == told | {"changed": False, "decision_id": None}
    assert TagDecision.objects.count() == 3


def test_a_confidence_is_set_by_hand(api: APIClient, asset: Asset) -> None:
    told = put(api, asset, "sky", decision="accepted", confidence=60).json()
    assert (told["tag"]["confidence"], told["tag"]["tagger_confidence"]) == (60, 80)
    assert told["tag"]["decision"] == "accepted"
    assert put(api, asset, "sky", confidence=60).json()["changed"] is False
    assert put(api, asset, "sky", decision=None).json()["tag"]["confidence"] == 80


def test_a_tag_is_added_by_hand_and_goes_when_that_is_taken_back(
    api: APIClient, asset: Asset
) -> None:
    path = f"/api/v1/assets/{asset.pk}/tags/"
    reply = api.post(path, {"name": " Trip  (a/b) ", "confidence": 90}, format="json")
    assert reply.status_code == 201
    told = reply.json()
    assert (told["tag"]["key"], told["tag"]["confidence"]) == ("trip (a/b)", 90)
    assert (told["tag"]["decision"], told["tag"]["source"]) == ("added", "user")
    assert api.get(reply["Location"]).json() == told["tag"]
    again = api.post(path, {"name": "trip (A/B)"}, format="json")
    assert (again.status_code, again.json()["changed"]) == (200, False)
    known = api.post(path, {"name": "sky"}, format="json")
    assert (known.status_code, known.json()["tag"]["decision"]) == (200, "accepted")
    gone = put(api, asset, "trip (a%2Fb)", decision=None).json()
    assert (gone["changed"], gone["tag"]) == (True, None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "decision"),
        ({"decision": "added"}, "decision"),
        ({"decision": "rejected", "confidence": 3}, "confidence"),
        ({"decision": None, "confidence": 3}, "confidence"),
        ({"confidence": 101}, "confidence"),
        ({"confidence": None}, "confidence"),
        ({"decided": "accepted"}, "decided"),
        ([], ""),
    ],
)
def test_a_decision_that_cannot_be_made_is_refused_at_the_field(
    api: APIClient, asset: Asset, body: Any, field: str
) -> None:
    reply = api.put(f"/api/v1/assets/{asset.pk}/tags/sky/", body, format="json")
    assert reply.status_code == 400
    assert [error["field"] for error in reply.json()["errors"]] == [field]
    assert not TagDecision.objects.exists()


@pytest.mark.parametrize("name", ["", " ", "x" * 201, "a\x00b", None, 7.5, {}])
def test_what_cannot_be_a_tag_is_not_added(api: APIClient, asset: Asset, name: Any) -> None:
    before = Tag.objects.count()
    reply = api.post(f"/api/v1/assets/{asset.pk}/tags/", {"name": name}, format="json")
    if reply.status_code != 201:  # a number is converted to text
        assert [error["field"] for error in reply.json()["errors"]] == ["name"]
        assert Tag.objects.count() == before
    else:
        assert name == 7.5


@pytest.mark.parametrize("key", ["nowhere", "a%00b", "x" * 201])
def test_deciding_about_a_tag_that_the_asset_does_not_have_is_404(
    api: APIClient, asset: Asset, key: str
) -> None:
    tagged("h2", {"nowhere": 50})
    assert put(api, asset, key, decision="accepted").status_code == 404
    assert not TagDecision.objects.exists()


def test_a_decision_is_undone_exactly_and_once(api: APIClient, asset: Asset) -> None:
    before = AssetTag.objects.filter(tag__key="sky").values().get()
    number = put(api, asset, "sky", decision="rejected").json()["decision_id"]
    undone = api.post(f"/api/v1/decisions/{number}/undo/")
    assert undone.status_code == 200
    assert (undone.json()["act"], undone.json()["undoes"]) == ("undo", number)
    assert undone.json()["before"] == {"confidence": 80, "decision": "rejected"}
    assert undone.json()["after"] == {"confidence": 80, "decision": "none"}
    assert api.post(f"/api/v1/decisions/{number}/undo/").json() == undone.json()
    assert AssetTag.objects.filter(tag__key="sky").values().get() == before
    assert api.get(f"/api/v1/decisions/{number}/").json()["undone_by"] == undone.json()["id"]


def test_a_decision_that_another_followed_is_not_undone(api: APIClient, asset: Asset) -> None:
    number = put(api, asset, "sky", decision="rejected").json()["decision_id"]
    put(api, asset, "sky", decision="accepted")
    reply = api.post(f"/api/v1/decisions/{number}/undo/")
    assert reply.status_code == 409
    assert reply.json()["type"] == CONFLICT.type
    assert "client0 decided" in reply.json()["detail"]


def test_the_log_is_listed_latest_first_and_by_asset(api: APIClient, asset: Asset) -> None:
    other = tagged("h2", {"sky": 50})
    for each in (asset, other, asset):
        put(api, each, "sky", decision="rejected")
        put(api, each, "sky", decision=None)
    url, found = f"/api/v1/decisions/?page_size=3&asset={asset.pk}", []
    while url:
        page = api.get(url).json()
        found += page["results"]
        url = page["next"]
    assert [row["id"] for row in found] == sorted((row["id"] for row in found), reverse=True)
    assert len(found) == 4
    assert {row["tag"] for row in found} == {"sky"}
    assert api.get("/api/v1/decisions/?asset=1000000000").status_code == 404
    assert api.get("/api/v1/decisions/?asset=0").status_code == 400


@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize(("path", "most"), [("assets/{pk}/tags/", 6), ("decisions/", 5)])
def test_lists_take_as_many_queries_for_twenty_as_for_one(
    api: APIClient, count: int, path: str, most: int, django_assert_max_num_queries: Any
) -> None:
    asset = tagged("h1", {f"t{number}": 50 for number in range(count)})
    for number in range(count):
        put(api, asset, f"t{number}", decision="accepted")
    with django_assert_max_num_queries(most):  # session, user, two for permissions; asset, rows
        page = api.get(f"/api/v1/{path.format(pk=asset.pk)}").json()
    assert len(page["results"]) == count
