"""The CDN: tags and related tasks, file delivery, stores, and errors."""

from __future__ import annotations

import base64
import io
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
import time_machine
from PIL import Image

from filestack_tags.testing import Account, EmulatorApp
from filestack_tags.testing.wire import REASON_HEADER

from .surroundings import (
    ACCOUNT,
    BASE,
    config,
    picture,
    policy,
    query,
    raw_app,
    security,
    signed,
)

POLICY_ERROR = "policy error: proper credentials were not provided"


@pytest.mark.parametrize(
    "order", ["{security}/tags", "tags/{security}", "AKEY/{security}/tags"]
)
def test_tags_are_what_the_tagger_sees(http: httpx2.Client, handle: str, order: str) -> None:
    reply = http.get(f"/{order.format(security=security('convert'))}/{handle}")

    assert reply.status_code == 200
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.json() == {"tags": {"auto": {"red": 99, "40 x 20": 90}, "user": None}}


def test_a_picture_is_resized_before_it_is_looked_at(http: httpx2.Client, handle: str) -> None:
    reply = http.get(f"/{security('convert')}/resize=h:10/tags=version:2/{handle}")

    assert "20 x 10" in reply.json()["tags"]["auto"]


@pytest.mark.parametrize("version", ["1", "2"])
def test_both_versions_of_tagging_are_known(
    http: httpx2.Client, handle: str, version: str
) -> None:
    assert "tags" in http.get(f"/{security('convert')}/tags=v:{version}/{handle}").json()


def test_a_third_version_is_refused(http: httpx2.Client, handle: str) -> None:
    reply = http.get(f"/{security('convert')}/tags=version:3/{handle}")

    assert (reply.status_code, reply.json()) == (400, {"error": "Invalid parameter"})


def test_sfw_and_caption_come_from_the_same_look(http: httpx2.Client, handle: str) -> None:
    assert http.get(f"/{security('convert')}/sfw/{handle}").json() == {"sfw": True}
    caption = http.get(f"/{security('convert')}/caption/{handle}").json()
    assert caption == {"caption": "a picture of red, 40 x 20"}


def test_an_unsafe_label_makes_a_picture_unsafe() -> None:
    with EmulatorApp(config(tagger=lambda content: {"weapon": 70})) as app:
        file = app.files.add(
            picture(), filename="a.jpg", mimetype="", options={}, base_url=BASE
        )
        with httpx2.Client(transport=raw_app(app), base_url=BASE) as http:
            reply = http.get(f"/{security('convert')}/sfw/{file.handle}")
    assert reply.json() == {"sfw": False}


def test_a_picture_without_labels_has_a_caption() -> None:
    with EmulatorApp(config(tagger=lambda content: {})) as app:
        file = app.files.add(
            picture(), filename="a.jpg", mimetype="", options={}, base_url=BASE
        )
        with httpx2.Client(transport=raw_app(app), base_url=BASE) as http:
            assert http.get(f"/{security('convert')}/caption/{file.handle}").json() == {
                "caption": "a picture"
            }
            tags = http.get(f"/{security('convert')}/tags/{file.handle}").json()
    assert tags == {"tags": {"auto": {}, "user": None}}


@pytest.mark.parametrize(
    ("segment", "reason"),
    [
        ("", "both needed"),
        (lambda: security("read"), "call convert"),
        (lambda: security("convert", handle="other"), "another handle"),
        (lambda: security("convert", expiry=1), "expired"),
    ],
)
def test_tags_without_a_fitting_policy_are_refused_in_plain_text(
    http: httpx2.Client, handle: str, segment: object, reason: str
) -> None:
    written = f"{segment()}/" if callable(segment) else ""

    reply = http.get(f"/{written}tags/{handle}")

    assert (reply.status_code, reply.text) == (403, POLICY_ERROR)
    assert reply.headers["Content-Type"].startswith("text/plain")
    assert reason in reply.headers[REASON_HEADER]


