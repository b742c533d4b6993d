"""Processing URLs, in every form that the SDKs and the docs write."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestack_tags.testing.grammar import Source, Unreadable, parse, parse_source

HANDLE = "bfTNCigRLq0QMI6lrlBT"
URL = "https://example.com/a%20b/%C3%BC.jpg?x=1&y=2"


@pytest.mark.parametrize(
    "path",
    [
        f"/security=p:PP==,s:SS/tags/{HANDLE}",
        f"/tags/security=s:SS,p:PP==/{HANDLE}",
        f"/AKEY/tags/security=policy:PP==,signature:SS/{HANDLE}",
        f"/tags/security=signature:SS,policy:PP%3D%3D/{HANDLE}",
    ],
)
def test_security_is_found_wherever_it_stands_and_however_it_is_named(path: str) -> None:
    call = parse(path)

    assert call.security == ("PP==", "SS")
    assert [task.name for task in call.work] == ["tags"]
    assert call.source == Source("handle", HANDLE)


@pytest.mark.parametrize(
    ("path", "query_string"),
    [
        ("/AKEY/tags/https://example.com/a%20b/%C3%BC.jpg", "x=1&y=2"),
        ('/AKEY/tags/"https://example.com/a%20b/%C3%BC.jpg', 'x=1&y=2"'),
        ("/AKEY/tags/%22https://example.com/a%20b/%C3%BC.jpg", "x=1&y=2%22"),
        ("/AKEY/tags/https:/example.com/a%20b/%C3%BC.jpg", "x=1&y=2"),
        (f"/AKEY/tags/{quote(URL, safe='')}", ""),
        (f"/AKEY/tags/b64://{base64.urlsafe_b64encode(URL.encode()).decode()}", ""),
        (f"/AKEY/tags/b64://{base64.urlsafe_b64encode(URL.encode()).decode().rstrip('=')}", ""),
    ],
)
def test_an_external_url_is_read_in_every_form(path: str, query_string: str) -> None:
    call = parse(path, query_string)

    assert call.api_key == "AKEY"
    assert call.source == Source("url", URL)


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1))
def test_a_wholly_encoded_url_comes_back_as_it_was(tail: str) -> None:
    url = f"https://example.com/{quote(tail)}?{quote(tail)}#{quote(tail)}"

    assert parse(f"/K/tags/{quote(url, safe='')}").source == Source("url", url)


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1))
def test_a_gateway_that_decodes_the_path_gives_the_same_url(tail: str) -> None:
    url = f"https://example.com/{quote(tail)}?{quote(tail)}"

    decoded = unquote(f"/K/tags/{quote(url, safe='')}")
    assert parse(decoded, encoded=False).source == Source("url", url)


@given(st.text(max_size=60))
def test_any_path_is_read_or_refused(path: str) -> None:
    try:
        call = parse(path)
    except Unreadable:
        return
    assert call.source is not None or any(t.name == "workflow_status" for t in call.tasks)


def test_an_alias_path_keeps_its_slashes() -> None:
    call = parse("/AKEY/tags/src://photos/2024/a%20b.jpg")

    assert call.source == Source("alias", "photos/2024/a b.jpg")
    assert str(call.source) == "src://photos/2024/a b.jpg"


def test_a_workflow_file_is_a_source() -> None:
    assert parse("/AKEY/wf://a/b/c").source == Source("workflow_file", "wf://a/b/c")


def test_workflow_status_has_no_source() -> None:
    call = parse("/AKEY/security=p:P,s:S/workflow_status=job_id:J-1")

    assert call.source is None
    assert call.work[-1].text("job_id") == "J-1"


@pytest.mark.parametrize("path", [f"/{HANDLE}/metadata", f"/metadata/{HANDLE}"])
def test_metadata_is_written_before_or_behind_the_handle(path: str) -> None:
    call = parse(path)

    assert call.source == Source("handle", HANDLE)
    assert [task.name for task in call.work] == ["metadata"]


def test_options_are_lists_quoted_texts_and_plain_texts() -> None:
    path = f"/crop=dim:%5B1,2,3,4%5D/store=path:%22a/b,c/%22,workflows:[wf-1]/{HANDLE}"
    crop, store = parse(path).work

    assert crop.texts("dim") == ["1", "2", "3", "4"]
    assert store.text("path") == "a/b,c/"
    assert store.texts("workflows") == ["wf-1"]
    assert store.texts("filename") == []


def test_tasks_may_be_one_base64_of_json() -> None:
    tasks = [{"name": "resize", "params": {"height": 10, "upscale": False}}, {"name": "tags"}]
    encoded = base64.urlsafe_b64encode(json.dumps(tasks).encode()).decode()

    call = parse(f"/AKEY/b64/{encoded}/{HANDLE}")

    assert [task.name for task in call.work] == ["resize", "tags"]
    assert call.work[0].text("h", "height") == "10"
    assert call.work[0].text("upscale") == "false"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/", "no source"),
        ("/tags=version/" + HANDLE, "name:value"),
        ("/tags/no handle", "a handle is"),
        ("/AKEY/tags/src://alias", "src://ALIAS/PATH"),
        ("/AKEY/tags/http://?x", "no host"),
        ("/AKEY/tags/http://[half/a.jpg", "cannot be read"),
        ("/AKEY/b64/!!!/" + HANDLE, "base64url"),
        ("/AKEY/b64/e30=/" + HANDLE, "tasks are a list"),
        ("/AKEY/b64/ew==/" + HANDLE, "not JSON"),
        ("/AKEY/b64/WzFd/" + HANDLE, "object with a name"),
        ("/resize=w:1", "no source"),
    ],
)
def test_what_cannot_be_read_is_named(path: str, message: str) -> None:
    with pytest.raises(Unreadable, match=message):
        parse(path)


def test_a_task_in_json_has_an_object_of_params() -> None:
    text = base64.urlsafe_b64encode(b'[{"name":"tags","params":[1]}]').decode()

    with pytest.raises(Unreadable, match="params"):
        parse(f"/AKEY/b64/{text}/{HANDLE}")


def test_a_source_in_json_is_a_url_or_a_handle() -> None:
    assert parse_source("http://127.0.0.1/%22a%22") == Source("url", "http://127.0.0.1/%22a%22")
    assert parse_source(HANDLE) == Source("handle", HANDLE)
