"""The client: requests on the wire, and their results or errors."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import subprocess
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote
from wsgiref.simple_server import WSGIRequestHandler, make_server

import filestack
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestack_tags.exceptions import (
    AccessDenied,
    ConfigurationError,
    ConnectionFailed,
    FileNotFound,
    FilestackError,
    FilestackTagsError,
    InvalidApplication,
    InvalidReference,
    PayloadError,
    PolicyRejected,
    RateLimited,
    RequestRejected,
    ServerError,
    UnexpectedReply,
)
from filestack_tags.filestack import AsyncFilestackClient, FilestackClient, Security, Source
from filestack_tags.filestack.calls import Calls
from filestack_tags.filestack.errors import MAX_RAW
from filestack_tags.filestack.exchange import MAX_REPLY
from filestack_tags.filestack.storage import Storage
from tests.payloads import decoded, payload

SECRET = "TESTSECRET0000000000000000"
NOW = 1_700_000_000
HANDLE = Source.handle("bfTNCigRLq0QMI6lrlBT")
OPTIONS = {"api_key": "AKEY", "app_secret": SECRET, "clock": lambda: NOW}
WORKFLOW = "67d273c3-249c-4192-b228-9c3e1d003963"

CALLS = {
    "tags": lambda client: client.tags(HANDLE),
    "run_workflow": lambda client: client.run_workflow(WORKFLOW, HANDLE),
    "workflow_status": lambda client: client.workflow_status("job-1"),
    "store_url": lambda client: client.store_url("https://example.com/a.jpg"),
    "store_bytes": lambda client: client.store_bytes(b"x", filename="a", mimetype="image/png"),
    "metadata": lambda client: client.metadata("abc"),
    "delete": lambda client: client.delete("abc"),
    "download": lambda client: client.download(HANDLE, max_bytes=1000),
}


def policy_of(text: str) -> dict[str, object]:
    return json.loads(base64.urlsafe_b64decode(text))


class Wire:
    """A transport that records the requests and gives one answer."""

    def __init__(self, answer: httpx2.Response | Exception) -> None:
        self.answer = answer
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    @property
    def path(self) -> str:
        return self.requests[-1].url.raw_path.decode()

    @property
    def params(self) -> httpx2.QueryParams:
        return self.requests[-1].url.params


def ask(kind, act, answer, **options):
    """Run ``act`` with the blocking or the asynchronous client; return the wire and the result."""
    wire = Wire(answer)
    transport = httpx2.MockTransport(wire)
    settings = {**OPTIONS, **options}
    if kind is FilestackClient:
        with FilestackClient(transport=transport, **settings) as client:
            return wire, act(client)

    async def run():
        async with AsyncFilestackClient(transport=transport, **settings) as client:
            return await act(client)

    return wire, asyncio.run(run())


def failing(act, answer, expected=FilestackError, **options):
    with pytest.raises(expected) as caught:
        ask(FilestackClient, act, answer, **options)
    return caught.value


def replied(name: str, status: int = 200) -> httpx2.Response:
    return httpx2.Response(status, content=payload(name))


both = pytest.mark.parametrize("kind", [FilestackClient, AsyncFilestackClient])


@both
class TestResults:
    def test_tags(self, kind):
        wire, reply = ask(kind, CALLS["tags"], replied("tags_sync_v2.json"))
        assert reply.auto == decoded("tags_sync_v2.json")["tags"]["auto"]
        assert json.loads(reply.raw) == decoded("tags_sync_v2.json")
        assert reply.http_status == 200
        signed = Security(SECRET).sign(
            {"call": ["read", "convert"], "expiry": NOW + 300, "handle": HANDLE.reference}
        )
        assert wire.path == (
            f"/security=p:{signed.policy},s:{signed.signature}/tags/{HANDLE.reference}"
        )
        assert str(wire.requests[0].url).startswith("https://cdn.filestackcontent.com/")

    def test_run_workflow(self, kind):
        wire, job = ask(kind, CALLS["run_workflow"], replied("run_workflow_response.json"))
        assert job.job_id == "7dba00f5-aee2-4f65-bd16-631e626b3c93"
        assert job.http_status == 200
        assert wire.path.endswith(f"/run_workflow=id:{WORKFLOW}/{HANDLE.reference}")

    def test_workflow_status(self, kind):
        wire, job = ask(
            kind, CALLS["workflow_status"], replied("workflow_status_finished.json")
        )
        assert job.is_finished
        assert job.merged_tags().auto["umbrella"] == 97
        assert wire.path.startswith("/AKEY/security=p:")
        assert wire.path.endswith("/workflow_status=job_id:job-1")

    def test_store_url(self, kind):
        wire, stored = ask(
            kind,
            lambda client: client.store_url(
                "https://example.com/a?b#c",
                filename="a.jpg",
                upload_tags={"tenant": "7"},
                workflows=[WORKFLOW],
            ),
            replied("process_response.json"),
        )
        assert stored.handle == "bfTNCigRLq0QMI6lrlBT"
        body = json.loads(wire.requests[0].content)
        [store, security] = body["tasks"]
        assert (wire.path, body["apikey"]) == ("/process", "AKEY")
        assert body["sources"] == ["https://example.com/a?b"]
        assert store == {
            "name": "store",
            "params": {
                "location": "s3",
                "filename": "a.jpg",
                "workflows": [WORKFLOW],
            },
        }
        # As filestack-js 4.3.8 does: they are not an option of the store task.
        assert body["upload_tags"] == {"tenant": "7"}
        assert security["name"] == "security"
        assert policy_of(security["params"]["policy"]) == {
            "call": ["store", "convert", "runWorkflow"],
            "expiry": NOW + 300,
        }

    def test_store_bytes(self, kind):
        wire, stored = ask(
            kind,
            lambda client: client.store_bytes(
                b"\x89PNG", filename="ü.png", mimetype="image/png"
            ),
            replied("store_response.json"),
        )
        assert (stored.handle, stored.size) == ("HANDLE", 8331)
        request = wire.requests[0]
        assert (request.method, request.content) == ("POST", b"\x89PNG")
        assert request.headers["Content-Type"] == "image/png"
        assert request.url.host == "www.filestackapi.com"
        assert request.url.path == "/api/store/S3"
        assert (wire.params["key"], wire.params["filename"]) == ("AKEY", "ü.png")
        assert policy_of(wire.params["policy"])["call"] == ["store"]

    @pytest.mark.parametrize("access", ["private", "public"])
    def test_files_are_stored_with_the_options_of_the_storage(self, kind, access):
        storage = Storage(
            location="azure", region="eu", container="box", path="in", access=access
        )
        options = {"storage": storage}
        wire, _ = ask(kind, CALLS["store_url"], replied("process_response.json"), **options)
        [store, _] = json.loads(wire.requests[0].content)["tasks"]
        assert store["params"] == {
            "location": "azure",
            "region": "eu",
            "container": "box",
            "path": "in/",
            "access": access,
        }
        wire, _ = ask(kind, CALLS["store_bytes"], replied("store_response.json"), **options)
        assert wire.requests[0].url.path == "/api/store/azure"
        place = {name: wire.params.get(name) for name in ("container", "path", "access")}
        assert place == {"container": "box", "path": "in/", "access": access}
        assert "region" not in wire.params  # the File API has none

    def test_metadata(self, kind):
        wire, found = ask(kind, CALLS["metadata"], replied("metadata.json"))
        assert (found.mimetype, found.size) == ("image/jpeg", 8331)
        assert wire.requests[0].url.path == "/api/file/abc/metadata"
        assert wire.params["width"] == "true"
        policy = policy_of(wire.params["policy"])
        assert (policy["call"], policy["handle"]) == (["stat"], "abc")

    @pytest.mark.parametrize("answer", [b"", b"{}", b'"success"', b"OK"])
    def test_delete(self, kind, answer):
        wire, result = ask(kind, CALLS["delete"], httpx2.Response(200, content=answer))
        assert result is None
        assert wire.requests[0].method == "DELETE"
        assert wire.requests[0].url.path == "/api/file/abc"
        policy = policy_of(wire.params["policy"])
        assert (policy["call"], policy["handle"]) == (["remove"], "abc")
        assert "%3D&signature=" in wire.path  # the padding, as a query needs it

    def test_download(self, kind):
        wire, content = ask(
            kind, CALLS["download"], httpx2.Response(200, content=b"0123456789")
        )
        assert content == b"0123456789"
        assert policy_of(wire.path.split("p:")[1].split(",")[0])["call"] == ["read"]
        assert wire.path.endswith(f"/{HANDLE.reference}")

    def test_a_download_beyond_the_limit_is_refused(self, kind):
        with pytest.raises(RequestRejected, match="larger than 10 bytes") as caught:
            ask(
                kind,
                lambda client: client.download(HANDLE, max_bytes=10),
                httpx2.Response(200, content=b"0" * 11),
            )
        assert caught.value.code == "file_too_large"
        assert not caught.value.retryable

    def test_no_answer_is_a_failed_connection(self, kind):
        with pytest.raises(ConnectionFailed, match="did not respond to tags in time") as caught:
            ask(kind, CALLS["tags"], httpx2.ReadTimeout("too slow"))
        assert caught.value.retryable
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None


class TestAddresses:
    @pytest.mark.parametrize(
        "source", [Source.url("https://e.com/a b?x=1#f"), Source.alias("s", "a b")]
    )
    def test_sources_outside_filestack_name_the_app(self, source):
        wire, _ = ask(FilestackClient, lambda c: c.tags(source), replied("tags_sync_v2.json"))
        assert wire.path.startswith("/AKEY/security=p:")
        assert wire.path.endswith(f"/tags/{source.path}")
        assert "handle" not in policy_of(wire.path.split("p:")[1].split(",")[0])

    @pytest.mark.parametrize(
        ("before", "tasks"),
        [
            ((), "cache=false/tags"),
            (("resize=h:2000",), "cache=false/resize=h:2000/tags"),
            (("cache=expiry:60", "resize=h:2000"), "cache=false/resize=h:2000/tags"),
        ],
    )
    def test_a_fresh_reply_is_not_taken_from_the_cache(self, before, tasks):
        call = Calls(**OPTIONS).tags(HANDLE, before=before, fresh=True)
        assert call.url.endswith(f"/{tasks}/{HANDLE.reference}")

    def test_a_fresh_download_is_not_taken_from_the_cache(self):
        call = Calls(**OPTIONS).download(HANDLE, max_bytes=9, fresh=True)
        assert call.url.endswith(f"/cache=false/{HANDLE.reference}")
        assert "convert" in call.allows

    @pytest.mark.parametrize(
        ("version", "task"), [(None, "tags"), (2, "tags=version:2"), (1, "tags=version:1")]
    )
    def test_tasks_stand_before_tags(self, version, task):
        before = ("resize=w:800,h:600", "monochrome")
        call = Calls(**OPTIONS).tags(HANDLE, before=before, version=version)
        assert call.url.endswith(f"/resize=w:800,h:600/monochrome/{task}/{HANDLE.reference}")

    @pytest.mark.parametrize(
        "task",
        [
            "",
            "a/b",
            "security=p:x",
            "tags",
            "tags=version:1",
            "a b",
            "resize=",
            "..",
            "a=%2f",
            "a\n",
        ],
    )
    def test_what_is_no_task_is_refused_before_anything_is_sent(self, task):
        with pytest.raises(ConfigurationError, match="TASKS_BEFORE_TAGS"):
            Calls(**OPTIONS).tags(HANDLE, before=(task,))

    def test_one_text_is_not_a_list_of_tasks(self):
        with pytest.raises(ConfigurationError, match="list of texts"):
            Calls(**OPTIONS).tags(HANDLE, before="resize=h:1")

    def test_an_unknown_version_is_refused(self):
        with pytest.raises(ConfigurationError, match="versions 1 and 2, not 3"):
            Calls(**OPTIONS).tags(HANDLE, version=3)

    @pytest.mark.parametrize("identifier", ["", "a/b", "..", "a b", "x" * 101, "a?b"])
    def test_an_id_that_is_none_is_refused(self, identifier):
        calls = Calls(**OPTIONS)
        with pytest.raises(InvalidReference, match="workflow id"):
            calls.run_workflow(identifier, HANDLE)
        with pytest.raises(InvalidReference, match="job id"):
            calls.workflow_status(identifier)
        with pytest.raises(InvalidReference, match="workflow id"):
            calls.store_url("https://example.com/", workflows=[identifier])

    @pytest.mark.parametrize("handle", ["", "a/b", "../x", "a?b"])
    def test_a_handle_that_is_none_is_refused(self, handle):
        with pytest.raises(InvalidReference):
            Calls(**OPTIONS).delete(handle)
        with pytest.raises(InvalidReference):
            Calls(**OPTIONS).metadata(handle)

    @pytest.mark.parametrize(
        "tags",
        [
            {str(n): "" for n in range(11)},
            {"k" * 129: ""},
            {"": ""},
            {"k": "v" * 257},
            {"k": 1},
        ],
    )
    def test_upload_tags_beyond_the_limits_are_refused(self, tags):
        with pytest.raises(ValueError, match="at most 10 pairs"):
            Calls(**OPTIONS).store_url("https://example.com/", upload_tags=tags)

    @pytest.mark.parametrize("name", ["workflow_status", "store_url", "store_bytes", "delete"])
    def test_a_call_that_names_the_app_needs_the_key(self, name):
        error = failing(CALLS[name], httpx2.Response(200), ConfigurationError, api_key="")
        assert "API_KEY" in str(error)

    def test_the_hosts_can_be_replaced(self):
        wire, _ = ask(
            FilestackClient,
            CALLS["tags"],
            replied("tags_sync_v2.json"),
            cdn_url="http://127.0.0.1:8000/cdn/",
        )
        assert str(wire.requests[0].url).startswith("http://127.0.0.1:8000/cdn/security=")

    @pytest.mark.parametrize("reference", ["bfTNCigRLq0QMI6lrlBT", "a-_3456789012345678Z"])
    def test_the_official_sdk_sends_the_same_segments(self, reference, monkeypatch):
        policy = {"call": ["read", "convert"], "expiry": NOW + 300, "handle": reference}
        link = filestack.Filelink(
            reference, apikey="AKEY", security=filestack.Security(policy, SECRET)
        )
        with served() as (url, seen), FilestackClient(**OPTIONS, cdn_url=url) as client:
            monkeypatch.setattr(type(filestack.config), "CDN_URL", url)
            theirs = link.resize(height=2000).tags()
            ours = client.tags(Source.handle(reference), before=["resize=height:2000"])
        assert theirs["tags"]["auto"] == ours.auto
        # The position of the security segment is free: theirs is last, ours first.
        assert sorted(seen[0].split("/")) == sorted(seen[1].split("/"))


class TestErrors:
    @pytest.mark.parametrize("name", sorted(CALLS))
    def test_invalid_application_is_an_error_even_with_status_200(self, name):
        error = failing(CALLS[name], replied("error_200_invalid_application.txt"))
        assert type(error) is InvalidApplication
        assert (error.status, error.raw_reply) == (200, "Invalid Application")
        assert "API_KEY" in str(error)

    @pytest.mark.parametrize("name", sorted(CALLS))
    def test_an_error_sent_as_a_success_is_an_error(self, name):
        body = b'{"error":"invalid security policy path"}'
        assert type(failing(CALLS[name], httpx2.Response(200, content=body))) is PolicyRejected

    @pytest.mark.parametrize(
        ("status", "body", "kind", "retryable"),
        [
            (400, "error_processing_string.json", RequestRejected, False),
            (403, "error_upload_invalid_app_policy.json", PolicyRejected, False),
            (403, "error_api_policy_required.json", PolicyRejected, False),
            (403, "error_plain_policy.txt", PolicyRejected, False),
            (400, b"policy was not properly url-safe base64 encoded", PolicyRejected, False),
            (401, b"", AccessDenied, False),
            (403, b"<html>Forbidden</html>", AccessDenied, False),
            (404, b"", FileNotFound, False),
            (410, b'{"error":{"message":"gone"}}', FileNotFound, False),
            (413, b"", RequestRejected, False),
            (429, b"", RateLimited, True),
            (500, b"policy service down", ServerError, True),
            (503, b"", ServerError, True),
            (302, b"", UnexpectedReply, False),
            (200, b'{"tags": {"auto": {"cat"', UnexpectedReply, True),
            (200, b"", UnexpectedReply, True),
            (200, b"\x89PNG\r\n\x00\xff", UnexpectedReply, True),
            (200, b"<html>Log in to the Wi-Fi</html>", UnexpectedReply, True),
            (200, b'{"tags": {"cat": 98}}', UnexpectedReply, False),
            (200, b'{"error": "Unsupported input format"}', RequestRejected, False),
            (204, b"", UnexpectedReply, True),
        ],
    )
    def test_every_reply_that_is_no_answer_has_its_kind(self, status, body, kind, retryable):
        content = payload(body) if isinstance(body, str) else body
        error = failing(CALLS["tags"], httpx2.Response(status, content=content))
        assert type(error) is kind
        assert (error.retryable, error.status) == (retryable, status)
        assert error.raw_reply == content.decode("utf-8", "replace").replace("\x00", "\ufffd")
        assert "tags" in error.message

    def test_what_filestack_said_is_repeated(self):
        error = failing(CALLS["tags"], replied("error_processing_string.json", 400))
        assert str(error) == "Filestack refused tags (HTTP 400): Unsupported input format."

    def test_a_refused_policy_says_what_it_allowed(self):
        error = failing(CALLS["tags"], replied("error_plain_policy.txt", 403))
        assert error.fix.endswith("The policy allows these calls: read, convert.")

    def test_an_expired_policy_points_at_the_clock(self):
        error = failing(
            CALLS["tags"], httpx2.Response(403, json={"error": "policy has expired"})
        )
        assert type(error) is PolicyRejected
        assert "clock" in error.fix

    @pytest.mark.parametrize("name", ["run_workflow", "workflow_status"])
    def test_a_missing_job_or_workflow_is_not_a_missing_file(self, name):
        error = failing(CALLS[name], httpx2.Response(404))
        assert type(error) is RequestRejected
        assert "workflow id" in error.fix

    def test_a_full_upload_service_is_a_rate_limit(self):
        assert type(failing(CALLS["store_url"], httpx2.Response(503))) is RateLimited

    @pytest.mark.parametrize(
        ("reset", "expected"),
        [
            (str(NOW + 60), datetime.fromtimestamp(NOW + 60, UTC)),
            (str(NOW), datetime.fromtimestamp(NOW, UTC)),
            (f" {NOW + 60} ", datetime.fromtimestamp(NOW + 60, UTC)),
            (str(NOW - 1), None),
            (str(NOW + 40 * 86400), None),
            ("9" * 40, None),
            ("soon", None),
            ("-1", None),
            ("", None),
        ],
    )
    @pytest.mark.parametrize("status", [429, 503])
    def test_when_to_ask_again_is_believed_if_sensible(self, reset, expected, status):
        answer = httpx2.Response(status, headers={"Filestack-Reset": reset})
        assert failing(CALLS["tags"], answer).retry_at == expected

    @pytest.mark.parametrize(
        ("limit", "fix"),
        [
            (
                "1000",
                "Filestack allows 1,000 calls at a time (Filestack-Limit): set RATE_LIMIT.",
            ),
            (" 7 ", "Filestack allows 7 calls at a time (Filestack-Limit): set RATE_LIMIT."),
            ("-1", ""),
            ("9" * 10, ""),
            ("many", ""),
            ("\u0663", ""),
            ("", ""),
        ],
    )
    def test_how_many_calls_are_allowed_is_passed_on(self, limit, fix):
        headers = {"Filestack-Limit": limit.encode(), "Filestack-Remaining": b"0"}
        error = failing(CALLS["tags"], httpx2.Response(429, headers=headers))
        assert (type(error), error.fix) == (RateLimited, fix)
        assert (
            "Filestack-Limit"
            not in failing(CALLS["tags"], httpx2.Response(503, headers=headers)).fix
        )

    @pytest.mark.parametrize(
        ("remaining", "reset", "expected"),
        [
            ("0", str(NOW + 60), datetime.fromtimestamp(NOW + 60, UTC)),
            (" 0 ", str(NOW + 60), datetime.fromtimestamp(NOW + 60, UTC)),
            ("1", str(NOW + 60), None),
            ("-1", str(NOW + 60), None),
            ("", str(NOW + 60), None),
            ("0", "", None),
            ("0", str(NOW - 1), None),
            ("0", str(NOW + 40 * 86400), None),
        ],
    )
    def test_an_answer_says_whether_it_was_the_last_one_allowed(
        self, remaining, reset, expected
    ):
        headers = {
            "Filestack-Limit": "100",
            "Filestack-Remaining": remaining,
            "Filestack-Reset": reset,
        }
        answer = httpx2.Response(200, json={"tags": {"auto": {"sky": 9}}}, headers=headers)
        _, reply = ask(FilestackClient, CALLS["tags"], answer)
        assert reply.resumes_at == expected

    def test_a_wrong_confidence_is_named_as_the_cause(self):
        body = {"tags": {"auto": {"cat": 140}}}
        error = failing(CALLS["tags"], httpx2.Response(200, json=body))
        assert type(error) is UnexpectedReply
        assert "'cat' the confidence 140" in str(error)
        assert isinstance(error.__cause__, PayloadError)
        assert not error.retryable

    def test_a_job_without_id_was_not_started(self):
        error = failing(
            CALLS["run_workflow"], httpx2.Response(200, json={"workflow": "w", "jobid": ""})
        )
        assert "no job was started" in str(error)

    def test_an_endless_reply_is_cut(self):
        error = failing(CALLS["tags"], httpx2.Response(200, content=b" " * (MAX_REPLY + 1)))
        assert type(error) is UnexpectedReply
        assert str(MAX_REPLY) in str(error)

    def test_a_long_error_page_is_kept_in_part(self):
        error = failing(CALLS["tags"], httpx2.Response(500, content=b"x" * (MAX_RAW + 1)))
        assert len(error.raw_reply) == MAX_RAW

    @pytest.mark.parametrize(
        "size", [b"policy " * 200, b'{"width": 1}', b"\x89PNG policy \x00"]
    )
    def test_a_file_that_is_no_error_message_is_downloaded(self, size):
        act = lambda client: client.download(HANDLE, max_bytes=10_000)  # noqa: E731  # one call
        assert ask(FilestackClient, act, httpx2.Response(200, content=size))[1] == size

    @pytest.mark.parametrize(
        ("raised", "message"),
        [
            (httpx2.ConnectTimeout("t"), "did not respond to tags in time"),
            (httpx2.ConnectError("Name or service not known"), "Name or service not known"),
            (httpx2.ReadError("https://cdn/signed"), "failed during tags: ReadError"),
            (httpx2.RemoteProtocolError("x"), "RemoteProtocolError"),
            (httpx2.DecodingError("x"), "DecodingError"),
        ],
    )
    def test_a_broken_connection_names_the_host(self, raised, message):
        error = failing(CALLS["tags"], raised)
        assert type(error) is ConnectionFailed
        assert message in str(error)
        assert "cdn.filestackcontent.com" in str(error)
        assert error.__context__ is None

    def test_a_reply_that_cannot_be_unpacked_is_a_failed_connection(self):
        answer = httpx2.Response(
            200, headers={"Content-Encoding": "gzip"}, stream=httpx2.ByteStream(b"no gzip")
        )
        assert type(failing(CALLS["tags"], answer)) is ConnectionFailed

    @pytest.mark.parametrize(
        "url", ["", "cdn.example.com", "ftp://example.com", "https://a:b:c"]
    )
    def test_a_host_that_is_no_url_is_a_configuration_error(self, url):
        with (
            FilestackClient(**OPTIONS, cdn_url=url) as client,
            pytest.raises(ConfigurationError, match="CDN_URL"),
        ):
            client.tags(HANDLE)

    @given(status=st.integers(200, 599), body=st.binary(max_size=200))
    def test_any_reply_is_a_result_or_an_error_of_ours(self, status, body):
        found = []
        for name, act in CALLS.items():
            if name == "download":
                continue
            try:
                ask(FilestackClient, act, httpx2.Response(status, content=body))
            except FilestackError as error:
                found.append((error.status, len(str(error)) < 500))
        assert set(found) <= {(status, True)}


class TestSecretsStayHidden:
    """Nothing that is shown, logged or stored contains the key, secret, policy or signature."""

    def echo(self, request: httpx2.Request) -> httpx2.Response:
        sent = (
            f"{request.url} {request.url.raw_path.decode()} {request.content.decode()} {SECRET}"
        )
        self.sent = sent
        return httpx2.Response(self.status, content=self.frame % sent.encode())

    def leaks(self, text: str) -> list[str]:
        secrets = re.findall(r"eyJ[\w=%-]{20,}|[0-9a-f]{64}", unquote(self.sent))
        assert len(set(secrets)) == 2, "the policy and the signature were not found"
        return [secret for secret in {SECRET, "AKEY", *secrets} if secret in unquote(text)]

    @pytest.mark.parametrize(
        "frame", [b"%s", b'{"error": "policy %s"}', b'{"tags": {"auto": {"%s": 101}}']
    )
    @pytest.mark.parametrize("status", [200, 302, 401, 403, 404, 429, 500])
    @pytest.mark.parametrize("name", sorted(set(CALLS) - {"download"}))
    def test_in_errors(self, name, status, frame, caplog):
        caplog.set_level(logging.DEBUG)
        self.status, self.frame = status, frame
        client = FilestackClient(transport=httpx2.MockTransport(self.echo), **OPTIONS)
        try:
            result = CALLS[name](client)
        except FilestackTagsError as error:
            result = (repr(error), str(error), error.raw_reply, repr(error.__cause__))
            assert error.__context__ is None  # noqa: PT017  # some calls succeed
        assert self.leaks(f"{result!r} {client!r} {caplog.text}") == []
        assert "HTTP Request" in caplog.text
        client.close()

    def test_in_what_is_kept_of_a_success(self):
        self.status, self.frame = 200, b'{"tags": {"auto": {}}, "echo": "%s"}'
        with FilestackClient(transport=httpx2.MockTransport(self.echo), **OPTIONS) as client:
            reply = client.tags(HANDLE)
        assert "[hidden]" in reply.raw
        assert self.leaks(reply.raw) == []

    def test_in_the_description_of_a_call(self):
        call = Calls(**OPTIONS).tags(Source.url("https://example.com/"))
        self.sent = call.url
        assert "security=" in call.url
        assert self.leaks(repr(call)) == []

    def test_on_a_real_connection_with_everything_logged(self, caplog):
        caplog.set_level(logging.DEBUG)
        with served() as (url, seen), FilestackClient(**OPTIONS, cdn_url=url) as client:
            client.tags(Source.url("https://example.com/ü?a=1#b"))
        self.sent = seen[0]
        assert self.leaks(caplog.text) == []
        assert "HTTP Request: GET http://127.0.0.1/[hidden]" in caplog.text

    def test_when_nobody_listens(self, caplog):
        caplog.set_level(logging.DEBUG)
        with served() as (url, _):
            pass
        with (
            FilestackClient(**OPTIONS, cdn_url=url) as client,
            pytest.raises(ConnectionFailed) as caught,
        ):
            client.tags(HANDLE)
        assert "127.0.0.1" in str(caught.value)
        assert "security=" not in f"{caught.value!r} {caplog.text}"


class served:
    """A real HTTP server on this machine that answers ``tags``; yields its URL and the paths."""

    def __enter__(self):
        seen: list[str] = []

        class Handler(WSGIRequestHandler):
            def log_message(self, *args):
                seen.append(self.path)

        def app(environ, start_response):
            start_response("200 OK", [("Content-Type", "application/json")])
            return [payload("tags_sync_v2.json")]

        self.server = make_server("127.0.0.1", 0, app, handler_class=Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_port}", seen

    def __exit__(self, *exc):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def test_the_path_is_sent_byte_for_byte_on_a_real_connection():
    source = Source.url("https://example.com/a b/%2F/../ü.jpg?x=1&y=[2]#f'\"")
    with served() as (url, seen), FilestackClient(**OPTIONS, cdn_url=url) as client:
        assert client.tags(source).auto["wood"] == 80
    assert seen[0].endswith(f"/tags/{source.path}")
    assert "==" not in source.path


def test_as_many_calls_as_are_made_at_once_go_out_and_keep_their_connections():
    """The server answers none of them before all have arrived."""
    at_once, reply = 120, payload("tags_sync_v2.json")
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(reply)}\r\n\r\n".encode()
    connections = []

    async def run():
        together = asyncio.Barrier(at_once)

        async def answer(reader, writer):
            connections.append(writer)
            while await reader.readline():
                await reader.readuntil(b"\r\n\r\n")
                await together.wait()
                writer.write(head + reply)
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=at_once)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, AsyncFilestackClient(**OPTIONS, cdn_url=url) as client:
            for _ in range(2):
                await asyncio.gather(*(client.tags(HANDLE) for _ in range(at_once)))

    asyncio.run(asyncio.wait_for(run(), timeout=60))
    assert len(connections) == at_once


def test_the_timeouts_are_finite_and_ours():
    with FilestackClient(**OPTIONS, connect_timeout=3, read_timeout=7) as client:
        assert client._clients[0].timeout == httpx2.Timeout(7, connect=3)


def test_without_a_secret_there_is_no_client():
    with pytest.raises(ConfigurationError, match="APP_SECRET"):
        FilestackClient(api_key="AKEY", app_secret="")


def test_redirects_are_not_followed():
    wire = Wire(httpx2.Response(302, headers={"Location": "http://169.254.169.254/"}))
    with (
        FilestackClient(transport=httpx2.MockTransport(wire), **OPTIONS) as client,
        pytest.raises(UnexpectedReply, match="redirect"),
    ):
        client.download(HANDLE, max_bytes=10)
    assert len(wire.requests) == 1


@both
def test_a_client_is_set_up_from_the_settings(kind, settings):
    settings.FILESTACK_TAGS = {
        "API_KEY": "SETKEY",
        "APP_SECRET": "setsecret",
        "CDN_URL": "https://cdn.example.com",
        "POLICY_EXPIRY": 42,
        "READ_TIMEOUT": 5,
    }
    wire = Wire(replied("tags_sync_v2.json"))
    client = kind.from_settings(httpx2.MockTransport(wire))
    if kind is FilestackClient:
        client.tags(Source.alias("s", "a"))
    else:
        asyncio.run(client.tags(Source.alias("s", "a")))
    assert wire.requests[0].url.host == "cdn.example.com"
    assert wire.path.startswith("/SETKEY/security=")
    (http, *_) = client._clients
    assert http.timeout.read == 5


def test_the_library_works_without_django():
    code = (
        "import sys, filestack_tags.filestack as f; f.FilestackClient(app_secret='x').close(); "
        "print([m for m in sys.modules if m.split('.')[0] == 'django'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_process_closes_its_connections_when_it_ends(loopback_server):
    code = (
        "from django.conf import settings\n"
        "account = {'API_KEY': 'K', 'APP_SECRET': 'S'}\n"
        f"settings.configure(FILESTACK_TAGS={{**account, 'CDN_URL': {loopback_server!r}}})\n"
        "from filestack_tags.filestack.shared_client import shared_client\n"
        "from filestack_tags.filestack.sources import Source\n"
        "shared_client().tags(Source.handle('aaaaaaaaaaaaaaaaaaaa'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


@pytest.fixture
def loopback_server():
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = payload("tags_sync_v2.json")
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