def test_an_unpadded_policy_is_told_apart(http: httpx2.Client, handle: str) -> None:
    encoded, signature = signed({"expiry": 4102444800, "call": ["convert"]})
    assert encoded.endswith("=")

    reply = http.get(f"/security=p:{encoded.rstrip('=')},s:{signature}/tags/{handle}")

    assert reply.text == "policy was not properly url-safe base64 encoded"


def test_tags_need_security_even_where_the_app_has_none() -> None:
    with EmulatorApp(config(account=Account(security=False))) as app:
        file = app.files.add(
            picture(), filename="a.jpg", mimetype="", options={}, base_url=BASE
        )
        with httpx2.Client(transport=raw_app(app), base_url=BASE) as http:
            assert http.get(f"/{file.handle}").content == picture()
            assert http.get(f"/tags/{file.handle}").status_code == 403
            assert http.get(f"/security=p:x,s:y/{file.handle}").status_code == 403


def test_an_unreadable_picture_is_an_unsupported_format(
    app: EmulatorApp, http: httpx2.Client
) -> None:
    file = app.files.add(b"%PDF-1.4", filename="a.pdf", mimetype="", options={}, base_url=BASE)

    for tasks in ("tags", "resize=w:5/tags"):
        reply = http.get(f"/{security('convert')}/{tasks}/{file.handle}")
        assert (reply.status_code, reply.json()) == (400, {"error": "Unsupported input format"})


def test_a_handle_that_is_gone_is_404(http: httpx2.Client) -> None:
    for tasks, call in (("tags", "convert"), ("run_workflow=id:x", "runWorkflow")):
        assert http.get(f"/{security(call)}/{tasks}/nothinghere").status_code == 404
    assert http.get(f"/AKEY/{security('read')}/wf://a/b/c").status_code == 404


@pytest.mark.parametrize(
    "path",
    ["OTHER/{s}/tags/{h}", "OTHER/{s}/tags/http://127.0.0.1:1/a.jpg", "{s}/tags/src://a/b.jpg"],
)
def test_an_unknown_or_missing_key_is_refused(
    http: httpx2.Client, handle: str, path: str
) -> None:
    reply = http.get("/" + path.format(s=security("convert"), h=handle))

    assert (reply.status_code, reply.text) == (401, "Invalid Application")


@pytest.mark.parametrize(
    "tasks",
    [
        "tags/store",
        "tags/resize=w:10",
        "sepia",
        "resize=w:10/sepia/tags",
        "output=format:docx",
    ],
)
def test_what_the_emulator_cannot_convert_it_says(
    http: httpx2.Client, handle: str, tasks: str
) -> None:
    reply = http.get(f"/{security('convert', 'store')}/{tasks}/{handle}")

    assert (reply.status_code, reply.json()) == (400, {"error": "Unsupported conversion"})


@pytest.mark.parametrize(
    "tasks",
    [
        "resize",
        "resize=w:none",
        "resize=w:0",
        "resize=w:5,h:5,fit:odd",
        "crop=d:[1,2]",
        "crop=d:[1,2,0,5]",
        "rotate=deg:400",
        "run_workflow",
        "run_workflow=id:unknown",
    ],
)
def test_wrong_options_are_invalid_parameters(
    http: httpx2.Client, handle: str, tasks: str
) -> None:
    reply = http.get(f"/{security('convert', 'runWorkflow')}/{tasks}/{handle}")

    assert (reply.status_code, reply.json()) == (400, {"error": "Invalid parameter"})


