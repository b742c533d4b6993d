"""Uploads by scope: what each user may upload, where to, and which facts are trusted afterwards."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import checks
from django.db.models import Q
from django.http import HttpRequest
from django.test import Client

from filestack_tags.assets.upload_policy import UploadRules
from filestack_tags.filestack.client import FilestackClient
from filestack_tags.filestack.storage import Storage
from filestack_tags.models import Asset
from filestack_tags.testing import Account, EmulatorApp, EmulatorServer
from filestack_tags.testing.policies import CALLS, PolicyRefused, Wanted, check
from tests.api.rows import person
from tests.testing.surroundings import BASE, config, picture, security

pytestmark = pytest.mark.django_db

SECRET = Account().app_secret


def tenant_scope(user: User) -> Q | None:
    return None if user.is_superuser else Q(container=f"bucket-{user.username}")


def tenant_rules(user: User, request: HttpRequest) -> UploadRules | None:
    assert request.user == user
    if user.username == "nobody":
        return None
    storage = Storage(container=f"bucket-{user.username}", path="in")
    return UploadRules(storage=storage, max_size=1000 if user.username == "small" else 10**6)


def wrong_rules(user: User, request: HttpRequest) -> Any:
    return {"path": "in/"}


@pytest.fixture
def emulator(settings: Any) -> Iterator[EmulatorApp]:
    with EmulatorApp(config()) as app, EmulatorServer(app) as server:
        settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
            "CDN_URL": server.url,
            "API_URL": f"{server.url}/api",
            "UPLOAD_URL": server.url,
            "ASSET_SCOPE": f"{__name__}.tenant_scope",
            "UPLOAD_RULES": f"{__name__}.tenant_rules",
        }
        yield app


@dataclass(frozen=True)
class Door:
    """One entry point: how a permit is requested, and how a stored file is registered."""

    permit: str
    complete: str
    is_json: bool

    def post(self, client: Client, place: str, body: dict[str, Any]) -> Any:
        if self.is_json:
            return client.post(place, json.dumps(body), content_type="application/json")
        return client.post(place, body)


DOORS = {
    "api": Door("/api/v1/uploads/permit/", "/api/v1/uploads/complete/", is_json=True),
    "admin": Door(
        "/admin/filestack_tags/asset/upload/permit/",
        "/admin/filestack_tags/asset/upload/stored/",
        is_json=False,
    ),
}


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> Door:
    return DOORS[request.param]


@pytest.fixture
def user_of() -> Callable[[str], Client]:
    def make(name: str) -> Client:
        client = Client()
        client.force_login(person(name, "add_asset", "view_asset", is_staff=True))
        return client

    return make


def put(emulator: EmulatorApp, container: str, path: str = "in/", size: int = 0) -> str:
    """Store a file with a policy for this container; return its handle."""
    file = emulator.files.add(
        picture() + bytes(size),
        filename="a.jpg",
        mimetype="image/jpeg",
        options={"container": container, "path": path},
        base_url=BASE,
    )
    return file.handle


def allows(permit: dict[str, Any], **wanted: Any) -> bool:
    try:
        check(permit["policy"], permit["signature"], SECRET, Wanted("store", **wanted))
    except PolicyRefused:
        return False
    return True


def test_a_permit_stores_files_of_its_tenant_alone(
    emulator: EmulatorApp, door: Door, user_of: Callable[[str], Client]
) -> None:
    permit = door.post(user_of("a"), door.permit, {}).json()

    assert permit["store"] == {"location": "s3", "container": "bucket-a", "path": "in/"}
    assert allows(permit, container="bucket-a", path="in/", size=10**6)
    assert not allows(permit, container="bucket-a", path="in/", size=10**6 + 1)
    for container in ("bucket-b", "bucket-ab", "xbucket-a", "", "bucket-a|bucket-b"):
        assert not allows(permit, container=container, path="in/")
    for path in ("", "/", "b/private/", "/b/in/", "inner/", "../in/"):
        assert not allows(permit, container="bucket-a", path=path)


def test_a_permit_allows_no_call_but_storing(
    emulator: EmulatorApp, door: Door, user_of: Callable[[str], Client]
) -> None:
    permit = door.post(user_of("a"), door.permit, {}).json()
    allowed = set()
    for call in CALLS:
        with suppress(PolicyRefused):
            check(permit["policy"], permit["signature"], SECRET, Wanted(call))
            allowed.add(call)
    assert allowed == {"pick", "store"}


def test_a_name_is_never_read_as_an_expression(settings: Any) -> None:
    from filestack_tags.assets.upload_policy import permit

    storage = Storage(container="a.b|c", path="x+/(y)/")
    made = permit(UploadRules(storage=storage))
    policy = json.loads(base64.urlsafe_b64decode(made.policy))
    signed = {"policy": made.policy, "signature": made.signature}
    assert policy["container"] == r"^a\.b\|c$"
    assert allows(signed, container="a.b|c", path="x+/(y)/z/")
    assert not allows(signed, container="c", path="x+/(y)/")
    assert not allows(signed, container="axb|c", path="xx/y/")


def test_a_user_without_rules_uploads_nothing(
    emulator: EmulatorApp, door: Door, user_of: Callable[[str], Client]
) -> None:
    client, handle = user_of("nobody"), put(emulator, "bucket-nobody")

    assert door.post(client, door.permit, {}).status_code == 403
    assert door.post(client, door.complete, {"handle": handle}).status_code == 400
    assert not Asset.objects.exists()


def test_the_upload_page_of_a_user_without_rules_says_so(
    emulator: EmulatorApp, user_of: Callable[[str], Client]
) -> None:
    shown = user_of("nobody").get("/admin/filestack_tags/asset/upload/").content.decode()
    assert "You do not have permission to upload files." in shown
    assert "upload.js" not in shown


def test_what_filestack_says_of_a_file_counts_and_not_what_the_client_says(
    emulator: EmulatorApp, door: Door, user_of: Callable[[str], Client]
) -> None:
    handle = put(emulator, "bucket-a")
    said = {"handle": handle, "container": "bucket-b", "key": "b/private/x.jpg", "size": 1}

    answer = door.post(user_of("a"), door.complete, said)

    assert answer.status_code in (200, 201)
    asset = Asset.objects.get()
    assert (asset.container, asset.size) == ("bucket-a", len(picture()))
    assert asset.key.startswith("in/")
    assert (asset.width, asset.height) == (40, 20)


@pytest.mark.parametrize(
    "place",
    [
        {"container": "bucket-b"},
        {"container": "bucket-a", "path": "elsewhere/"},
        {"container": "bucket-a", "path": ""},
        {"container": "bucket-a", "size": 10**6},
    ],
)
def test_a_file_outside_the_rules_is_refused_whatever_is_said_of_it(
    emulator: EmulatorApp, door: Door, user_of: Callable[[str], Client], place: dict[str, Any]
) -> None:
    said = {"handle": put(emulator, **place), "container": "bucket-a", "key": "in/x.jpg"}

    assert door.post(user_of("a"), door.complete, said).status_code == 400
    assert not Asset.objects.exists()


@pytest.mark.parametrize("rules", ["tenant_rules", ""])
def test_the_file_of_another_tenant_is_refused_with_or_without_rules(
    emulator: EmulatorApp,
    door: Door,
    user_of: Callable[[str], Client],
    settings: Any,
    rules: str,
) -> None:
    path = f"{__name__}.{rules}" if rules else ""
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"UPLOAD_RULES": path}
    said = {"handle": put(emulator, "bucket-b"), "container": "bucket-a", "key": "in/x.jpg"}

    assert door.post(user_of("a"), door.complete, said).status_code == 400
    assert not Asset.objects.exists()


def test_a_handle_that_filestack_does_not_have_is_refused(
    emulator: EmulatorApp, door: Door, user_of: Callable[[str], Client]
) -> None:
    said = {"handle": "nothingthere", "container": "bucket-a", "key": "in/x.jpg"}
    assert door.post(user_of("a"), door.complete, said).status_code == 400
    assert not Asset.objects.exists()


def test_without_an_answer_of_filestack_nothing_is_registered(
    emulator: EmulatorApp, door: Door, user_of: Callable[[str], Client]
) -> None:
    client, handle = user_of("a"), put(emulator, "bucket-a")
    emulator.faults.add("drop")
    answer = door.post(client, door.complete, {"handle": handle})
    assert answer.status_code == 503
    assert "again" in answer.content.decode()
    assert not Asset.objects.exists()
    assert door.post(client, door.complete, {"handle": handle}).status_code in (200, 201)


def test_rules_that_are_none_are_an_error_of_the_host(
    emulator: EmulatorApp, door: Door, user_of: Callable[[str], Client], settings: Any
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "UPLOAD_RULES": f"{__name__}.wrong_rules"
    }
    assert door.post(user_of("a"), door.permit, {}).status_code == 503


# One setting for everything that stores


STORAGE = {
    "location": "azure",
    "region": "eu",
    "container": "box",
    "path": "in",
    "access": "private",
}


def test_everything_that_stores_uses_the_same_storage(
    emulator: EmulatorApp, door: Door, user_of: Callable[[str], Client], settings: Any
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "UPLOAD_RULES": "",
        "STORAGE": STORAGE,
    }
    permit = door.post(user_of("a"), door.permit, {}).json()
    assert permit["store"] == STORAGE | {"path": "in/"}

    with FilestackClient.from_settings() as client:
        stored = client.store_bytes(picture(), filename="a.jpg", mimetype="image/jpeg")
        cdn = settings.FILESTACK_TAGS["CDN_URL"]
        fetched = client.store_url(f"{cdn}/{security('read')}/{stored.handle}")
    for reply in (stored, fetched):
        file = emulator.files.get(reply.handle)
        assert (file.location, file.container) == ("azure", "box")
        assert file.key.startswith("in/")


def ids() -> list[str]:
    return sorted(
        str(message.id).removeprefix("filestack_tags.")
        for message in checks.run_checks(tags=["security"])
        if str(message.id).startswith("filestack_tags.")
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, []),
        ({"ASSET_SCOPE": f"{__name__}.tenant_scope"}, ["W050"]),
        (
            {
                "ASSET_SCOPE": f"{__name__}.tenant_scope",
                "UPLOAD_RULES": f"{__name__}.tenant_rules",
            },
            [],
        ),
        ({"UPLOAD_RULES": f"{__name__}.nothing"}, ["E052"]),
        ({"UPLOAD_RULES": f"{__name__}.SECRET"}, ["E052"]),
        ({"STORAGE": {"location": "ftp"}}, ["E051"]),
        ({"STORAGE": {"bucket": "a"}}, ["E051"]),
        ({"STORAGE": {"access": "all"}}, ["E051"]),
        ({"STORAGE": {"path": "a/../b"}}, ["E051"]),
        ({"STORAGE": {"location": "S3", "path": "a"}}, []),
    ],
)
def test_checks_name_what_cannot_work(
    settings: Any, values: dict[str, Any], expected: list[str]
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | values
    assert ids() == expected
