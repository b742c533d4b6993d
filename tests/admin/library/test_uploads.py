"""The upload page, its permits, and registering and watching the files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import time_machine
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from filestack_tags import tasks
from filestack_tags.admin.library.uploads import PERMITS_PER_MINUTE, _limiter
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset
from filestack_tags.testing.payloads import fp_upload
from filestack_tags.testing.policies import Wanted, check
from filestack_tags.testing.webhooks import signed_request
from tests.api.rows import tagged

pytestmark = pytest.mark.django_db
UPLOAD = "/admin/filestack_tags/asset/upload/"
STORED = {
    "handle": "VJQTvCboRVivWJ2BpKgd",
    "filename": "sky.jpg",
    "mimetype": "image/jpeg",
    "size": "17",
    "container": "box",
    "key": "k_sky.jpg",
    "status": "Stored",
}
VIEWS = [("get", ""), ("post", "permit/"), ("post", "stored/"), ("get", "tags/")]


@pytest.fixture(autouse=True)
def _nobody_has_asked_yet() -> Iterator[None]:
    _limiter.cache_clear()
    yield
    _limiter.cache_clear()


@pytest.mark.parametrize(("method", "path"), VIEWS)
def test_who_may_not_add_assets_gets_nothing(
    client_of: Callable[..., Client], method: str, path: str
) -> None:
    client = client_of("view_asset", "change_asset", "delete_asset", "tag_asset")

    response = getattr(client, method)(UPLOAD + path, STORED if path == "stored/" else {})

    assert response.status_code == 403
    assert not Asset.objects.exists()
    assert UPLOAD not in client.get("/admin/filestack_tags/asset/").content.decode()


@pytest.mark.parametrize(("method", "path"), VIEWS)
def test_nobody_gets_in_without_logging_in_or_by_another_method(
    editor: Client, method: str, path: str
) -> None:
    assert getattr(Client(), method)(UPLOAD + path).status_code == 302
    other = {"get": "post", "post": "get"}[method]
    assert getattr(editor, other)(UPLOAD + path).status_code == 405


@pytest.mark.parametrize("path", ["permit/", "stored/"])
def test_another_site_cannot_ask(path: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root"))

    assert client.post(UPLOAD + path, STORED).status_code == 403
    assert not Asset.objects.exists()


def test_the_page_says_its_limits_and_holds_nothing_inline(
    editor: Client, page: Callable[..., Any], settings: Any
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "UPLOAD_MAX_SIZE": 3 * 1024 * 1024,
        "UPLOAD_MAX_FILES": 7,
        "UPLOAD_MIMETYPES": ["image/png", "image/jpeg"],
    }
    response = editor.get(UPLOAD)
    shown = page(response)

    assert "Allowed types: image/png, image/jpeg. Up to 3.0" in shown.text
    assert "7 files at a time" in shown.text
    assert not shown.inline
    assert shown.links["register"] == "/admin/filestack_tags/asset/add/"
    assert 'accept="image/png,image/jpeg"' in response.content.decode()
    assert "no-store" in response.headers["Cache-Control"]
    for secret in (settings.FILESTACK_TAGS["APP_SECRET"], "eyJ"):
        assert secret not in response.content.decode()


@pytest.mark.parametrize("missing", ["API_KEY", "APP_SECRET"])
def test_without_key_or_secret_it_says_so(editor: Client, settings: Any, missing: str) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {missing: ""}

    shown = editor.get(UPLOAD).content.decode()
    refused = editor.post(f"{UPLOAD}permit/")

    assert missing in shown
    assert "upload.js" not in shown
    assert refused.status_code == 503
    assert missing in refused.json()["error"]


def test_a_permit_holds_a_policy_that_stores_and_the_host_but_no_secret(
    editor: Client, settings: Any
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"STORAGE": {"path": "in/"}}

    response = editor.post(f"{UPLOAD}permit/")
    permit = response.json()

    secret = settings.FILESTACK_TAGS["APP_SECRET"]
    check(permit["policy"], permit["signature"], secret, Wanted("store", path="in/"))
    assert permit["api_key"] == "AKEY"
    assert permit["upload_url"] == "https://upload.filestackapi.com"
    assert permit["store"] == {"location": "s3", "path": "in/"}
    assert 595 < permit["expires_in"] <= 600
    assert secret not in response.content.decode()
    assert "no-store" in response.headers["Cache-Control"]


def test_permits_are_given_only_so_often_to_one_person(
    editor: Client, client_of: Callable[..., Client]
) -> None:
    with time_machine.travel("2026-11-28 12:00:30Z", tick=False):
        answers = [editor.post(f"{UPLOAD}permit/") for _ in range(PERMITS_PER_MINUTE + 1)]

    assert [answer.status_code for answer in answers[:-1]] == [200] * PERMITS_PER_MINUTE
    assert answers[-1].status_code == 429
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 61
    assert "Try again in" in answers[-1].json()["error"]
    assert client_of("add_asset").post(f"{UPLOAD}permit/").status_code == 200


def test_a_stored_file_becomes_an_asset_of_its_uploader(editor: Client) -> None:
    answer = editor.post(f"{UPLOAD}stored/", STORED).json()

    asset = Asset.objects.get()
    assert asset.reference == STORED["handle"]
    assert (asset.filename, asset.mimetype, asset.size) == ("sky.jpg", "image/jpeg", 17)
    assert (asset.container, asset.key, asset.store_status) == ("box", "k_sky.jpg", "Stored")
    assert asset.uploader is not None
    assert asset.uploader.username == "staff0"
    assert asset.tagging_state == "queued"
    assert asset.runs.count() == 0
    (row,) = answer["assets"]
    assert (row["id"], row["state"], row["settled"]) == (asset.pk, "queued", False)
    assert "sky.jpg" in row["html"]
    assert LogEntry.objects.get().object_id == str(asset.pk)


@pytest.mark.parametrize("webhook_first", [True, False])
def test_webhook_and_registration_make_one_asset(editor: Client, webhook_first: bool) -> None:
    body, headers = signed_request(fp_upload(STORED["handle"]), "whsec-A")

    def deliver() -> None:
        reply = editor.generic(
            "POST",
            "/filestack/webhook/",
            body,
            content_type="application/json",
            headers=headers,
        )
        assert reply.status_code == 200

    def register() -> None:
        assert editor.post(f"{UPLOAD}stored/", STORED).status_code == 200

    for step in (deliver, register) if webhook_first else (register, deliver):
        step()
    tasks.process_inbox()

    asset = Asset.objects.get()
    assert asset.uploader is not None


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"handle": ""}, "required"),
        ({"handle": "https://example.com/a.jpg"}, "handle"),
        ({"handle": "a\0b"}, "Null"),
        ({"handle": "x" * 65}, "64"),
        ({"size": "large"}, "number"),
        ({"size": "-1"}, "0"),
        ({"filename": "x" * 1025}, "1024"),
    ],
)
def test_what_filestack_cannot_have_said_is_refused_in_words(
    editor: Client, changes: dict[str, str], word: str
) -> None:
    answer = editor.post(f"{UPLOAD}stored/", STORED | changes)

    assert answer.status_code == 400
    assert word in answer.json()["error"]
    assert not Asset.objects.exists()


def test_tags_and_failures_are_told_of_own_uploads_alone(
    editor: Client, django_assert_max_num_queries: Any
) -> None:
    me = User.objects.get(username="staff0")
    mine = tagged("h1", {"sky": 93, "sea": 80}, filename="sea.jpg", mimetype="image/jpeg")
    failed = tagged("h2")
    others = tagged("h3", {"sky": 93})
    Asset.objects.filter(pk__in=(mine.pk, failed.pk)).update(uploader=me)
    Asset.objects.filter(pk=failed.pk).update(
        tagging_state="failed", due_at=None, error="The policy lacks convert."
    )
    query = "&".join(f"id={pk}" for pk in (mine.pk, failed.pk, others.pk))

    # Session, person, their permissions and those of their groups, assets, tags.
    with django_assert_max_num_queries(6):
        answer = editor.get(f"{UPLOAD}tags/?{query}").json()

    rows = {row["id"]: row for row in answer["assets"]}
    assert rows.keys() == {mine.pk, failed.pk}
    assert all(row["settled"] for row in rows.values())
    assert "sky" in rows[mine.pk]["html"]
    assert "93" in rows[mine.pk]["html"]
    assert f"/asset/{mine.pk}/change/" in rows[mine.pk]["html"]
    assert "The policy lacks convert." in rows[failed.pk]["html"]


def test_who_may_not_look_is_given_no_link(client_of: Callable[..., Client]) -> None:
    (row,) = client_of("add_asset").post(f"{UPLOAD}stored/", STORED).json()["assets"]

    assert "sky.jpg" in row["html"]
    assert "href" not in row["html"]


@pytest.mark.parametrize("query", ["id=x", "id=", f"id={'9' * 19}", "&".join(["id=1"] * 101)])
def test_ids_that_are_none_are_refused(editor: Client, query: str) -> None:
    answer = editor.get(f"{UPLOAD}tags/?{query}")

    assert answer.status_code == 400
    assert "100" in answer.json()["error"]


def test_names_are_written_as_text(editor: Client) -> None:
    script = "<script>alert(1)</script>.jpg"

    (row,) = editor.post(f"{UPLOAD}stored/", STORED | {"filename": script}).json()["assets"]

    assert "<script>" not in row["html"]


def test_a_known_file_is_refreshed_not_made_twice(editor: Client) -> None:
    known, _ = tasks.register(Source.handle(STORED["handle"]), tag=False)

    (row,) = editor.post(f"{UPLOAD}stored/", STORED).json()["assets"]

    assert row["id"] == known.pk
    assert not LogEntry.objects.exists()