@pytest.mark.parametrize(
    ("tasks", "size", "format_name"),
    [
        ("resize=w:20", (20, 10), "JPEG"),
        ("resize=width:10,height:10", (10, 5), "JPEG"),
        ("resize=w:10,h:10,fit:crop", (10, 10), "JPEG"),
        ("resize=w:7,h:10,fit:scale", (7, 10), "JPEG"),
        ("crop=dim:[5,5,100,10]", (35, 10), "JPEG"),
        ("rotate=deg:90", (20, 40), "JPEG"),
        ("rotate", (40, 20), "JPEG"),
        ("flip/flop/monochrome/quality=v:50", (40, 20), "JPEG"),
        ("blackwhite/output=f:png", (40, 20), "PNG"),
        ("blackwhite", (40, 20), "JPEG"),
        ("output/quality/no_metadata/cache=false:1", (40, 20), "JPEG"),
    ],
)
def test_a_converted_picture_is_a_picture(
    http: httpx2.Client, handle: str, tasks: str, size: tuple[int, int], format_name: str
) -> None:
    reply = http.get(f"/{security('convert')}/{tasks}/{handle}")

    with Image.open(io.BytesIO(reply.content)) as image:
        assert (image.size, image.format) == (size, format_name)
    assert reply.headers["Content-Type"] == f"image/{format_name.lower()}"


def test_a_file_is_delivered_with_its_policy_in_path_or_query(
    http: httpx2.Client, handle: str
) -> None:
    for path in (f"/{security('read')}/{handle}", f"/{handle}?{query('read')}"):
        reply = http.get(path)
        assert (reply.content, reply.headers["X-File-Name"]) == (picture(), "red.jpg")
    assert http.get(f"/{handle}").status_code == 403


def test_head_delivers_no_body(http: httpx2.Client, handle: str) -> None:
    reply = http.head(f"/{security('read')}/{handle}")

    assert int(reply.headers["Content-Length"]) == len(picture())
    assert reply.content == b""


def test_a_file_name_beyond_ascii_is_left_out_of_the_header(
    app: EmulatorApp, http: httpx2.Client
) -> None:
    file = app.files.add(picture(), filename="ü.jpg", mimetype="", options={}, base_url=BASE)

    assert "X-File-Name" not in http.get(f"/{security('read')}/{file.handle}").headers


def test_metadata_are_the_usual_five_or_those_asked_for(
    http: httpx2.Client, handle: str
) -> None:
    usual = http.get(f"/{handle}/metadata?{query('stat')}").json()
    assert set(usual) == set(
        json.loads((Path(__file__).parents[1] / "payloads/metadata.json").read_text())
    )

    asked = "size=true&width=true&height=true&md5=true&filename=false&odd=true"
    some = http.get(f"/{security('stat')}/metadata/{handle}?{asked}").json()
    assert (some["width"], some["height"], some["size"]) == (40, 20, len(picture()))
    assert set(some) == {"size", "width", "height", "md5"}


def test_metadata_of_what_is_no_picture_have_no_width(
    app: EmulatorApp, http: httpx2.Client
) -> None:
    file = app.files.add(b"text", filename="a.txt", mimetype="", options={}, base_url=BASE)

    reply = http.get(f"/{file.handle}/metadata?width=true&mimetype=true&{query('stat')}")

    assert reply.json() == {"width": None, "mimetype": "text/plain"}


def test_metadata_of_an_external_url_are_refused(http: httpx2.Client) -> None:
    reply = http.get(f"/AKEY/{security('stat')}/metadata/http://127.0.0.1:1/a.jpg")

    assert reply.json() == {"error": "Invalid parameter"}


def test_an_external_url_beyond_loopback_is_refused(http: httpx2.Client) -> None:
    url = quote("https://example.com/a.jpg", safe="")

    reply = http.get(f"/AKEY/{security('convert')}/tags/{url}")

    assert reply.status_code == 400
    assert "loopback" in reply.json()["error"]


def test_an_external_url_that_does_not_answer_is_404(http: httpx2.Client) -> None:
    reply = http.get(f"/AKEY/{security('convert')}/tags/http://127.0.0.1:1/a.jpg")

    assert reply.status_code == 404


