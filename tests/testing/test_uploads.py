"""Uploads and the File API: store, overwrite, delete, multipart with and without ingestion."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from filestack_tags.testing import Account, EmulatorApp, EmulatorServer
from filestack_tags.testing.store import StoredFile
from filestack_tags.testing.wire import Refused

from .surroundings import BASE, SECRET, WORKFLOW, config, picture, policy, query, raw_app

PAYLOADS = Path(__file__).parents[1] / "payloads"
POLICY_REQUIRED = json.loads((PAYLOADS / "error_api_policy_required.json").read_text())


def actions(app: EmulatorApp) -> list[str]:
    """The events that the emulator would have sent."""
    return [delivery["action"] for delivery in app.webhooks.deliveries()]


def test_raw_bytes_are_stored_under_their_name(app: EmulatorApp, http: httpx2.Client) -> None:
    reply = http.post(
        f"/api/store/S3?filename=a.jpg&path=in/&{query('store', path='^in/')}",
        content=picture(),
        headers={"Content-Type": "image/jpeg"},
    ).json()

    assert set(reply) == set(json.loads((PAYLOADS / "store_response.json").read_text()))
    stored = app.store.get(reply["url"].rpartition("/")[2])
    assert stored is not None
    assert (stored.filename, stored.size, stored.location) == ("a.jpg", len(picture()), "S3")
    assert stored.key.startswith("in/")
    assert actions(app) == ["fp.upload"]


def test_a_form_with_a_file_is_stored_byte_for_byte(
    app: EmulatorApp, http: httpx2.Client
) -> None:
    content = bytes(range(256)) + b"\r\n--\r\n\n\r"

    reply = http.post(
        f"/api/store/S3?{query('store')}",
        data={"note": "x"},
        files={"fileUpload": ("ü.bin", content, "application/x-odd")},
    ).json()

    assert app.store.content(reply["url"].rpartition("/")[2]) == content
    assert (reply["filename"], reply["type"]) == ("ü.bin", "application/x-odd")


def test_base64_is_decoded_on_request(app: EmulatorApp, http: httpx2.Client) -> None:
    url = f"/api/store/S3?base64decode=true&{query('store')}"

    reply = http.post(url, content=base64.b64encode(picture())).json()
    refused = http.post(url, content=b"!")

    assert app.store.content(reply["url"].rpartition("/")[2]) == picture()
    assert reply["type"] == "image/jpeg"
    assert refused.status_code == 400


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"url=ftp%3A%2F%2Fa%2Fb", "application/x-www-form-urlencoded"),
        (b"url=a+b", "application/x-www-form-urlencoded"),
        (b"url=https%3A%2F%2Fexample.com%2Fa.jpg", "application/x-www-form-urlencoded"),
        (b"--b\r\nodd\r\n--b--", "multipart/form-data; boundary=b"),
        (
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--b--',
            "multipart/form-data; boundary=b",
        ),
        (b"", "multipart/form-data"),
    ],
)
def test_a_form_without_a_file_it_can_read_is_refused(
    http: httpx2.Client, content: bytes, content_type: str
) -> None:
    reply = http.post(
        f"/api/store/S3?{query('store')}",
        content=content,
        headers={"Content-Type": content_type},
    )

    assert reply.status_code == 400


def test_the_file_api_refuses_in_its_own_words(http: httpx2.Client, handle: str) -> None:
    for method, path in (
        ("POST", "/api/store/S3?key=AKEY"),
        ("POST", f"/api/file/{handle}"),
        ("GET", f"/api/file/{handle}"),
        ("GET", f"/api/file/{handle}/metadata?policy=YWJj&signature=x"),
        ("DELETE", f"/api/file/{handle}?key=AKEY&policy=a&signature=x"),
    ):
        reply = http.request(method, path)
        assert (reply.status_code, reply.json()) == (403, POLICY_REQUIRED), method


def test_an_unknown_key_is_told_with_200_when_storing(http: httpx2.Client) -> None:
    reply = http.post("/api/store/S3?key=OTHER", content=b"x")

    assert (reply.status_code, reply.text) == (200, "Invalid Application")


def test_the_app_secret_as_password_opens_the_file_api(
    http: httpx2.Client, handle: str
) -> None:
    assert http.get(f"/api/file/{handle}", auth=("app", SECRET)).content == picture()
    assert http.get(f"/api/file/{handle}", auth=("app", "wrong")).status_code == 403
    for header in ("Basic !", "Bearer x"):
        refused = http.get(f"/api/file/{handle}", headers={"Authorization": header})
        assert refused.status_code == 403


def test_overwriting_keeps_the_handle_and_changes_the_content(
    app: EmulatorApp, http: httpx2.Client, handle: str
) -> None:
    reply = http.post(
        f"/api/file/{handle}?{query('write', handle=handle)}",
        files={
            "fileUpload": (
                "filename",
                picture("blue", format_name="PNG"),
                "application/octet-stream",
            )
        },
    )

    assert set(reply.json()) == set(
        json.loads((PAYLOADS / "overwrite_response.json").read_text())
    )
    assert reply.json()["mimetype"] == "image/png"
    assert app.store.content(handle) == picture("blue", format_name="PNG")
    assert actions(app) == ["fp.upload", "fp.overwrite"]
    assert app.webhooks.deliveries()[-1]["body"]["text"]["url"] == f"{BASE}/{handle}"


def test_overwriting_by_url_needs_another_call(http: httpx2.Client, handle: str) -> None:
    data = {"url": "http://127.0.0.1:1/a.jpg"}

    write = http.post(f"/api/file/{handle}?{query('write')}", data=data)
    write_url = http.put(f"/api/file/{handle}?{query('writeUrl')}", data=data)

    assert write.status_code == 403
    assert write_url.status_code == 404  # allowed, but no endpoint exists


def test_a_deleted_file_is_gone_and_told_of_once(
    app: EmulatorApp, http: httpx2.Client, handle: str
) -> None:
    url = f"/api/file/{handle}?{query('remove', handle=handle)}"

    assert http.delete(url).status_code == 200
    assert http.delete(url).status_code == 404
    assert http.get(f"/api/file/{handle}/metadata?{query('stat')}").status_code == 404
    assert http.post(f"/api/file/{handle}?{query('write')}").status_code == 404
    assert actions(app) == ["fp.upload", "fp.delete"]


def test_deleting_needs_the_apps_key(http: httpx2.Client, handle: str) -> None:
    reply = http.delete(f"/api/file/{handle}?{query('remove')}".replace("AKEY", "OTHER"))

    assert reply.status_code == 401


def test_metadata_of_the_file_api_are_those_asked_for(http: httpx2.Client, handle: str) -> None:
    reply = http.get(f"/api/file/{handle}/metadata?size=true&sha256=true&{query('stat')}")

    digest = hashlib.sha256(picture()).hexdigest()
    assert reply.json() == {"size": len(picture()), "sha256": digest}


def test_a_method_that_does_not_exist_is_405(http: httpx2.Client, handle: str) -> None:
    assert http.patch(f"/api/file/{handle}").status_code == 405
    assert http.patch(f"/{handle}").status_code == 405


def start(http: httpx2.Client, content: bytes, **more: Any) -> dict[str, Any]:
    """Start a multipart upload; return the values that its later steps repeat."""
    encoded, signature = policy("pick", "store")
    body = {
        "apikey": "AKEY",
        "filename": "t.jpg",
        "mimetype": "image/jpeg",
        "size": len(content),
        "store": {"location": "S3"},
        "policy": encoded,
        "signature": signature,
    } | more
    reply = http.post("/multipart/start", json=body)
    reply.raise_for_status()
    return body | reply.json()


def send(
    http: httpx2.Client, begun: dict[str, Any], number: int, content: bytes, **more: Any
) -> str:
    """Send the bytes of a part; return its ETag."""
    md5 = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
    told = {"part": number, "size": len(content), "md5": md5} | more
    place = http.post("/multipart/upload", json=begun | told).json()
    put = http.put(place["url"], headers=place["headers"], content=content)
    put.raise_for_status()
    return put.headers["ETag"]


def test_parts_become_a_file_in_their_order(app: EmulatorApp, http: httpx2.Client) -> None:
    begun = start(http, picture())
    assert begun["location_url"] == "cdn.test"
    second = send(http, begun, 2, picture()[100:])
    send(http, begun, 1, b"a first try")
    first = send(http, begun, 1, picture()[:100])

    reply = http.post(
        "/multipart/complete",
        json=begun
        | {
            "parts": [
                {"part_number": 2, "etag": second},
                {"part_number": 1, "etag": first},
            ],
            "store": {"location": "S3", "workflows": [WORKFLOW]},
            "upload_tags": {"tenant": "7"},
        },
    ).json()

    assert app.store.content(reply["handle"]) == picture()
    assert reply["status"] == "Stored"
    assert reply["upload_tags"] == {"tenant": "7"}
    assert set(reply["workflows"]) == {WORKFLOW}
    event = app.webhooks.deliveries()[0]["body"]
    assert event["text"]["upload_tags"] == {"tenant": "7"}
    again = http.post("/multipart/complete", json=begun | {"parts": []})
    assert again.status_code == 400


def test_intelligent_ingestion_joins_chunks_by_offset(
    app: EmulatorApp, http: httpx2.Client
) -> None:
    begun = start(http, picture(), fii=True)
    assert begun["upload_type"] == "intelligent_ingestion"
    send(http, begun, 1, picture()[200:], offset=200, fii=True)
    send(http, begun, 1, picture()[:200], offset=0, fii=True)
    assert http.post("/multipart/commit", json=begun | {"part": 1}).status_code == 200

    reply = http.post("/multipart/complete", json=begun).json()

    assert app.store.content(reply["handle"]) == picture()


def test_javascript_is_given_a_location_with_its_scheme(http: httpx2.Client) -> None:
    http.headers["Filestack-Source"] = "JS-4.3.8"

    assert start(http, b"x")["location_url"] == BASE


def test_a_part_with_the_wrong_checksum_is_refused(http: httpx2.Client) -> None:
    begun = start(http, b"content")
    place = http.post("/multipart/upload", json=begun | {"part": 1, "md5": "d3Jvbmc="}).json()

    assert (
        http.put(place["url"], headers=place["headers"], content=b"content").status_code == 400
    )
    elsewhere = place["url"].replace(begun["upload_id"], "0" * 32)
    assert http.put(elsewhere, headers=place["headers"], content=b"content").status_code == 404


@pytest.mark.parametrize(
    ("step", "changes"),
    [
        ("start", {"size": 0}),
        ("start", {"filename": ""}),
        ("start", {"store": None}),
        ("upload", {"part": 0, "md5": "x"}),
        ("upload", {"part": 1, "md5": ""}),
        ("upload", {"upload_id": "other", "part": 1, "md5": "x"}),
        ("commit", {"region": "elsewhere"}),
        ("complete", {"parts": None}),
        ("complete", {"parts": [1]}),
        ("complete", {"parts": [{"part_number": 1, "etag": "other"}]}),
        ("complete", {"parts": []}),
    ],
)
def test_parameters_that_do_not_fit_are_inalid(
    http: httpx2.Client, step: str, changes: dict[str, Any]
) -> None:
    reply = http.post(f"/multipart/{step}", json=start(http, b"x") | changes)

    assert reply.status_code == 400
    assert reply.json()["error"] == "Parameters are inalid"  # codespell:ignore inalid


@pytest.mark.parametrize(
    "changes",
    [
        {"upload_tags": []},
        {"upload_tags": {str(number): "" for number in range(11)}},
        {"upload_tags": {"a": "x" * 257}},
        {"store": {"workflows": "w"}},
        {"store": {"workflows": ["unknown"]}},
    ],
)
def test_a_whole_upload_is_not_completed_with_wrong_options(
    http: httpx2.Client, changes: dict[str, Any]
) -> None:
    begun = start(http, b"x")
    parts = [{"part_number": 1, "etag": send(http, begun, 1, b"x")}]

    assert (
        http.post("/multipart/complete", json=begun | {"parts": parts} | changes).status_code
        == 400
    )
    assert http.post("/multipart/complete", json=begun | {"parts": parts}).status_code == 200


def test_multipart_refuses_in_its_own_words(http: httpx2.Client) -> None:
    body = {"apikey": "AKEY", "filename": "a", "size": 1, "store": {}}

    reply = http.post("/multipart/start", json=body)
    unknown = http.post("/multipart/start", json=body | {"apikey": "OTHER"})
    no_json = http.post("/multipart/start", content=b"[]")

    expected = json.loads((PAYLOADS / "error_upload_invalid_app_policy.json").read_text())
    assert reply.status_code == 403
    assert set(reply.json()) == set(expected)
    assert reply.json()["error"] == expected["error"]
    assert (unknown.status_code, unknown.text) == (200, "Invalid Application")
    assert no_json.status_code == 400


def test_an_app_without_security_stores_unsigned() -> None:
    with (
        EmulatorApp(config(account=Account(security=False))) as app,
        httpx2.Client(transport=raw_app(app), base_url=BASE) as http,
    ):
        assert http.post("/api/store/S3?key=AKEY", content=b"x").status_code == 200


def test_a_browser_may_upload_from_any_page(http: httpx2.Client) -> None:
    reply = http.options("/multipart/start")

    assert reply.status_code == 204
    assert "Filestack-Source" in reply.headers["Access-Control-Allow-Headers"]
    assert http.get("/nothing").headers["Access-Control-Expose-Headers"] == "ETag"


def test_a_request_beyond_the_limit_is_refused() -> None:
    with (
        EmulatorApp(config(max_body=10)) as app,
        httpx2.Client(transport=raw_app(app), base_url=BASE) as http,
    ):
        assert http.post("/api/store/S3", content=b"x" * 11).status_code == 413
        odd = http.get("/api/store/S3", headers={"Content-Length": "many"})
        assert odd.status_code == 400


def test_a_form_with_a_url_stores_what_is_there(app: EmulatorApp, handle: str) -> None:
    with EmulatorServer(app) as server, httpx2.Client(trust_env=False) as client:
        source = f"{server.url}/{handle}?{query('read')}"
        stored = client.post(
            f"{server.url}/api/store/S3?{query('store')}", data={"url": source}
        ).json()
        missing = client.post(
            f"{server.url}/api/store/S3?{query('store')}", data={"url": f"{server.url}/nothing"}
        )

    assert app.store.content(stored["url"].rpartition("/")[2]) == picture()
    assert missing.status_code == 404


def test_of_two_that_complete_an_upload_one_does(
    app: EmulatorApp, http: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = start(http, b"x")
    parts = {"parts": [{"part_number": 1, "etag": send(http, begun, 1, b"x")}]}
    check = app.workflows.check

    def meanwhile(workflows: Iterable[object]) -> None:
        check(workflows)
        monkeypatch.undo()
        assert http.post("/multipart/complete", json=begun | parts).status_code == 200

    monkeypatch.setattr(app.workflows, "check", meanwhile)

    assert http.post("/multipart/complete", json=begun | parts).status_code == 400
    assert len(app.store.files()) == 1


def test_a_file_deleted_while_it_is_overwritten_stays_deleted(
    app: EmulatorApp, handle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = app.store.get

    def meanwhile(handle: str) -> StoredFile | None:
        file = get(handle)
        app.store.remove(handle)
        return file

    monkeypatch.setattr(app.store, "get", meanwhile)

    with pytest.raises(Refused, match="404"):
        app.files.overwrite(handle, b"x", filename="", mimetype="", base_url=BASE)
    assert app.store.files() == []


def test_parts_that_arrived_must_be_named_by_number_and_etag(http: httpx2.Client) -> None:
    begun = start(http, b"x")
    etag = send(http, begun, 1, b"x")

    for parts in (
        [],
        [{"part_number": 1, "etag": etag.strip('"')}],
        [{"part_number": 2, "etag": etag}],
    ):
        reply = http.post("/multipart/complete", json=begun | {"parts": parts})
        assert reply.status_code == 400
