"""Registering, re-tagging and archiving over the API."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from filestack_tags.api.problems import INVALID_VALUES
from filestack_tags.assets import registry
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset

from .rows import tagged

pytestmark = pytest.mark.django_db

HANDLE = "VJQTvCboRVivWJ2BpKgd"


def register(api: APIClient, **body: Any) -> Any:
    return api.post("/api/v1/assets/", body, format="json")


@pytest.mark.parametrize(
    ("body", "kind", "reference"),
    [
        ({"handle": HANDLE}, "handle", HANDLE),
        ({"reference": HANDLE}, "handle", HANDLE),
        ({"kind": "handle", "reference": HANDLE}, "handle", HANDLE),
        (
            {"url": "https://example.com/a b.jpg?x=1"},
            "url",
            "https://example.com/a%20b.jpg?x=1",
        ),
        ({"reference": "https://example.com/a.jpg"}, "url", "https://example.com/a.jpg"),
        ({"alias": "pictures", "path": "/a/b.jpg"}, "alias", "src://pictures/a/b.jpg"),
        ({"reference": "src://pictures/a.jpg"}, "alias", "src://pictures/a.jpg"),
    ],
)
def test_a_file_is_registered_by_handle_url_or_alias_path(
    api: APIClient, body: dict[str, str], kind: str, reference: str
) -> None:
    reply = register(api, **body)
    assert reply.status_code == 201, reply.json()
    assert (reply.json()["kind"], reply.json()["reference"]) == (kind, reference)
    assert reply["Location"].endswith(f"/api/v1/assets/{reply.json()['id']}/")
    assert api.get(reply["Location"]).json() == reply.json()


def test_a_known_file_answers_200_and_is_refreshed(api: APIClient) -> None:
    first = register(api, handle=HANDLE, filename="a.jpg")
    again = register(api, handle=HANDLE, mimetype="image/png", upload_tags={"id": "7"})
    assert again.status_code == 200
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["filename"] == "a.jpg"
    assert again.json()["mimetype"] == "image/png"
    assert again.json()["upload_tags"] == {"id": "7"}
    assert Asset.objects.count() == 1


def test_registering_notes_who_did_it(client_of: Any) -> None:
    reply = register(client_of("add_asset", "view_asset"), handle=HANDLE)
    assert reply.json()["uploader"] == "client0"


def test_registering_an_archived_file_restores_it(api: APIClient) -> None:
    asset = tagged(HANDLE, {"sky": 90})
    registry.archive(asset.pk)
    reply = register(api, handle=HANDLE)
    assert reply.status_code == 200
    assert [tag["key"] for tag in reply.json()["tags"]] == ["sky"]


@pytest.mark.parametrize(
    ("body", "state"),
    [
        ({}, "queued"),
        ({"mimetype": "text/plain"}, "new"),
        ({"mimetype": "text/plain", "tag": True}, "queued"),
        ({"tag": False}, "new"),
        ({"tag": None}, "queued"),
    ],
)
def test_tag_overrules_what_is_tagged_by_itself(
    api: APIClient, body: dict[str, Any], state: str
) -> None:
    reply = register(api, handle=HANDLE, **body)
    assert reply.json()["tagging"]["state"] == state
    if state == "queued":
        assert Asset.objects.get().queued_by == "api"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "reference"),
        ({"handle": HANDLE, "url": "https://example.com"}, "reference"),
        ({"kind": "handle", "handle": HANDLE}, "reference"),
        ({"alias": "pictures"}, "reference"),
        ({"handle": "not a handle"}, "handle"),
        ({"handle": f" {HANDLE}"}, "handle"),
        ({"alias": "pictures ", "path": "a.jpg"}, "path"),
        ({"url": "ftp://example.com/a"}, "url"),
        ({"url": "https://me:pass@example.com/a"}, "url"),
        ({"url": "http://169.254.169.254/latest/meta-data/"}, "url"),
        ({"reference": "http://localhost/a.jpg"}, "reference"),
        ({"kind": "url", "reference": "http://[::1]/a.jpg"}, "reference"),
        ({"alias": "pictures", "path": "../a"}, "path"),
        ({"kind": "url", "reference": HANDLE}, "reference"),
        ({"kind": "gopher", "reference": HANDLE}, "kind"),
        ({"handle": None}, "handle"),
        ({"handle": ["a"]}, "handle"),
        ({"handle": "a\x00b"}, "handle"),
        ({"handle": HANDLE, "filename": "x" * 1025}, "filename"),
        ({"handle": HANDLE, "tag": "perhaps"}, "tag"),
        ({"handle": HANDLE, "upload_tags": ["a"]}, "upload_tags"),
        ({"handle": HANDLE, "upload_tags": {"a": {"b": "c"}}}, "upload_tags.a"),
        ({"handle": HANDLE, "upload_tags": {"a": "x" * 257}}, "upload_tags.a"),
        ({"handle": HANDLE, "upload_tags": {"x" * 129: "a"}}, "upload_tags"),
        ({"handle": HANDLE, "upload_tags": {str(n): "" for n in range(11)}}, "upload_tags"),
        ({"handle": HANDLE, "file_name": "a.jpg"}, "file_name"),
    ],
)
def test_what_cannot_be_registered_is_refused_at_the_field(
    api: APIClient, body: dict[str, Any], field: str
) -> None:
    reply = register(api, **body)
    assert reply.status_code == 400
    assert reply.json()["type"] == INVALID_VALUES.type
    assert [error["field"] for error in reply.json()["errors"]] == [field]
    assert not Asset.objects.exists()


def test_private_hosts_are_registered_where_the_setting_says_so(
    api: APIClient, settings: Any
) -> None:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "ALLOW_PRIVATE_URLS": True}
    assert register(api, url="http://localhost:8000/a.jpg").status_code == 201


def test_a_refused_url_is_not_repeated_with_its_password(api: APIClient) -> None:
    reply = register(api, url="https://me:hunter2@example.com/a")
    assert b"hunter2" not in reply.content


def test_having_a_file_tagged_on_purpose_needs_the_permission(client_of: Any) -> None:
    api = client_of("add_asset", "view_asset")
    assert register(api, handle=HANDLE, tag=True).status_code == 403
    assert register(api, handle=HANDLE, tag=False).status_code == 201


def test_retag_queues_an_asset_that_has_its_tags(api: APIClient) -> None:
    asset = tagged(HANDLE, {"sky": 90})
    reply = api.post(f"/api/v1/assets/{asset.pk}/retag/")
    assert reply.status_code == 202
    assert reply.json() == {"id": asset.pk, "state": "queued", "queued": True}


def test_retag_makes_a_queued_asset_due_and_leaves_a_running_one_alone(api: APIClient) -> None:
    asset = tagged(HANDLE)
    api.post(f"/api/v1/assets/{asset.pk}/retag/")
    Asset.objects.update(due_at=timezone.now() + timedelta(hours=1))
    reply = api.post(f"/api/v1/assets/{asset.pk}/retag/")
    assert reply.status_code == 202
    assert reply.json() == {"id": asset.pk, "state": "queued", "queued": True}
    assert Asset.objects.get().due_at <= timezone.now()
    Asset.objects.update(tagging_state=Asset.State.RUNNING, due_at=timezone.now())
    reply = api.post(f"/api/v1/assets/{asset.pk}/retag/")
    assert reply.json() == {"id": asset.pk, "state": "running", "queued": False}


def test_delete_archives_the_asset_and_keeps_its_row(api: APIClient) -> None:
    asset = tagged(HANDLE, {"sky": 90})
    assert api.delete(f"/api/v1/assets/{asset.pk}/").status_code == 204
    asset.refresh_from_db()
    assert asset.deleted_at
    assert asset.asset_tags.count() == 1
    assert api.delete(f"/api/v1/assets/{asset.pk}/").status_code == 404


def test_what_is_known_of_a_file_is_changed_where_something_is_said(api: APIClient) -> None:
    asset = tagged(HANDLE, {"sky": 90}, filename="a.jpg", upload_tags={"id": "7", "x": "y"})
    path = f"/api/v1/assets/{asset.pk}/"
    before = api.get(path).json()
    reply = api.patch(
        path, {"mimetype": "image/png", "upload_tags": {"id": "8"}}, format="json"
    )
    assert reply.status_code == 200
    changed = {"mimetype": "image/png", "upload_tags": {"id": "8"}}
    moment = {"updated_at": reply.json()["updated_at"]}
    assert reply.json() == before | changed | moment
    assert api.patch(path, {}, format="json").json()["filename"] == "a.jpg"
    assert api.patch(path, {"filename": ""}, format="json").json()["filename"] == ""


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"filename": None}, "filename"),
        ({"mimetype": "x" * 256}, "mimetype"),
        ({"upload_tags": {"a": "1", "b": []}}, "upload_tags.b"),
        ({"upload_tags": {"a": 1}}, "upload_tags.a"),
        ({"reference": "other"}, "reference"),
        ({"size": 7}, "size"),
        (["a"], ""),
    ],
)
def test_what_cannot_be_changed_is_refused_at_the_field(
    api: APIClient, body: Any, field: str
) -> None:
    asset = tagged(HANDLE)
    reply = api.patch(f"/api/v1/assets/{asset.pk}/", body, format="json")
    assert reply.status_code == 400
    assert [error["field"] for error in reply.json()["errors"]] == [field]


def test_later_news_of_filestack_replaces_what_a_person_said(api: APIClient) -> None:
    asset = tagged(HANDLE, filename="a.jpg")
    api.patch(f"/api/v1/assets/{asset.pk}/", {"filename": "b.jpg"}, format="json")
    source = Source.handle(HANDLE)
    for hours, name in ((-1, "b.jpg"), (1, "c.jpg")):
        moment = timezone.now() + timedelta(hours=hours)
        registry.register(source, facts=registry.Facts(filename="c.jpg"), at=moment)
        asset.refresh_from_db()
        assert asset.filename == name


def test_urls_that_make_the_same_request_are_one_asset(api: APIClient) -> None:
    spellings = (
        "https://h.com/a b.jpg",
        "https://h.com/a%20b.jpg",
        "HTTPS://H.com:443/a b.jpg#x",
    )
    replies = [register(api, url=url) for url in spellings]
    assert [reply.status_code for reply in replies] == [201, 200, 200]
    assert {reply.json()["reference"] for reply in replies} == {"https://h.com/a%20b.jpg"}
    assert register(api, url="https://h.com/a%2520b.jpg").status_code == 201
    for url in spellings:
        page = api.get("/api/v1/assets/", {"q": f'handle:"{url}"'}).json()
        assert [row["id"] for row in page["results"]] == [replies[0].json()["id"]]