def test_a_storage_alias_is_a_directory_and_nothing_above_it(tmp_path: Path) -> None:
    (tmp_path / "photos/2024").mkdir(parents=True)
    (tmp_path / "photos/2024/a b.jpg").write_bytes(picture("blue"))
    (tmp_path / "secret.jpg").write_bytes(picture("green"))
    account = Account(aliases={"photos": tmp_path / "photos"})
    with (
        EmulatorApp(config(account=account)) as app,
        httpx2.Client(transport=raw_app(app), base_url=BASE) as http,
    ):
        start = f"/AKEY/{security('convert')}/tags/src%3A%2F%2F"
        assert "blue" in http.get(f"{start}photos%2F2024%2Fa%20b.jpg").json()["tags"]["auto"]
        assert http.get(f"{start}photos%2F..%2Fsecret.jpg").status_code == 404
        assert http.get(f"{start}photos%2F2024").status_code == 404
        assert http.get(f"{start}other%2Fa.jpg").status_code == 404


def test_store_keeps_the_result_of_the_tasks_before_it(
    app: EmulatorApp, http: httpx2.Client, handle: str
) -> None:
    reply = http.post(
        f"/{security('store', 'convert')}/resize=w:10/store=filename:small.jpg/{handle}"
    ).json()

    stored = app.store.get(reply["handle"])
    assert stored is not None
    assert (stored.filename, stored.mimetype) == ("small.jpg", "image/jpeg")
    assert reply["url"] == f"{BASE}/{stored.handle}"
    content = app.store.content(stored.handle)
    assert content is not None
    with Image.open(io.BytesIO(content)) as image:
        assert image.size == (10, 5)


def test_store_of_a_conversion_needs_both_calls(http: httpx2.Client, handle: str) -> None:
    assert http.get(f"/{security('store')}/store/{handle}").status_code == 200
    assert http.get(f"/{security('store')}/resize=w:9/store/{handle}").status_code == 403


def process(**changes: object) -> dict[str, object]:
    encoded, signature = policy("store", "convert")
    secured = {"name": "security", "params": {"policy": encoded, "signature": signature}}
    return {
        "apikey": "AKEY",
        "sources": ["placeholder"],
        "tasks": [{"name": "store", "params": {"location": "S3"}}, secured],
    } | changes


def test_process_stores_with_upload_tags_and_workflows(
    app: EmulatorApp, http: httpx2.Client, handle: str
) -> None:
    tasks = list(process()["tasks"])  # type: ignore[call-overload]  # a list, see process()
    tasks.insert(
        1, {"name": "store", "params": {"workflows": [{"id": ACCOUNT.workflows[0].id}]}}
    )
    tasks[0]["params"]["upload_tags"] = {"ignored": "there"}

    body = process(sources=[{"source": handle}], tasks=tasks, upload_tags={"tenant": "7"})
    reply = http.post("/process", json=body).json()

    assert reply["upload_tags"] == {"tenant": "7"}
    job = app.workflows.status(reply["workflows"][ACCOUNT.workflows[0].id]["jobid"])
    assert job["sources"] == [reply["handle"]]
    stored = app.store.get(reply["handle"])
    assert stored is not None
    assert stored.upload_tags == {"tenant": "7"}


def test_process_refuses_an_unknown_key_with_200(http: httpx2.Client, handle: str) -> None:
    reply = http.post("/process", json=process(apikey="OTHER", sources=[handle]))

    assert (reply.status_code, reply.text) == (200, "Invalid Application")


def test_process_repeats_the_credentials_it_refuses(http: httpx2.Client, handle: str) -> None:
    tasks = [
        {"name": "store"},
        {"name": "security", "params": {"policy": "POL0", "signature": "SIG"}},
    ]

    reply = http.post("/process", json=process(sources=[handle], tasks=tasks))

    assert reply.status_code == 403
    assert '(signature: "SIG"; policy "POL0")' in reply.text


@pytest.mark.parametrize(
    "changes",
    [{"sources": []}, {"sources": ["a b"]}, {"tasks": [1]}, {"sources": "text"}],
)
def test_process_refuses_what_it_cannot_read(
    http: httpx2.Client, changes: dict[str, object]
) -> None:
    reply = http.post("/process", json=process(**changes))

    assert reply.json() == {"error": "Invalid parameter"}


