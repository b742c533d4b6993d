"""Thumbnails: passed on by the app, so that no page contains a policy."""

from __future__ import annotations

import io
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from django.db.models import Q
from django.test import Client
from django.utils import timezone
from PIL import Image

from filestack_tags.assets import registry, thumbnails
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset
from filestack_tags.testing import Account, EmulatorApp, EmulatorServer
from tests.admin.conftest import Page
from tests.api.rows import person, tagged
from tests.testing.surroundings import BASE, config, picture

pytestmark = pytest.mark.django_db

LIST = "/admin/filestack_tags/asset/"


def no_urls(user: Any) -> Q:
    """The scope of a test: everything but external URLs."""
    return ~Q(kind="url")


@pytest.fixture(autouse=True)
def _filestack_answers() -> Iterator[None]:
    yield
    thumbnails._outage.failures, thumbnails._outage.paused_until = 0, 0.0


@pytest.fixture
def emulator(settings: Any, tmp_path: Path) -> Iterator[EmulatorApp]:
    (tmp_path / "a.jpg").write_bytes(picture("blue", (1000, 1200)))
    account = Account(aliases={"shop": tmp_path})
    with EmulatorApp(config(account=account)) as app, EmulatorServer(app) as server:
        settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
            "CDN_URL": server.url,
            "API_URL": f"{server.url}/api",
        }
        yield app


class Site:
    """A web site that counts requests; its response is configurable."""

    def __init__(self) -> None:
        self.status, self.content, self.type = 200, picture("red", (1000, 1200)), "image/jpeg"
        self.requests = 0

    def __enter__(self) -> Site:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.requests += 1
                self.send_response(site.status)
                self.send_header("Content-Type", site.type)
                self.send_header("Content-Length", str(len(site.content)))
                self.end_headers()
                self.wfile.write(site.content)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture
def of_each_kind(emulator: EmulatorApp, site: Site) -> dict[str, Asset]:
    file = emulator.files.add(
        picture("green", (1000, 1200)),
        filename="green.jpg",
        mimetype="image/jpeg",
        options={},
        base_url=BASE,
    )
    return {
        "handle": tagged(file.handle, {"sky": 90}),
        "url": tagged(f"{site.url}/a%20b.jpg?x=1", {"sky": 80}),
        "alias": tagged("src://shop/a.jpg", {"sky": 70}),
    }


def staff(name: str, *permissions: str) -> Client:
    client = Client()
    client.force_login(person(name, *permissions, is_staff=True))
    return client


def address(asset: Asset, height: int = 320) -> str:
    return f"{LIST}{asset.pk}/thumbnail/?height={height}"


def test_no_page_and_no_answer_holds_a_policy(of_each_kind: dict[str, Asset]) -> None:
    editor = staff("ann", "view_asset", "add_asset", "change_asset", "tag_asset", "view_tag")
    pages = [
        LIST,
        f"{LIST}?view=table",
        f"{LIST}?q=sky",
        f"{LIST}review/?q=sky",
        *(f"{LIST}{asset.pk}/change/" for asset in of_each_kind.values()),
        "/api/v1/assets/",
        *(f"/api/v1/assets/{asset.pk}/" for asset in of_each_kind.values()),
    ]
    for place in pages:
        shown = editor.get(place)
        assert shown.status_code == 200, place
        text = shown.content.decode()
        assert "security=" not in text
        assert "signature" not in text
        assert "eyJ" not in text, place  # base64 of JSON
    shown = Page(editor.get(f"{LIST}?view=table"))
    pictures = [row for row in shown.images if row.get("loading")]
    assert len(pictures) == 3
    for each in pictures:
        assert str(each["src"]).startswith(LIST)
        assert editor.get(str(each["src"])).status_code == 200


@pytest.mark.parametrize("kind", ["handle", "url", "alias"])
def test_the_picture_of_each_kind_is_passed_on(
    of_each_kind: dict[str, Asset], kind: str
) -> None:
    answer = staff("ann", "view_asset").get(address(of_each_kind[kind]))

    assert answer.status_code == 200
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.height == 320
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "private, max-age=3600"
    assert "Cookie" in answer.headers["Vary"]


def test_a_picture_that_the_browser_has_is_not_fetched_again(
    of_each_kind: dict[str, Asset], site: Site
) -> None:
    asset, client = of_each_kind["url"], staff("ann", "view_asset")
    first = client.get(address(asset))
    again = client.get(address(asset), headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, again.status_code, site.requests) == (200, 304, 1)

    registry.content_changed(asset.pk, facts=registry.Facts(), at=timezone.now())
    asset.refresh_from_db()
    changed = client.get(address(asset), headers={"If-None-Match": first.headers["ETag"]})
    assert (changed.status_code, site.requests) == (200, 2)


