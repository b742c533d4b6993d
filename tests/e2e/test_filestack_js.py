"""filestack-js as vendored, in a real browser, with only its hosts pointed at the emulator:
preflights, checksums and signatures included. The page's policy is a strict one.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from filestack_tags.testing import EmulatorApp, EmulatorServer
from tests.testing.surroundings import WORKFLOW, config, picture, policy, signed
from tests.vendor import BUNDLE, VENDORED

from .browser import executable

PHOTO = picture(size=(300, 200))
BIG = os.urandom(100) * 131_072
"""Three parts of filestack-js's 6 MiB, the last not full; two chunks of intelligent ingestion."""
LIMIT = 120.0
"""Seconds for all calls together, including the start of the browser."""

PAGE = b"""<!doctype html><meta charset="utf-8"><title>filestack-js</title>
<script type="module" src="/page.js"></script>"""
FILES = {
    "/": (PAGE, "text/html"),
    "/page.js": (
        Path(__file__).with_name("page_of_filestack_js.js").read_bytes(),
        "text/javascript",
    ),
    f"/{BUNDLE}": ((VENDORED / BUNDLE).read_bytes(), "text/javascript"),
    "/photo": (PHOTO, "image/jpeg"),
    "/big": (BIG, "image/png"),
    "/favicon.ico": (b"", "image/x-icon"),
}


@pytest.fixture(autouse=True)
def _empty_house() -> None:
    """Disable the fixture of the other tests' site, which is not used here."""


@dataclass
class Desk:
    """Serves the page, and stores its reports about each upload and the calls to the emulator."""

    emulator: EmulatorApp
    filestack: str
    calls: dict[str, dict[str, Any]]
    said: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: dict[str, list[str]] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)

    def answer(self, path: str) -> tuple[bytes, str]:
        if path == "/calls.json":
            told = {"filestack": self.filestack, "calls": self.calls}
            return json.dumps(told).encode(), "application/json"
        return FILES[path]

    def hear(self, path: str, body: bytes) -> None:
        if path == "/end":
            self.ended.set()
            return
        name = path.removeprefix("/said/")
        self.said[name] = json.loads(body)
        self.asked[name] = [operation for operation, _ in self.emulator.requests]
        self.emulator.requests.clear()

    def __enter__(self) -> Desk:
        desk = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content, content_type = desk.answer(self.path)
                self.send_response(200)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(content)))
                self.send_header(
                    "Content-Security-Policy",
                    f"default-src 'none'; script-src 'self'; connect-src 'self' {desk.filestack}",
                )
                self.end_headers()
                self.wfile.write(content)

            def do_POST(self) -> None:
                desk.hear(
                    self.path.replace("%20", " "),
                    self.rfile.read(int(self.headers.get("Content-Length") or 0)),
                )
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def security(*calls: str, **more: Any) -> dict[str, str]:
    # Valid long enough for each call of a slow page.
    expiry = int(time.time() + 2 * LIMIT)
    encoded, signature = policy(*(calls or ("pick", "store")), expiry=expiry, **more)
    return {"policy": encoded, "signature": signature}


def expired() -> dict[str, str]:
    encoded, signature = signed({"call": ["pick", "store"], "expiry": int(time.time()) - 60})
    return {"policy": encoded, "signature": signature}


def upload(content: str = "photo", **more: Any) -> dict[str, Any]:
    return {
        "call": "upload",
        "content": f"./{content}",
        "name": "réd sky'.jpg",
        "type": "image/jpeg",
        "apikey": "AKEY",
        "security": security(),
        "upload": {},
        "store": {},
    } | more


def call(name: str, *arguments: object, allows: dict[str, str]) -> dict[str, Any]:
    return {"call": name, "arguments": arguments, "apikey": "AKEY", "security": allows}