def test_process_wants_a_json_object(http: httpx2.Client) -> None:
    assert http.post("/process", content=b"[]").status_code == 400
    assert http.post("/process", content=b"no json").status_code == 400


def test_the_same_url_is_read_where_the_gateway_decodes_the_path(
    app: EmulatorApp, handle: str
) -> None:
    with httpx2.Client(transport=httpx2.WSGITransport(app=app), base_url=BASE) as http:
        assert http.get(f"/{security('convert')}/tags/{handle}").status_code == 200
        url = quote("http://127.0.0.1:1/ü ?x=%41", safe="")
        assert http.get(f"/AKEY/{security('convert')}/tags/{url}").status_code == 404
    assert app.requests[-1] == ("tags", 404)


def test_b64_tasks_carry_their_security(http: httpx2.Client, handle: str) -> None:
    encoded, signature = policy("convert")
    tasks = [
        {"name": "tags", "params": {}},
        {"name": "security", "params": {"policy": encoded, "signature": signature}},
    ]
    text = base64.urlsafe_b64encode(json.dumps(tasks).encode()).decode()

    assert "red" in http.get(f"/AKEY/b64/{text}/{handle}").json()["tags"]["auto"]


@pytest.mark.parametrize(
    "path", ["/tags", "/AKEY/{s}/workflow_status=job_id:x/store", "/{s}/tags/a b"]
)
def test_a_url_without_a_source_is_an_invalid_parameter(http: httpx2.Client, path: str) -> None:
    reply = http.get(path.format(s=security("store", "convert")))

    assert (reply.status_code, reply.json()) == (400, {"error": "Invalid parameter"})


def test_one_call_may_ask_for_two_answers(http: httpx2.Client, handle: str) -> None:
    reply = http.get(f"/{security('convert')}/resize=w:20/tags/sfw/{handle}")

    assert reply.json() == {
        "tags": {"auto": {"red": 99, "20 x 10": 90}, "user": None},
        "sfw": True,
    }
    assert http.get(f"/sfw/tags/{handle}").status_code == 403


def overwrite(http: httpx2.Client, handle: str, color: str = "blue") -> None:
    content = picture(color)
    assert http.post(f"/api/file/{handle}?{query('write')}", content=content).status_code == 200


@pytest.mark.parametrize("tasks", ["tags", "resize=w:20/tags", "cache=expiry:60/tags"])
def test_a_url_is_answered_from_the_cache_after_an_overwrite_whatever_signs_it(
    http: httpx2.Client, handle: str, tasks: str
) -> None:
    before = http.get(f"/{security('convert')}/{tasks}/{handle}").json()
    overwrite(http, handle)

    assert "red" in before["tags"]["auto"]
    again = http.get(f"/{tasks}/{security('read', 'convert', handle=handle)}/{handle}")
    assert again.json() == before
    assert http.get(f"/{tasks}/{handle}").status_code == 403  # the policy is checked first


@pytest.mark.parametrize("tasks", ["cache=false/tags", "tags=version:2", "flip/tags"])
def test_another_url_is_not_answered_from_that_cache(
    http: httpx2.Client, handle: str, tasks: str
) -> None:
    for task in ("tags", "cache=false/tags"):
        http.get(f"/{security('convert')}/{task}/{handle}")
    overwrite(http, handle)

    assert "blue" in http.get(f"/{security('convert')}/{tasks}/{handle}").json()["tags"]["auto"]
    assert "red" in http.get(f"/{security('convert')}/tags/{handle}").json()["tags"]["auto"]