def test_only_who_may_see_an_asset_gets_its_picture(
    of_each_kind: dict[str, Asset], settings: Any
) -> None:
    asset = of_each_kind["url"]
    viewer, adder, other = (
        staff("ann", "view_asset"),
        staff("bob", "add_asset"),
        staff("eve", "view_tag"),
    )
    assert viewer.get(address(asset)).status_code == 200
    assert adder.get(address(asset)).status_code == 404
    assert other.get(address(asset)).status_code == 403
    assert Client().get(address(asset)).status_code == 302
    Asset.objects.filter(pk=asset.pk).update(uploader=int(adder.session["_auth_user_id"]))
    assert adder.get(address(asset)).status_code == 200
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"ASSET_SCOPE": f"{__name__}.no_urls"}
    assert viewer.get(address(asset)).status_code == 404
    assert adder.get(address(asset)).status_code == 404
    assert viewer.get(address(of_each_kind["alias"])).status_code == 200
    assert viewer.post(address(of_each_kind["alias"])).status_code == 405


@pytest.mark.parametrize("height", ["", "1", "0", "-1", "321", "320.0", "٣٢٠", "9" * 30])
def test_users_do_not_choose_other_heights(
    of_each_kind: dict[str, Asset], site: Site, height: str
) -> None:
    place = f"{LIST}{of_each_kind['url'].pk}/thumbnail/?height={height}"
    assert staff("ann", "view_asset").get(place).status_code == 404
    assert site.requests == 0


@pytest.mark.parametrize(
    ("changes", "tags"),
    [
        ({"mimetype": "application/pdf"}, {}),
        ({"deleted_at": "2026-11-25T12:00Z"}, {}),
        ({}, {"APP_SECRET": ""}),
        ({}, {"API_KEY": ""}),
    ],
)
def test_what_has_no_picture_is_not_asked_about(
    of_each_kind: dict[str, Asset],
    site: Site,
    settings: Any,
    changes: dict[str, str],
    tags: dict[str, str],
) -> None:
    asset, client = of_each_kind["url"], staff("ann", "view_asset")
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | tags
    Asset.objects.filter(pk=asset.pk).update(**changes)
    assert client.get(address(asset)).status_code == 404
    assert "no preview" in Page(client.get(f"{LIST}{asset.pk}/change/")).text
    assert site.requests == 0


@pytest.mark.parametrize(
    "reply",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        b"<!doctype html><script>alert(1)</script>" + b" " * 2000,
        b"",
        b"\xff\xd8\xff" + bytes(thumbnails.MAX_BYTES),
    ],
)
def test_what_is_no_small_picture_is_not_passed_on(
    site: Site, settings: Any, reply: bytes
) -> None:
    # As from a CDN_URL with another server.
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"CDN_URL": site.url}
    asset, _ = registry.register(Source.handle("abc"))
    site.content = reply
    answer = staff("ann", "view_asset").get(address(asset))
    assert (answer.status_code, answer.content) == (404, b"")
    assert "no-store" in answer.headers["Cache-Control"]


def test_a_redirect_is_not_followed(site: Site, settings: Any) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"CDN_URL": site.url}
    site.status = 302
    asset, _ = registry.register(Source.handle("abc"))
    assert staff("ann", "view_asset").get(address(asset)).status_code == 404
    assert site.requests == 1


def test_an_outage_of_filestack_does_not_keep_every_request_waiting(
    of_each_kind: dict[str, Asset], emulator: EmulatorApp
) -> None:
    client = staff("ann", "view_asset")
    asset = of_each_kind["url"]
    for _ in range(thumbnails.FAILURES):
        emulator.faults.add("drop")
        answer = client.get(address(asset))
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "30"
    # Filestack answers again, but is not called.
    assert client.get(address(asset)).status_code == 503


def test_one_file_that_cannot_be_read_does_not_pause_the_others(
    of_each_kind: dict[str, Asset], emulator: EmulatorApp
) -> None:
    client = staff("ann", "view_asset")
    for _ in range(2 * thumbnails.FAILURES):
        emulator.faults.add("server_error")
        assert client.get(address(of_each_kind["url"])).status_code == 503
    assert client.get(address(of_each_kind["handle"])).status_code == 200


def test_a_height_out_of_range_is_an_error_of_the_host(rf: Any) -> None:
    asset, _ = registry.register(Source.handle("abc"))
    for height in (0, thumbnails.MAX_HEIGHT + 1):
        with pytest.raises(ValueError, match="pixels"):
            thumbnails.thumbnail_response(rf.get("/"), asset, height=height)
