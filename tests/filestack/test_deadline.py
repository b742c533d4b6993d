"""One deadline for a whole exchange: a server that sends a byte now and then does not extend it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from threading import Event, Timer
from typing import Any

import pytest

from filestack_tags.exceptions import ConnectionFailed
from filestack_tags.filestack import AsyncFilestackClient, FilestackClient, Source
from filestack_tags.filestack.deadline import Deadline, resolve
from filestack_tags.filestack.shared_client import metadata_of
from filestack_tags.outbound import http
from filestack_tags.tagging.taggers import get_tagger
from tests.dripping import TLS_WAYS, WAYS, Dripping, dripping

pytestmark = pytest.mark.slow

HANDLE = Source.handle("abc")
SECONDS = 0.5
LONGEST = 10.0
"""Seconds after which the server gives up: then the client fails in another way."""

LARGE = b"0" * 16 * 1024 * 1024
"""More than the buffers of a connection take."""

ways = pytest.mark.parametrize("way", WAYS)
calls = pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda client: client.tags(HANDLE), id="tags"),
        pytest.param(lambda client: client.download(HANDLE, max_bytes=10**7), id="download"),
        pytest.param(
            lambda client: client.store_bytes(LARGE, filename="a.png", mimetype="image/png"),
            id="store_bytes",
        ),
    ],
)


def options(server: Dripping, scheme: str = "http") -> dict[str, Any]:
    url = f"{scheme}://{server.address}"
    return {
        "api_key": "AKEY",
        "app_secret": "TESTSECRET0000000000000000",
        "cdn_url": url,
        "api_url": url,
        "connect_timeout": SECONDS / 2,
        "read_timeout": SECONDS / 2,
    }


def ends_in_time(server: Dripping, act: Callable[[], object]) -> object:
    """Return the result of ``act``, which must end before the server does."""
    end = Timer(LONGEST, server.stopped.set)
    end.start()
    try:
        result = act()
        assert not server.stopped.is_set(), "only the server's end ended the call"
        return result
    finally:
        end.cancel()


def late(act: Callable[[], object]) -> None:
    with pytest.raises(ConnectionFailed, match="in time") as caught:
        act()
    assert caught.value.retryable


@calls
@ways
def test_a_blocking_call_ends_at_its_deadline(way: str, call: Any) -> None:
    with dripping(way) as server, FilestackClient(**options(server)) as client:
        ends_in_time(server, lambda: late(lambda: call(client)))


@calls
@ways
def test_an_awaited_call_ends_at_its_deadline(way: str, call: Any) -> None:
    async def run(server: Dripping) -> None:
        async with AsyncFilestackClient(**options(server)) as client:
            await call(client)

    with dripping(way) as server:
        ends_in_time(server, lambda: late(lambda: asyncio.run(run(server))))


@pytest.mark.parametrize("way", TLS_WAYS)
def test_tls_that_is_never_established_ends_at_the_deadline(way: str) -> None:
    with (
        dripping(way) as server,
        FilestackClient(**options(server, "https")) as client,
    ):
        ends_in_time(server, lambda: late(lambda: client.tags(HANDLE)))
        url = f"https://{server.address}/"
        answer = ends_in_time(server, lambda: post(url))
    assert answer == http.PostResult(error="ConnectTimeout")


def post(url: str) -> http.PostResult:
    return http.post(url, LARGE, {}, timeout=SECONDS, insecure=True)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "drips the body"])
def test_posting_ends_at_its_deadline(way: str) -> None:
    with dripping(way) as server:
        answer = ends_in_time(server, lambda: post(f"http://{server.address}/"))
    assert isinstance(answer, http.PostResult)
    assert answer.status is None
    assert answer.error in ("ReadTimeout", "WriteTimeout")


def test_posting_does_not_wait_for_the_body_of_the_answer() -> None:
    with dripping("drips the body") as server:
        url = f"http://{server.address}/"
        answer = ends_in_time(
            server,
            lambda: http.post(url, b"{}", {}, timeout=LONGEST, insecure=True),
        )
    assert answer == http.PostResult(status=200)


@ways
def test_the_local_tagger_s_download_ends_at_the_deadline(way: str, settings: Any) -> None:
    pytest.importorskip("onnxruntime")
    with dripping(way) as server:
        settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
            "CDN_URL": f"http://{server.address}",
            "CONNECT_TIMEOUT": SECONDS / 2,
            "READ_TIMEOUT": SECONDS / 2,
        }
        ends_in_time(server, lambda: late(lambda: get_tagger("local").tag(HANDLE)))


@ways
def test_metadata_of_many_files_end_at_one_deadline(way: str, settings: Any) -> None:
    with dripping(way) as server:
        settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
            "API_URL": f"http://{server.address}",
            "CONNECT_TIMEOUT": SECONDS / 2,
            "READ_TIMEOUT": SECONDS / 2,
        }
        found = ends_in_time(server, lambda: metadata_of([f"h{n}" for n in range(8)]))
    assert found == {}


def test_a_resolver_that_does_not_answer_ends_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answered = Event()

    def hang(*args: Any, **kwargs: Any) -> Any:
        answered.wait(LONGEST)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        with dripping("never answers") as server:
            names = options(server) | {"cdn_url": "http://cdn.example"}
            with FilestackClient(**names) as client:
                late(lambda: client.tags(HANDLE))
        answer = post("http://hooks.example/")
        assert not answered.is_set()
    finally:
        answered.set()
    assert answer == http.PostResult(error="The host's name was not resolved in time.")


def test_each_address_of_a_host_gets_only_what_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The system's library would wait for each of them as long as for one."""
    with dripping("drips the body") as server:
        port = int(server.address.rpartition(":")[2])
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("127.0.0.2", "127.0.0.1")  # nothing listens at the first
        ]
        ask = socket.getaddrinfo
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda host, *args, **kwargs: (
                found if host == "cdn.example" else ask(host, *args, **kwargs)
            ),
        )
        with FilestackClient(
            **options(server) | {"cdn_url": f"http://cdn.example:{port}"}
        ) as client:
            late(lambda: client.tags(HANDLE))
        assert len(server.connections) == 1


def test_what_is_left_of_a_deadline_never_grows() -> None:
    deadline = Deadline(60)
    first = deadline.left()
    assert 0 < deadline.left() <= first <= 60
    with pytest.raises(TimeoutError):
        Deadline(0).left()
    with pytest.raises(TimeoutError):
        resolve("hooks.example", 443, Deadline(-1))