@pytest.mark.parametrize(
    ("task", "seconds"),
    [("", 30 * 86_400), ("cache=expiry:60/", 60), ("cache=expiry:max/", 31_536_000)],
)
def test_the_cache_forgets_a_url_in_time(
    http: httpx2.Client, handle: str, task: str, seconds: int
) -> None:
    forever = int(time.time()) + 10**9
    path = f"/{security('convert', expiry=forever)}/{task}tags/{handle}"
    now = time.time()
    with time_machine.travel(now, tick=False):
        http.get(path)
        overwrite(http, handle)
    with time_machine.travel(now + seconds - 1, tick=False):
        assert "red" in http.get(path).json()["tags"]["auto"]
    with time_machine.travel(now + seconds + 1, tick=False):
        assert "blue" in http.get(path).json()["tags"]["auto"]


def test_an_expiry_that_is_no_number_is_refused(http: httpx2.Client, handle: str) -> None:
    reply = http.get(f"/{security('convert')}/cache=expiry:soon/tags/{handle}")

    assert reply.json() == {"error": "Invalid parameter"}


def test_refusals_and_deleted_files_are_not_cached(
    app: EmulatorApp, http: httpx2.Client, handle: str
) -> None:
    path = f"/{security('convert')}/tags/{handle}"
    http.get(path)
    app.files.delete(handle, base_url=BASE)
    assert http.get(path).status_code == 404
    assert http.get(path).status_code == 404


def test_the_cache_can_be_switched_off() -> None:
    with (
        EmulatorApp(config(cdn_cache=False)) as app,
        httpx2.Client(transport=raw_app(app), base_url=BASE) as http,
    ):
        file = app.files.add(picture(), filename="a", mimetype="", options={}, base_url=BASE)
        path = f"/{security('convert')}/tags/{file.handle}"
        http.get(path)
        overwrite(http, file.handle)
        assert "blue" in http.get(path).json()["tags"]["auto"]


def test_an_alias_is_answered_from_the_cache_when_its_file_changed(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture())
    account = Account(aliases={"photos": tmp_path})
    with (
        EmulatorApp(config(account=account)) as app,
        httpx2.Client(transport=raw_app(app), base_url=BASE) as http,
    ):
        path = f"/AKEY/{security('read', 'convert')}/src://photos/a.jpg"
        http.get(path)
        (tmp_path / "a.jpg").write_bytes(picture("blue"))
        assert http.get(path).content == picture()
        fresh = path.replace("/src:", "/cache=false/src:")
        assert http.get(fresh).content == picture("blue")


FOREIGN = "fOrEiGn1234567890123"


@pytest.mark.parametrize("security_on", [True, False])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"/{{s}}/tags/{FOREIGN}", POLICY_ERROR),
        ("GET", f"/{{s}}/{FOREIGN}", POLICY_ERROR),
        ("GET", f"/{{s}}/run_workflow=id:{ACCOUNT.workflows[0].id}/{FOREIGN}", POLICY_ERROR),
        ("GET", f"/api/file/{FOREIGN}/metadata?{{q}}", "Policy required"),
        ("DELETE", f"/api/file/{FOREIGN}?{{q}}", "Policy required"),
    ],
)
def test_a_file_of_another_app_is_a_policy_error_and_no_404(
    security_on: bool, method: str, path: str, body: str
) -> None:
    account = replace(ACCOUNT, foreign_handles=[FOREIGN], security=security_on)
    calls = ("read", "stat", "remove", "convert", "runWorkflow")
    with (
        EmulatorApp(config(account=account)) as app,
        httpx2.Client(transport=raw_app(app), base_url=BASE) as http,
    ):
        reply = http.request(method, path.format(s=security(*calls), q=query(*calls)))
    assert (reply.status_code, body in reply.text) == (403, True)


def test_a_conversion_is_told_of_unless_it_comes_from_the_cache(
    app: EmulatorApp, http: httpx2.Client, handle: str
) -> None:
    for tasks in ("resize=w:10", "resize=w:10", "resize=w:10/tags", "tags", "sfw"):
        http.get(f"/{security('convert')}/{tasks}/{handle}")

    told = [item["body"] for item in app.webhooks.deliveries()[1:]]
    payloads = Path(__file__).parents[1] / "payloads"
    expected = json.loads((payloads / "webhook_fp_converse.json").read_text())
    assert [event["text"]["url"] for event in told] == [
        f"/resize/{handle}",
        f"/resize/tags/{handle}",
    ]
    assert {event["action"] for event in told} == {"fp.converse"}
    assert set(told[0]["text"]["link"]) == set(expected["text"]["link"])
    assert told[0]["text"]["link"]["handle"] == handle


