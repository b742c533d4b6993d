"""Editing tags over the API, with the services and the permission of the admin."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from filestack_tags import curation
from filestack_tags.api.problems import CONFLICT
from filestack_tags.models import Tag, TagAlias
from filestack_tags.search.completion import clear_cache

from .rows import tagged

pytestmark = pytest.mark.django_db


@pytest.fixture
def ids(db: None) -> dict[str, int]:
    clear_cache()
    tagged("h1", {"Sky": 90, "skyline": 80, "complete": 60})
    tagged("h2", {"sky": 70})
    return dict(Tag.objects.values_list("key", "pk"))


def patch(api: APIClient, key: str, **body: Any) -> Any:
    return api.patch(f"/api/v1/tags/{key}/", body, format="json")


def test_names_are_completed(api: APIClient, client_of: Any, ids: dict[str, int]) -> None:
    curation.hide(ids["complete"])
    found = api.get("/api/v1/tags/complete/", {"q": "S"}).json()["results"]
    assert found == [
        {"key": "sky", "name": "Sky", "count": 2, "min_confidence": 0},
        {"key": "skyline", "name": "skyline", "count": 1, "min_confidence": 0},
    ]
    assert len(api.get("/api/v1/tags/complete/?limit=1").json()["results"]) == 1
    assert len(api.get("/api/v1/tags/complete/").json()["results"]) == 2
    hidden = client_of("view_tag", "search_hidden").get("/api/v1/tags/complete/?include=hidden")
    assert len(hidden.json()["results"]) == 3
    assert api.get("/api/v1/tags/complete/?include=hidden").status_code == 403


def test_a_completion_says_which_minimum_applies_to_its_name(
    api: APIClient, ids: dict[str, int]
) -> None:
    curation.set_minimum(ids["sky"], 80)
    clear_cache()
    found = api.get("/api/v1/tags/complete/?q=sky").json()["results"]
    assert [(tag["key"], tag["count"], tag["min_confidence"]) for tag in found] == [
        ("sky", 2, 80),
        ("skyline", 1, 0),
    ]
    by_name, at_any_confidence = (
        len(api.get("/api/v1/assets/", {"q": text}).json()["results"])
        for text in ("sky", "sky>=0")
    )
    assert (by_name, at_any_confidence) == (1, 2)


def test_an_empty_form_changes_nothing(api: APIClient, ids: dict[str, int]) -> None:
    patch(api, "sky", hidden=True, min_confidence=40)
    form = "application/x-www-form-urlencoded"
    reply = api.generic("PATCH", "/api/v1/tags/sky/", "", content_type=form)
    assert reply.status_code == 200
    sky = Tag.objects.get(key="sky")
    assert (sky.hidden, sky.min_confidence) == (True, 40)


def test_a_tag_is_renamed_hidden_and_given_a_minimum_at_once(
    api: APIClient, client_of: Any, ids: dict[str, int]
) -> None:
    reply = patch(api, "sky", name="Heaven", hidden=True, min_confidence=40)
    assert reply.status_code == 200
    assert reply.json() == {
        "key": "heaven",
        "name": "Heaven",
        "asset_count": 2,
        "min_confidence": 40,
        "hidden": True,
        "aliases": ["sky"],
    }
    assert patch(api, "sky", name="Heaven", hidden=True).json() == reply.json()
    assert api.get("/api/v1/tags/heaven/").status_code == 404
    editor = client_of("view_tag", "search_hidden")
    assert editor.get("/api/v1/tags/heaven/?include=hidden").json() == reply.json()
    assert len(editor.get("/api/v1/tags/?include=hidden").json()["results"]) == 3
    shown = patch(api, "heaven", hidden=False, min_confidence=None).json()
    assert (shown["hidden"], shown["min_confidence"]) == (False, None)


def test_a_name_that_another_tag_has_is_a_conflict_and_changes_nothing(
    api: APIClient, ids: dict[str, int]
) -> None:
    reply = patch(api, "sky", min_confidence=40, hidden=True, name="skyline")
    assert reply.status_code == 409
    assert reply.json()["type"] == CONFLICT.type
    assert Tag.objects.get(pk=ids["sky"]).min_confidence is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "\ufdfa" * 12}, "name"),
        ({"min_confidence": 101}, "min_confidence"),
        ({"hidden": "perhaps"}, "hidden"),
        ({"key": "x"}, "key"),
    ],
)
def test_what_cannot_be_changed_is_refused_at_the_field(
    api: APIClient, ids: dict[str, int], body: dict[str, Any], field: str
) -> None:
    reply = api.patch("/api/v1/tags/sky/", body, format="json")
    assert reply.status_code == 400
    assert [error["field"] for error in reply.json()["errors"]] == [field]


def test_aliases_are_added_and_removed(api: APIClient, ids: dict[str, int]) -> None:
    path = "/api/v1/tags/sky/aliases/"
    made = api.post(path, {"name": "The Heavens"}, format="json")
    assert (made.status_code, made.json()["aliases"]) == (201, ["the heavens"])
    again = api.post(path, {"name": "the heavens"}, format="json")
    assert (again.status_code, again.json()) == (200, made.json())
    assert api.post(path, {"name": "skyline"}, format="json").status_code == 409
    assert api.post(path, {"name": "sky"}, format="json").status_code == 409
    assert api.delete("/api/v1/tags/skyline/aliases/the heavens/").status_code == 404
    assert api.delete(f"{path}The Heavens/").status_code == 204
    assert api.delete(f"{path}The Heavens/").status_code == 404
    assert not TagAlias.objects.exists()


def test_a_merge_is_previewed_done_watched_and_undone(
    api: APIClient, ids: dict[str, int], django_capture_on_commit_callbacks: Any
) -> None:
    path = "/api/v1/tags/skyline/merge/"
    preview = api.get(path, {"into": "SKY"}).json()
    assert preview == {"assets": 1, "both": 1, "conflicts": 0, "aliases": ["skyline"]}
    with django_capture_on_commit_callbacks(execute=True):
        begun = api.post(path, {"into": "SKY"}, format="json")
    assert begun.status_code == 202
    assert (begun.json()["source"], begun.json()["target"]) == ("skyline", "Sky")
    place = f"/api/v1/merges/{begun.json()['id']}/"
    assert api.get(place).json()["state"] == "merged"
    assert api.get("/api/v1/tags/skyline/").json()["key"] == "sky"
    for _ in range(2):
        with django_capture_on_commit_callbacks(execute=True):
            undone = api.post(f"{place}undo/")
        assert undone.status_code == 202
    assert api.get(place).json()["state"] == "undone"
    assert api.get("/api/v1/tags/skyline/").json()["key"] == "skyline"
    assert api.get("/api/v1/merges/999/").status_code == 404
    assert api.post("/api/v1/merges/999/undo/").status_code == 404


@pytest.mark.parametrize("into", ["nowhere", "", "a\x00"])
def test_a_tag_is_merged_into_one_that_exists(
    api: APIClient, ids: dict[str, int], into: str
) -> None:
    path = "/api/v1/tags/sky/merge/"
    reply = api.post(path, {"into": into}, format="json")
    assert [error["field"] for error in reply.json()["errors"]] == ["into"]
    assert api.get(path, {"into": into}).json()["parameter"] == "into"
    assert api.post(path, {"into": "sky"}, format="json").status_code == 409


def test_a_tag_called_like_an_address_is_found_in_quotes(
    api: APIClient, ids: dict[str, int]
) -> None:
    tagged("h3", {"a/merge": 60, '"quoted"': 60, "quoted": 60})
    assert api.get('/api/v1/tags/"complete"/').json()["key"] == "complete"
    assert api.get('/api/v1/tags/"a/merge"/').json()["key"] == "a/merge"
    assert patch(api, '"complete"', hidden=True).json()["key"] == "complete"
    assert api.get('/api/v1/tags/"quoted"/').json()["key"] == "quoted"
    assert api.get('/api/v1/tags/"/').status_code == 404


def test_labels_are_not_changed_by_who_sees_a_part_of_the_assets(
    api: APIClient, ids: dict[str, int], settings: Any
) -> None:
    settings.FILESTACK_TAGS = {
        **settings.FILESTACK_TAGS,
        "ASSET_SCOPE": "tests.assets.test_visibility.own_uploads",
    }
    for key in ("sky", "nowhere"):
        replies = [
            patch(api, key, hidden=True),
            api.post(f"/api/v1/tags/{key}/aliases/", {"name": "x"}, format="json"),
            api.delete(f"/api/v1/tags/{key}/aliases/x/"),
            api.get(f"/api/v1/tags/{key}/merge/", {"into": "skyline"}),
            api.post(f"/api/v1/tags/{key}/merge/", {"into": "skyline"}, format="json"),
            api.get("/api/v1/merges/1/"),
            api.post("/api/v1/merges/1/undo/"),
        ]
        assert {reply.status_code for reply in replies} == {403}