def other_calls(app: EmulatorApp, url: str) -> dict[str, dict[str, Any]]:
    """Calls other than uploads, on files that the emulator has."""

    def stored(name: str) -> str:
        return app.files.add(
            PHOTO, filename=name, mimetype="image/jpeg", options={}, base_url=url
        ).handle

    kept, removed, opened = stored("kept.jpg"), stored("removed.jpg"), stored("opened.jpg")
    allowed = security("read", handle=opened)
    source = (
        f"{url}/{opened}?policy={quote(allowed['policy'])}&signature={allowed['signature']}"
    )
    storing = security("store", "convert", "runWorkflow", url=f"^{re.escape(url)}/")
    described = {"size": True, "width": True, "filename": True, "md5": True}
    return {
        "store a URL": call(
            "storeURL",
            source,
            {"path": "in/", "filename": "copy.jpg"},
            None,
            None,
            {"tenant": "9"},
            None,
            [WORKFLOW],
            allows=storing,
        ),
        "store another URL": call("storeURL", f"{url}/x", allows=security("store", url="^no")),
        "describe": call("metadata", kept, described, allows=security("stat", handle=kept)),
        "describe another": call("metadata", kept, {}, allows=security("stat", handle="x")),
        "remove": call("remove", removed, allows=security("remove", handle=removed)),
        "remove another": call("remove", kept, allows=security("remove", handle=removed)),
        "prefetch": call(
            "prefetch",
            {"permissions": ["intelligent_ingestion"], "pickerOptions": {"maxFiles": 2}},
            allows=security("pick"),
        ),
    }


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """All calls, made in one browser."""
    uploads = {
        "merging first": upload(),
        "plain": upload(),
        "in parts": upload("big", name="big.png", type="image/png"),
        "intelligent": upload("big", name="big.png", upload={"intelligent": True}),
        "unchecked": upload(upload={"disableIntegrityCheck": True}),
        "with options": upload(
            upload={"tags": {"tenant": "7"}},
            store={"path": "in/", "container": "box", "workflows": [WORKFLOW]},
            security=security(path="^in/", container="^box$", maxSize=len(PHOTO)),
        ),
        "expired": upload(security=expired()),
        "too big": upload(security=security(maxSize=len(PHOTO) - 1)),
        "elsewhere": upload(security=security(path="^in/"), store={"path": "out/"}),
        "wrong key": upload(apikey="OTHER"),
    }
    with (
        EmulatorApp(config()) as app,
        EmulatorServer(app) as server,
        Desk(app, server.url, uploads | other_calls(app, server.url)) as desk,
    ):
        app.faults.add("accepted", operation="multipart.complete")
        process = subprocess.Popen(
            [
                executable(),
                *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update"),
                f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
                desk.url,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert desk.ended.wait(LIMIT), f"the page said no more than {desk.said}"
        finally:
            process.terminate()
            process.wait()
        yield desk


STEPS = ["multipart.start", "multipart.upload", "multipart.bytes", "multipart.complete"]


def test_a_photo_arrives_with_its_bytes_name_and_type(desk: Desk) -> None:
    said = desk.said["plain"]
    stored = desk.emulator.store.get(said["handle"])

    assert desk.asked["plain"] == STEPS
    assert desk.emulator.store.content(said["handle"]) == PHOTO
    assert stored is not None
    assert (stored.filename, stored.mimetype, stored.size) == (
        "réd sky-.jpg",  # what filestack-js makes of an apostrophe
        "image/jpeg",
        len(PHOTO),
    )
    assert said["status"] == "Stored"
    assert (said["filename"], said["size"]) == (stored.filename, stored.size)
    assert (said["container"], said["key"]) == (stored.container, stored.key)


def test_a_file_being_merged_is_asked_for_again(desk: Desk) -> None:
    assert desk.asked["merging first"] == [*STEPS, "multipart.complete"]
    assert desk.emulator.store.content(desk.said["merging first"]["handle"]) == PHOTO


@pytest.mark.parametrize("name", ["in parts", "intelligent"])
def test_a_file_of_several_parts_arrives_whole(desk: Desk, name: str) -> None:
    assert desk.emulator.store.content(desk.said[name]["handle"]) == BIG
    parts = {"in parts": 3, "intelligent": 2}[name]
    assert desk.asked[name].count("multipart.bytes") == parts
    assert desk.asked[name].count("multipart.commit") == (parts if name == "intelligent" else 0)


def test_integrity_need_not_be_checked(desk: Desk) -> None:
    assert desk.emulator.store.content(desk.said["unchecked"]["handle"]) == PHOTO


def test_store_options_and_upload_tags_arrive(desk: Desk) -> None:
    said = desk.said["with options"]
    stored = desk.emulator.store.get(said["handle"])

    assert stored is not None
    assert stored.key.startswith("in/")
    assert stored.container == "box"
    assert stored.upload_tags == {"tenant": "7"}


@pytest.mark.parametrize("name", ["expired", "too big", "elsewhere"])
def test_what_the_policy_does_not_allow_is_refused_before_a_byte_is_sent(
    desk: Desk, name: str
) -> None:
    assert desk.asked[name] == ["multipart.start"]
    assert desk.said[name]["status"] == "Failed"
    assert "Start request failed" in desk.said[name]["error"]


def test_a_wrong_key_is_told_with_a_reply_of_200(desk: Desk) -> None:
    assert desk.said["wrong key"]["status"] == "Failed"
    assert desk.asked["wrong key"] == ["multipart.start"]


def test_a_url_is_stored_with_upload_tags_and_workflow(desk: Desk) -> None:
    said = desk.said["store a URL"]
    stored = desk.emulator.store.get(said["handle"])

    assert stored is not None
    assert (stored.filename, stored.path) == ("copy.jpg", "in/")
    assert stored.upload_tags == {"tenant": "9"}
    assert said["uploadTags"] == {"tenant": "9"}
    assert said["mimetype"] == "image/jpeg"
    assert desk.emulator.store.content(said["handle"]) == PHOTO
    job = desk.emulator.workflows.status(said["workflows"][WORKFLOW]["jobid"])
    assert job["sources"] == [said["handle"]]


def test_a_file_is_described(desk: Desk) -> None:
    said = desk.said["describe"]
    assert (said["size"], said["width"], said["filename"]) == (len(PHOTO), 300, "kept.jpg")


def test_a_file_is_removed(desk: Desk) -> None:
    assert desk.said["remove"]["status"] == 200
    assert desk.emulator.store.get(desk.calls["remove"]["arguments"][0]) is None


@pytest.mark.parametrize("name", ["store another URL", "describe another", "remove another"])
def test_a_policy_holds_for_the_one_file_or_url_that_it_names(desk: Desk, name: str) -> None:
    assert "error" in desk.said[name]
    if name != "store another URL":
        assert desk.emulator.store.get(desk.calls[name]["arguments"][0]) is not None


def test_prefetch_answers_what_the_account_permits(desk: Desk) -> None:
    said = desk.said["prefetch"]
    assert said["permissions"] == {"intelligent_ingestion": False}
    assert said["settings"] == {"inapp_browser": False}
    assert said["pickerOptions"]["maxFiles"] == 2
    assert desk.asked["prefetch"] == ["prefetch"]
