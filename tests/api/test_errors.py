"""Errors are JSON of one shape, name the cause, and are never the server's fault."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from django.test import override_settings
from rest_framework.test import APIClient

from filestack_tags.api.requests import MAX_BODY

from .rows import tagged

pytestmark = pytest.mark.django_db


def cursor(text: str) -> str:
    return b64encode(text.encode()).decode()


def test_a_search_that_cannot_be_read_is_explained(api: APIClient) -> None:
    reply = api.get("/api/assets/", {"q": " sky=>80"})
    assert reply.status_code == 400
    body = reply.json()
    assert body["code"] == "invalid_query"
    assert body["status"] == 400
    assert body["parameter"] == "q"
    assert body["position"] == 5, "counted in the text as it was sent, with its first space"
    assert body["found"]
    assert body["suggestion"].strip() == "sky>=80"
    assert isinstance(body["expected"], list)


def test_an_unknown_parameter_is_named_together_with_the_known_ones(api: APIClient) -> None:
    reply = api.get("/api/assets/?tags=sky&colour=red&tag=sky")
    assert reply.status_code == 400
    body = reply.json()
    assert body["code"] == "unknown_parameter"
    assert body["unknown"] == ["colour", "tags"]
    assert body["known"] == sorted(
        [
            "q",
            "tag",
            "tag_any",
            "tag_none",
            "min_confidence",
            "state",
            "kind",
            "cursor",
            "page_size",
            "order",
            "order_tag",
        ]
    )
    assert "colour, tags" in body["detail"]


@pytest.mark.parametrize(
    "path", ["/api/tags/?tag=a", "/api/tags/sky/?q=a", "/api/assets/1/?q=a"]
)
def test_parameters_are_known_for_each_endpoint_alone(api: APIClient, path: str) -> None:
    reply = api.get(path)
    assert reply.status_code == 400
    assert reply.json()["code"] == "unknown_parameter"


BIG = "9" * 40
NUL = "%00"

HOSTILE = [
    ("/api/assets/?q=" + NUL, 400, None),
    ("/api/assets/?q=" + "a" * 2000, 400, "invalid_query"),
    ("/api/assets/?q=" + "(" * 900, 400, "invalid_query"),
    ("/api/assets/?q=a&q=b", 400, "invalid_parameter"),
    ("/api/assets/?q=%ff%fe", 200, None),
    ("/api/assets/?q=%ed%a0%80", 200, None),
    ("/api/assets/?q=size:%3E" + BIG, 400, "invalid_query"),
    ("/api/assets/?q=handle:" + NUL, 400, None),
    ("/api/assets/?tag=", 400, "invalid"),
    ("/api/assets/?tag=" + NUL, 400, "invalid"),
    ("/api/assets/?tag=sky:101", 400, "invalid"),
    ("/api/assets/?tag=sky:" + BIG, 400, "invalid"),
    ("/api/assets/?tag=sky:%D9%A3", 200, None),
    ("/api/assets/?tag=" + "x" * 201, 400, "invalid"),
    ("/api/assets/?tag=" + "%EF%B7%BA" * 12, 400, "invalid"),
    ("/api/assets/?" + "&".join(["tag=sky"] * 40), 400, "invalid_parameter"),
    ("/api/assets/?" + "&".join(["tag_any=sky"] * 40), 400, "invalid_parameter"),
    ("/api/assets/?" + "&".join(["tag_none=" + "x" * 150] * 10), 400, "invalid_parameter"),
    ("/api/assets/?min_confidence=101", 400, "invalid"),
    ("/api/assets/?min_confidence=-1", 400, "invalid"),
    ("/api/assets/?min_confidence=1e2", 400, "invalid"),
    ("/api/assets/?min_confidence=" + BIG, 400, "invalid"),
    ("/api/assets/?min_confidence=NaN", 400, "invalid"),
    ("/api/assets/?state=gone", 400, "invalid"),
    ("/api/assets/?state=" + NUL, 400, "invalid"),
    ("/api/assets/?kind=x", 400, "invalid"),
    ("/api/assets/?page_size=0", 400, "invalid_parameter"),
    ("/api/assets/?page_size=201", 400, "invalid_parameter"),
    ("/api/assets/?page_size=" + BIG, 400, "invalid_parameter"),
    ("/api/assets/?page_size=000000001999", 400, "invalid_parameter"),
    ("/api/assets/?page_size=%D9%A3", 400, "invalid_parameter"),
    ("/api/assets/?cursor=", 200, None),
    ("/api/assets/?cursor=%F0%9F%98%80", 400, "invalid_parameter"),
    ("/api/assets/?cursor=a", 400, "invalid_parameter"),
    ("/api/assets/?cursor=" + cursor("p=abc"), 400, "invalid_parameter"),
    ("/api/assets/?cursor=" + cursor("p=" + BIG), 400, "invalid_parameter"),
    ("/api/assets/?order=random", 400, "invalid_parameter"),
    ("/api/assets/?order=" + NUL, 400, "invalid_parameter"),
    ("/api/assets/?order_tag=sky", 400, "invalid_parameter"),
    ("/api/assets/?order=confidence&order_tag=" + NUL, 400, "invalid_parameter"),
    ("/api/assets/?order=confidence&order_tag=" + "x" * 201, 400, "invalid_parameter"),
    ("/api/assets/?order=confidence&order_tag=nowhere", 200, None),
    ("/api/assets/?order=best&order=best", 400, "invalid_parameter"),
    ("/api/tags/?cursor=" + cursor("o=500"), 400, "invalid_parameter"),
    ("/api/tags/?cursor=" + cursor("r=x"), 400, "invalid_parameter"),
    ("/api/assets/?format=xml", 400, "unknown_parameter"),
    ("/api/assets/?%00=1", 400, "unknown_parameter"),
    ("/api/tags/?q=" + NUL, 400, "invalid_parameter"),
    ("/api/tags/?q=" + "x" * 201, 400, "invalid_parameter"),
    ("/api/tags/?q=%ed%a0%80", 200, None),
    ("/api/tags/?cursor=" + cursor("p=%00"), 400, "invalid_parameter"),
    ("/api/tags/?cursor=" + cursor("p=" + "x" * 300), 400, "invalid_parameter"),
    (f"/api/assets/{BIG}/", 404, "not_found"),
    ("/api/assets/9223372036854775808/", 404, "not_found"),
    ("/api/assets/-1/", 404, "not_found"),
    ("/api/assets/%D9%A3/", 404, "not_found"),
    ("/api/assets/%00/", 404, "not_found"),
    ("/api/assets/%ff/", 404, "not_found"),
    ("/api/tags/%00/", 404, "not_found"),
    ("/api/tags/%ff/", 404, "not_found"),
]


@pytest.mark.parametrize(
    ("path", "status", "code"), HOSTILE, ids=[row[0][:60] for row in HOSTILE]
)
def test_hostile_requests_get_a_plain_answer(
    api: APIClient, path: str, status: int, code: str | None
) -> None:
    tagged("h1", {"sky": 90})
    reply = api.get(path)
    assert reply.status_code == status, reply.content
    assert reply["Content-Type"] == "application/json"
    if status != 200:
        body = reply.json()
        assert body["status"] == status
        assert body["detail"]
        assert code is None or body["code"] == code


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"", "application/json", 400, "invalid"),
        (b"{", "application/json", 400, "parse_error"),
        (b"[]", "application/json", 400, "invalid"),
        (b'"text"', "application/json", 400, "invalid"),
        (b"null", "application/json", 400, "invalid"),
        (b'{"handle": NaN}', "application/json", 400, "parse_error"),
        (b'{"handle": "\xff"}', "application/json", 400, "parse_error"),
        (b"[" * 100_000, "application/json", 400, "parse_error"),
        (b"9" * 5000, "application/json", 400, "parse_error"),
        (b'{"handle": "a\\u0000"}', "application/json", 400, "invalid"),
        (b'{"handle": "\\ud800"}', "application/json", 400, "invalid"),
        (b" " * (MAX_BODY + 1), "application/json", 413, "too_large"),
        (b"{}", "application/json; charset=zlib", 400, "invalid"),
        (b"a=b", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b"<a/>", "text/xml", 415, "unsupported_media_type"),
        (b"{}", "", 415, "unsupported_media_type"),
    ],
)
def test_hostile_bodies_get_a_plain_answer(
    api: APIClient, body: bytes, content_type: str, status: int, code: str
) -> None:
    reply = api.generic("POST", "/api/assets/", body, content_type=content_type)
    assert reply.status_code == status, reply.content
    assert reply["Content-Type"] == "application/json"
    assert reply.json()["code"] == code


def test_the_answer_is_json_whatever_the_client_accepts(api: APIClient) -> None:
    reply = api.get("/api/assets/", headers={"Accept": "text/html, application/xml;q=0.9"})
    assert reply.status_code == 200
    assert json.loads(reply.content)["results"] == []


@pytest.mark.parametrize("method", ["put", "patch", "options"])
def test_a_method_that_is_not_offered_is_405(api: APIClient, method: str) -> None:
    asset = tagged("h1")
    reply = getattr(api, method)(f"/api/assets/{asset.pk}/")
    assert reply.status_code == 405
    assert reply.json()["code"] == "method_not_allowed"


def test_a_request_that_django_finds_suspicious_is_a_json_400(api: APIClient) -> None:
    with override_settings(DATA_UPLOAD_MAX_NUMBER_FIELDS=3):
        reply = api.get("/api/assets/?" + "&".join(["tag=a"] * 5))
    assert reply.status_code == 400
    assert reply.json()["code"] == "bad_request"


def test_faults_of_the_server_are_left_to_django(
    api: APIClient, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.FILESTACK_TAGS = "not a dict"
    with pytest.raises(Exception, match="FILESTACK_TAGS must be a dict"):
        api.get("/api/assets/?q=sky")