@pytest.mark.parametrize(
    ("limits", "task", "allowed"),
    [
        ({"path": "^a/"}, "store=path:%22a/%22", True),
        ({"path": "^a/"}, "store=path:%22b/%22", False),
        ({"path": "^a/"}, "store", False),
        ({"container": "^box$"}, "store=container:box", True),
        ({"container": "^box$"}, "store=container:other", False),
        ({"maxSize": 10_000}, "store", True),
        ({"maxSize": 10}, "store", False),
        ({"minSize": 10_000}, "store", False),
    ],
)
def test_a_policy_limits_where_a_stored_file_goes(
    http: httpx2.Client, handle: str, limits: dict[str, Any], task: str, allowed: bool
) -> None:
    reply = http.get(f"/{security('store', **limits)}/{task}/{handle}")
    assert reply.status_code == (200 if allowed else 403)


@pytest.mark.parametrize(
    ("pattern", "status"), [("^http://127\\.0\\.0\\.1:1/", 404), ("^https://other/", 403)]
)
def test_a_policy_limits_the_urls_that_are_fetched(
    http: httpx2.Client, pattern: str, status: int
) -> None:
    signed_so = security("convert", url=pattern)
    assert http.get(f"/AKEY/{signed_so}/tags/http://127.0.0.1:1/a.jpg").status_code == status


def test_what_filestack_go_sends_is_read(
    app: EmulatorApp, http: httpx2.Client, handle: str
) -> None:
    encoded, signature = policy("store", "convert")
    secured = {"Name": "security", "Params": {"policy": encoded, "signature": signature}}
    tasks = [secured, {"Name": "store", "Params": {"filename": "go.jpg"}}]
    body = {"apiKey": "AKEY", "sources": [handle], "tasks": tasks, "upload_tags": ["a", "b"]}

    reply = http.post("/process", json=body).json()

    stored = app.store.get(reply["handle"])
    assert stored is not None
    assert (stored.filename, stored.upload_tags) == ("go.jpg", ["a", "b"])
    text = base64.urlsafe_b64encode(json.dumps([{"Name": "tags"}, secured]).encode()).decode()
    assert "tags" in http.get(f"/b64/{text}/{handle}").json()


@pytest.mark.parametrize(
    "tags", ["text", [1], {"a": 1}, {str(number): "" for number in range(11)}, ["x" * 257]]
)
def test_upload_tags_beyond_the_limits_are_refused(
    http: httpx2.Client, handle: str, tags: object
) -> None:
    reply = http.post("/process", json=process(sources=[handle], upload_tags=tags))
    assert reply.json() == {"error": "Invalid parameter"}


def written(source: str) -> list[str]:
    encoded = base64.urlsafe_b64encode(source.encode()).decode()
    return [
        source,
        f'"{source}"',
        f"%22{source}%22",
        quote(source, safe=""),
        f"b64://{encoded}",
    ]


@pytest.mark.parametrize("form", range(5))
def test_a_handle_and_an_alias_are_read_in_every_form(tmp_path: Path, form: int) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b.jpg").write_bytes(picture("green"))
    account = Account(aliases={"photos": tmp_path})
    with (
        EmulatorApp(config(account=account)) as app,
        httpx2.Client(transport=raw_app(app), base_url=BASE) as http,
    ):
        file = app.files.add(picture(), filename="a", mimetype="", options={}, base_url=BASE)
        for source, color in ((file.handle, "red"), ("src://photos/a/b.jpg", "green")):
            path = f"/AKEY/{security('convert')}/tags/{written(source)[form]}"
            assert color in http.get(path).json()["tags"]["auto"]
