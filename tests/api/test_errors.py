"""Errors are JSON in one format, name the cause, and are never a server error."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from rest_framework.exceptions import APIException
from rest_framework.test import APIClient

from filestack_tags.api import base, problems
from filestack_tags.api.filters import AssetFilters
from filestack_tags.api.problems import PREFIX, Problem
from filestack_tags.api.requests import MAX_BODY

from .rows import tagged

pytestmark = pytest.mark.django_db

DOCUMENT = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")


def cursor(text: str) -> str:
    return b64encode(text.encode()).decode()


def test_a_search_that_cannot_be_read_is_explained(api: APIClient) -> None:
    reply = api.get("/api/v1/assets/", {"q": " sky=>80"})
    assert reply.status_code == 400
    body = reply.json()
    assert body["type"] == PREFIX + "invalid-query"
    assert body["status"] == 400
    assert body["parameter"] == "q"
    assert body["position"] == 5, "counted in the text as it was sent, with its first space"
    assert body["found"]
    assert body["suggestion"].strip() == "sky>=80"
    assert isinstance(body["expected"], list)


def test_an_unknown_parameter_is_named_together_with_the_known_ones(api: APIClient) -> None:
    reply = api.get("/api/v1/assets/?tags=sky&colour=red&tag=sky")
    assert reply.status_code == 400
    body = reply.json()
    assert body["type"] == PREFIX + "unknown-parameter"
    assert body["unknown"] == ["colour", "tags"]
    ordering = ["cursor", "page_size", "order", "order_tag", "fields", "include"]
    assert body["allowed"] == sorted([*AssetFilters().fields, *ordering])
    assert body["detail"].startswith(
        'Unknown parameter "colour", "tags". Allowed parameters: created_after, '
    )


@pytest.mark.parametrize(
    "path", ["/api/v1/tags/?tag=a", "/api/v1/tags/sky/?q=a", "/api/v1/assets/1/?q=a"]
)
def test_parameters_are_known_for_each_endpoint_alone(api: APIClient, path: str) -> None:
    reply = api.get(path)
    assert reply.status_code == 400
    assert reply.json()["type"] == PREFIX + "unknown-parameter"


BIG = "9" * 40
NUL = "%00"

HOSTILE = [
    ("/api/v1/assets/?q=" + NUL, 400, None),
    ("/api/v1/assets/?q=" + "a" * 2000, 400, "invalid-query"),
    ("/api/v1/assets/?q=" + "(" * 900, 400, "invalid-query"),
    ("/api/v1/assets/?q=a&q=b", 400, "invalid-parameter"),
    ("/api/v1/assets/?q=%ff%fe", 200, None),
    ("/api/v1/assets/?q=%ed%a0%80", 200, None),
    ("/api/v1/assets/?q=size:%3E" + BIG, 400, "invalid-query"),
    ("/api/v1/assets/?q=handle:" + NUL, 400, None),
    # A long s, which equals s if case is ignored.
    ("/api/v1/assets/?q=%C5%BFize:5", 400, "invalid-query"),
    ("/api/v1/assets/?q=%C5%BFtatus:failed", 400, "invalid-query"),
    ("/api/v1/assets/?q=%E2%84%AAind:url", 400, "invalid-query"),
    ("/api/v1/decisions/?cursor=" + cursor("p="), 400, "invalid-parameter"),
    ("/api/v1/assets/?tag=", 400, "invalid-parameter"),
    ("/api/v1/assets/?tag=" + NUL, 400, "invalid-parameter"),
    ("/api/v1/assets/?tag=sky:101", 400, "invalid-parameter"),
    ("/api/v1/assets/?tag=sky:" + BIG, 400, "invalid-parameter"),
    ("/api/v1/assets/?tag=sky:%D9%A3", 200, None),
    ("/api/v1/assets/?tag=" + "x" * 201, 400, "invalid-parameter"),
    ("/api/v1/assets/?tag=" + "%EF%B7%BA" * 12, 400, "invalid-parameter"),
    ("/api/v1/assets/?" + "&".join(["tag=sky"] * 40), 400, "invalid-parameter"),
    ("/api/v1/assets/?" + "&".join(["tag_any=sky"] * 40), 400, "invalid-parameter"),
    ("/api/v1/assets/?" + "&".join(["tag_none=" + "x" * 150] * 10), 400, "invalid-parameter"),
    ("/api/v1/assets/?min_confidence=101", 400, "invalid-parameter"),
    ("/api/v1/assets/?min_confidence=-1", 400, "invalid-parameter"),
    ("/api/v1/assets/?min_confidence=1e2", 400, "invalid-parameter"),
    ("/api/v1/assets/?min_confidence=" + BIG, 400, "invalid-parameter"),
    ("/api/v1/assets/?min_confidence=NaN", 400, "invalid-parameter"),
    ("/api/v1/assets/?state=gone", 400, "invalid-parameter"),
    ("/api/v1/assets/?state=" + NUL, 400, "invalid-parameter"),
    ("/api/v1/assets/?kind=x", 400, "invalid-parameter"),
    ("/api/v1/assets/?page_size=0", 400, "invalid-parameter"),
    ("/api/v1/assets/?page_size=201", 400, "invalid-parameter"),
    ("/api/v1/assets/?page_size=" + BIG, 400, "invalid-parameter"),
    ("/api/v1/assets/?page_size=000000001999", 400, "invalid-parameter"),
    ("/api/v1/assets/?page_size=%D9%A3", 400, "invalid-parameter"),
    ("/api/v1/assets/?cursor=", 200, None),
    ("/api/v1/assets/?cursor=%F0%9F%98%80", 400, "invalid-parameter"),
    ("/api/v1/assets/?cursor=a", 400, "invalid-parameter"),
    ("/api/v1/assets/?cursor=" + cursor("p=abc"), 400, "invalid-parameter"),
    ("/api/v1/assets/?cursor=" + cursor("p=" + BIG), 400, "invalid-parameter"),
    ("/api/v1/assets/?order=random", 400, "invalid-parameter"),
    ("/api/v1/assets/?order=" + NUL, 400, "invalid-parameter"),
    ("/api/v1/assets/?order_tag=sky", 400, "invalid-parameter"),
    ("/api/v1/assets/?order=confidence&order_tag=" + NUL, 400, "invalid-parameter"),
    ("/api/v1/assets/?order=confidence&order_tag=" + "x" * 201, 400, "invalid-parameter"),
    ("/api/v1/assets/?order=confidence&order_tag=nowhere", 200, None),
    ("/api/v1/assets/?order=best&order=best", 400, "invalid-parameter"),
    ("/api/v1/tags/?cursor=" + cursor("o=500"), 400, "invalid-parameter"),
    ("/api/v1/tags/?cursor=" + cursor("r=x"), 400, "invalid-parameter"),
    ("/api/v1/assets/?format=xml", 400, "unknown-parameter"),
    ("/api/v1/assets/?%00=1", 400, "unknown-parameter"),
    ("/api/v1/tags/?q=" + NUL, 400, "invalid-parameter"),
    ("/api/v1/tags/?q=" + "x" * 201, 400, "invalid-parameter"),
    ("/api/v1/tags/?q=%ed%a0%80", 200, None),
    ("/api/v1/tags/?cursor=" + cursor("p=%00"), 400, "invalid-parameter"),
    ("/api/v1/tags/?cursor=" + cursor("p=" + "x" * 300), 400, "invalid-parameter"),
    (f"/api/v1/assets/{BIG}/", 404, "not-found"),
    ("/api/v1/assets/9223372036854775808/", 404, "not-found"),
    ("/api/v1/assets/-1/", 404, "not-found"),
    ("/api/v1/assets/%D9%A3/", 404, "not-found"),
    ("/api/v1/assets/%00/", 404, "not-found"),
    ("/api/v1/assets/%ff/", 404, "not-found"),
    ("/api/v1/tags/%00/", 404, "not-found"),
    ("/api/v1/tags/%ff/", 404, "not-found"),
    ("/api/v1/tags/%0A/", 404, "not-found"),
    ("/api/v1/tags/sky/aliases/%0A%ef/", 404, "not-found"),
]


@pytest.mark.parametrize(
    ("path", "status", "code"), HOSTILE, ids=[row[0][:60] for row in HOSTILE]
)
def test_hostile_requests_get_a_plain_answer(
    api: APIClient, path: str, status: int, code: str
) -> None:
    tagged("h1", {"sky": 90})
    reply = api.get(path)
    assert reply.status_code == status, reply.content
    form = "application/json" if status == 200 else problems.CONTENT_TYPE
    assert reply["Content-Type"] == form
    if status != 200:
        body = reply.json()
        assert body["title"]
        assert body["status"] == status
        assert body["detail"]
        assert code is None or body["type"] == PREFIX + code


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"", "application/json", 400, "invalid-values"),
        (b"{", "application/json", 400, "malformed-body"),
        (b"[]", "application/json", 400, "invalid-values"),
        (b'"text"', "application/json", 400, "invalid-values"),
        (b"null", "application/json", 400, "invalid-values"),
        (b'{"handle": NaN}', "application/json", 400, "malformed-body"),
        (b'{"handle": "\xff"}', "application/json", 400, "malformed-body"),
        (b"[" * 100_000, "application/json", 400, "malformed-body"),
        *(
            (
                b"[" * deep + b'"\\u0041"' + b"]" * deep,
                "application/json",
                400,
                "invalid-values malformed-body",  # as deep as the interpreter goes
            )
            for deep in (300, 900, 990, 5000)
        ),
        (b"9" * 5000, "application/json", 400, "malformed-body"),
        (b'{"handle": "a\\u0000"}', "application/json", 400, "invalid-values"),
        (b'{"handle": "\\ud800"}', "application/json", 400, "malformed-body"),
        (b'{"handle": "h", "\\uDC00": 1}', "application/json", 400, "malformed-body"),
        (b'{"handle": "h", "\\ud83d\\ude00": 1}', "application/json", 400, "invalid-values"),
        (b" " * (MAX_BODY + 1), "application/json", 413, "too-large"),
        (b"{}", "application/json; charset=zlib", 400, "invalid-values"),
        (b"a=b", "application/x-www-form-urlencoded", 415, "unsupported-media-type"),
        (b"<a/>", "text/xml", 415, "unsupported-media-type"),
        (b"{}", "", 415, "unsupported-media-type"),
    ],
)
def test_hostile_bodies_get_a_plain_answer(
    api: APIClient, body: bytes, content_type: str, status: int, code: str | None
) -> None:
    reply = api.generic("POST", "/api/v1/assets/", body, content_type=content_type)
    assert reply.status_code == status, reply.content
    assert reply["Content-Type"] == problems.CONTENT_TYPE
    assert reply.json()["type"] in (PREFIX + name for name in code.split())


@pytest.mark.parametrize(
    ("query", "position"),
    [
        ("include:hidden sky", 0),
        ("sky   AND   Include :hidden", 12),
        ('"includes" include:"hidden" (sea OR sky)', 11),
        ("sea    SK*", 7),
    ],
)
def test_an_error_says_where_it_is_in_what_was_sent(
    client_of: Any, settings: Any, query: str, position: int
) -> None:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "SEARCH_MAX_WILDCARD_TAGS": 1}
    tagged("h1", {"sky": 90, "skyline": 80})
    client = client_of("view_asset")
    for path in ("", "count/", "facets/"):
        reply = client.get(f"/api/v1/assets/{path}", {"q": query, "tag": "sky", "state": "new"})
        assert (reply.status_code, reply.json()["position"]) == (400, position), path


def test_the_answer_is_json_whatever_the_client_accepts(api: APIClient) -> None:
    reply = api.get("/api/v1/assets/", headers={"Accept": "text/html, application/xml;q=0.9"})
    assert reply.status_code == 200
    assert json.loads(reply.content)["results"] == []


@pytest.mark.parametrize("method", ["put", "trace", "options"])
def test_a_method_that_is_not_offered_is_405(api: APIClient, method: str) -> None:
    asset = tagged("h1")
    reply = getattr(api, method)(f"/api/v1/assets/{asset.pk}/")
    assert reply.status_code == 405
    assert reply.json()["type"] == PREFIX + "method-not-allowed"


@pytest.mark.parametrize("method", ["get", "post", "delete"])
@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/api/v1/assets", "Not found. Did you mean /api/v1/assets/?"),
        ("/api/v1/assets/1/nothing/", "Not found."),
        ("/api/v1/assets/1/nothing", "Not found."),
        ("/api/v1/tags/sky", "Not found. Did you mean /api/v1/tags/sky/?"),
    ],
)
def test_an_unknown_url_is_a_problem_too(method: str, path: str, detail: str) -> None:
    reply = getattr(APIClient(enforce_csrf_checks=True), method)(path)
    assert reply.status_code == 404
    assert reply["Content-Type"] == problems.CONTENT_TYPE
    assert reply.json()["type"] == problems.NOT_FOUND.type
    assert reply.json()["detail"] == detail


def test_addresses_of_the_host_beside_ours_are_left_alone() -> None:
    for path in ("/api/", "/api/v1/", "/api/v1/theirs/", "/api/v1/assetsandmore/"):
        assert APIClient().get(path)["Content-Type"].startswith("text/html")


def test_errors_name_the_path_of_the_field(api: APIClient) -> None:
    body = {"handle": "h1", "upload_tags": {"id": {"a": 1}}, "tag": "perhaps"}
    reply = api.post("/api/v1/assets/", body, format="json")
    assert [error["field"] for error in reply.json()["errors"]] == ["upload_tags.id", "tag"]
    assert all(error["detail"] for error in reply.json()["errors"])
    whole = api.post("/api/v1/assets/", [], format="json").json()["errors"]
    assert [error["field"] for error in whole] == [""]


def test_an_error_of_the_hosts_own_has_no_type_of_ours(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unpaid(APIException):
        status_code = 402
        default_detail = "Pay first."

    def refuse(self: Any, request: Any) -> None:
        raise Unpaid

    monkeypatch.setattr(base.View, "perform_authentication", refuse)
    reply = api.get("/api/v1/assets/")
    assert reply.json() == {
        "type": "about:blank",
        "title": "Payment Required",
        "status": 402,
        "detail": "Pay first.",
    }


def test_every_problem_is_documented_with_its_status_title_and_members() -> None:
    rows = re.findall(
        r"^\| `([a-z-]+)` \| (\d{3}) \| ([^|]+) \| ([^|]*)\|$", DOCUMENT, re.MULTILINE
    )
    documented = {
        name: (int(status), title, tuple(re.findall(r"`(\w+)`", members)))
        for name, status, title, members in rows
    }
    assert documented == {
        problem.name: (problem.status, str(problem.title), problem.members)
        for problem in problems.PROBLEMS
    }


def test_every_problem_that_is_declared_is_in_the_catalogue() -> None:
    declared = {value for value in vars(problems).values() if isinstance(value, Problem)}
    assert declared == set(problems.PROBLEMS)


def test_a_request_that_django_finds_suspicious_is_a_json_400(api: APIClient) -> None:
    with override_settings(DATA_UPLOAD_MAX_NUMBER_FIELDS=3):
        reply = api.get("/api/v1/assets/?" + "&".join(["tag=a"] * 5))
    assert reply.status_code == 400
    assert reply.json()["type"] == PREFIX + "malformed-request"


def test_faults_of_the_server_are_left_to_django(
    api: APIClient, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.FILESTACK_TAGS = "not a dict"
    with pytest.raises(Exception, match="FILESTACK_TAGS must be a dict"):
        api.get("/api/v1/assets/?q=sky")
