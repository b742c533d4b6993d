"""Saved searches over REST."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from filestack_tags import curation
from filestack_tags.api.problems import PREFIX
from filestack_tags.curation.saved_searches import SavedSearchInput, save
from filestack_tags.models import SavedSearch, Tag

from .rows import person, tagged

pytestmark = pytest.mark.django_db

SAVED = "/api/v1/saved-searches/"
EVERYTHING = tuple(f"{what}_savedsearch" for what in ("view", "add", "change", "delete"))


@pytest.fixture
def api(client_of: Any) -> APIClient:
    made: APIClient = client_of("view_asset", *EVERYTHING)
    return made


def owner() -> User:
    return User.objects.get(username="client0")


def test_one_is_saved_read_changed_and_deleted(api: APIClient) -> None:
    reply = api.post(SAVED, {"name": "Sky", "query": "sky>=80"}, format="json")
    assert reply.status_code == 201
    shown = reply.json()
    assert reply["Location"].endswith(f"{SAVED}{shown['id']}/")
    assert api.get(reply["Location"]).json() == shown
    assert {name: shown[name] for name in ("name", "query", "order", "shared", "owner")} == {
        "name": "Sky",
        "query": "sky>=80",
        "order": "newest",
        "shared": False,
        "owner": "client0",
    }
    changed = api.patch(reply["Location"], {"shared": True, "order": "oldest"}, format="json")
    assert changed.status_code == 200
    assert (changed.json()["shared"], changed.json()["name"]) == (True, "Sky")
    assert [row["id"] for row in api.get(SAVED).json()["results"]] == [shown["id"]]
    assert api.delete(reply["Location"]).status_code == 204
    assert api.get(reply["Location"]).status_code == 404


def test_what_it_finds_comes_in_pages_in_the_saved_order(
    api: APIClient, django_assert_num_queries: Any
) -> None:
    for number in range(3):
        tagged(f"h{number}", {"sky": 60 + number})
    wanted = SavedSearchInput("by sky", "sky", order="confidence", order_tag="sky")
    saved = save(wanted, user=owner())
    first = api.get(f"{SAVED}{saved.pk}/assets/", {"page_size": 2}).json()
    assert [asset["reference"] for asset in first["results"]] == ["h2", "h1"]
    # Session, user, permissions twice; the saved search, its tags, the page; assets, their tags.
    with django_assert_num_queries(9):
        second = api.get(first["next"]).json()
    assert [asset["reference"] for asset in second["results"]] == ["h0"]
    reply = api.get(f"{SAVED}{saved.pk}/assets/", {"cursor": "nonsense"})
    assert (reply.status_code, reply.json()["parameter"]) == (400, "cursor")


@pytest.mark.parametrize(
    ("body", "kind", "told"),
    [
        ({}, "invalid-values", {"field": "name", "detail": "This field is required."}),
        (
            {"name": "a", "search": "sky"},
            "invalid-values",
            {"field": "search", "detail": "Unknown field."},
        ),
        (
            {"name": "a", "order_tag": "sky"},
            "invalid-values",
            {
                "field": "order_tag",
                "detail": "A tag for the order requires the order “confidence”.",
            },
        ),
        (
            {"name": "a", "order": "confidence", "order_tag": "a\x7f"},
            "invalid-values",
            {"field": "order_tag", "detail": "A tag cannot contain control characters."},
        ),
    ],
)
def test_what_cannot_be_saved_is_told_by_its_field(
    api: APIClient, body: dict[str, str], kind: str, told: dict[str, str]
) -> None:
    reply = api.post(SAVED, body, format="json")
    assert (reply.status_code, reply.json()["type"]) == (400, PREFIX + kind)
    assert told in reply.json()["errors"]


def test_another_order_clears_the_tag_to_order_by(api: APIClient) -> None:
    body = {"name": "Sky", "order": "confidence", "order_tag": "sky"}
    saved = api.post(SAVED, body, format="json")
    assert api.patch(saved["Location"], {"name": "Blue"}, format="json").json()["order_tag"]
    changed = api.patch(saved["Location"], {"order": "newest"}, format="json").json()
    assert (changed["order"], changed["order_tag"]) == ("newest", "")
    both = {"order": "oldest", "order_tag": "sky"}
    assert api.patch(saved["Location"], both, format="json").status_code == 400


def test_a_search_that_cannot_be_read_is_told_with_its_position(api: APIClient) -> None:
    reply = api.post(SAVED, {"name": "a", "query": "sky=>80"}, format="json")
    assert reply.json()["type"] == PREFIX + "invalid-query"
    assert (reply.json()["parameter"], reply.json()["position"]) == ("query", 4)
    saved = save(
        SavedSearchInput("hidden", "a include:hidden"), user=person("x", "search_hidden")
    )
    SavedSearch.objects.filter(pk=saved.pk).update(shared=True)
    reply = api.get(f"{SAVED}{saved.pk}/assets/")
    assert (reply.status_code, reply.json()["parameter"]) == (400, "query")


def test_a_name_that_is_taken_is_a_conflict(api: APIClient) -> None:
    save(SavedSearchInput("taken"), user=owner())
    reply = api.post(SAVED, {"name": "taken"}, format="json")
    assert (reply.status_code, reply.json()["type"]) == (409, PREFIX + "conflict")


def test_others_read_what_is_shared_and_change_nothing(api: APIClient) -> None:
    other = person("other")
    shared, private = (
        save(SavedSearchInput(name, shared=name == "shared"), user=other)
        for name in ("shared", "private")
    )
    assert api.get(f"{SAVED}{shared.pk}/").json()["owner"] == "other"
    for method in ("patch", "delete"):
        assert getattr(api, method)(f"{SAVED}{shared.pk}/").status_code == 403
        assert getattr(api, method)(f"{SAVED}{private.pk}/").status_code == 404
    assert api.get(f"{SAVED}{private.pk}/assets/").status_code == 404
    assert SavedSearch.objects.filter(owner=other).count() == 2


def test_each_request_takes_its_permission(client_of: Any) -> None:
    saved = save(SavedSearchInput("s", shared=True), user=person("x"))
    place = f"{SAVED}{saved.pk}/"
    for method, path, needed in (
        ("get", SAVED, "view"),
        ("get", place, "view"),
        ("get", f"{place}assets/", "view"),
        ("post", SAVED, "add"),
        ("patch", place, "change"),
        ("delete", place, "delete"),
    ):
        others = {f"{what}_savedsearch" for what in ("view", "add", "change", "delete")}
        client = client_of("view_asset", *(others - {f"{needed}_savedsearch"}))
        assert getattr(client, method)(path).status_code == 403, (method, path)
    assert client_of(*EVERYTHING).get(f"{place}assets/").status_code == 403
    assert APIClient().get(SAVED).status_code in (401, 403)


def test_a_tag_to_order_by_that_no_tag_can_be_is_refused(api: APIClient) -> None:
    # Eighteen characters each once they are normalized.
    body = {"name": "s", "order": "confidence", "order_tag": "\ufdfa" * 20}
    reply = api.post(SAVED, body, format="json")
    fields = [error["field"] for error in reply.json()["errors"]]
    assert (reply.status_code, fields) == (400, ["order_tag"])


def test_hidden_tags_are_found_by_who_may(client_of: Any) -> None:
    tagged("one", {"sky": 90})
    curation.hide(Tag.objects.get().pk, hidden=True)
    api = client_of("view_asset", "search_hidden", *EVERYTHING)
    saved = save(SavedSearchInput("h", "sky include:hidden"), user=owner())
    assert len(api.get(f"{SAVED}{saved.pk}/assets/").json()["results"]) == 1


def test_listing_costs_the_same_however_many_there_are(
    api: APIClient, django_assert_num_queries: Any
) -> None:
    other = person("other")
    for number in range(5):
        save(SavedSearchInput(f"mine {number}"), user=owner())
        save(SavedSearchInput(f"theirs {number}", shared=True), user=other)
    with django_assert_num_queries(5):  # session, user, permissions twice, rows
        page = api.get(SAVED, {"page_size": 4}).json()
    assert len(page["results"]) == 4
    assert len(api.get(page["next"]).json()["results"]) == 4
    for cursor in ("cD1hYmM=", "bz0xMA=="):
        assert api.get(SAVED, {"cursor": cursor}).status_code == 400
