"""The emulator on a port: raw paths, cut connections, TLS, and only on loopback."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from sqlite3 import IntegrityError
from urllib.parse import quote, urlsplit

import httpx2
import pytest

from filestack_tags.testing import Account, EmulatorApp, EmulatorServer
from filestack_tags.testing.loopback import fetch, is_loopback, is_loopback_url, post

from .surroundings import BASE, config, picture, policy, query, security


@pytest.mark.parametrize("host", ["192.0.2.1", "example.com", "", "::"])
def test_only_loopback_is_answered_on(app: EmulatorApp, host: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        EmulatorServer(app, host)


def test_tls_needs_certificate_and_key(app: EmulatorApp, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="both"):
        EmulatorServer(app, certificate=tmp_path / "c.pem")


def test_an_address_is_known_only_while_it_answers(app: EmulatorApp) -> None:
    server = EmulatorServer(app)
    with pytest.raises(RuntimeError, match="not started"):
        _ = server.url
    with server:
        assert server.url.startswith("http://127.0.0.1:")
    server.stop()
    with pytest.raises(RuntimeError, match="not started"):
        _ = server.url


def test_ipv6_has_a_loopback_too(app: EmulatorApp) -> None:
    with EmulatorServer(app, "::1") as server, httpx2.Client(trust_env=False) as client:
        assert server.url.startswith("http://[::1]:")
        assert client.get(f"{server.url}/_emulator/").json()["files"] == 0


def test_an_external_url_survives_the_way_in_every_form(app: EmulatorApp, handle: str) -> None:
    with EmulatorServer(app) as server:
        pictures = f"{server.url}/{handle}?{query('read')}"
        host = urlsplit(server.url).netloc
        for written in (pictures, quote(pictures, safe=""), f"%22{pictures}%22"):
            connection = http.client.HTTPConnection(host)
            connection.request("GET", f"/AKEY/{security('convert')}/tags/{written}")
            reply = connection.getresponse()
            body = json.loads(reply.read())
            connection.close()
            assert "red" in body["tags"]["auto"]


def test_an_absolute_request_target_is_understood(app: EmulatorApp, handle: str) -> None:
    with EmulatorServer(app) as server:
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
        connection.request("GET", f"{server.url}/{security('convert')}/tags/{handle}")
        assert connection.getresponse().status == 200
        connection.close()


def test_a_connection_stays_open_for_the_next_request(app: EmulatorApp, handle: str) -> None:
    with EmulatorServer(app) as server:
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
        ports = set()
        for method, path, body in (
            ("GET", f"/{security('convert')}/tags/{handle}", None),
            ("HEAD", f"/api/file/{handle}?{query('read')}", None),
            ("POST", "/nowhere/else", b"not asked for"),
            ("GET", "/_emulator/", None),
        ):
            connection.request(method, path, body)
            ports.add(connection.sock.getsockname()[1])
            reply = connection.getresponse()
            reply.read()
            assert not reply.will_close
        assert reply.status == 200
        assert len(ports) == 1
    connection.sock.settimeout(10)
    assert connection.sock.recv(1) == b""
    connection.close()


@pytest.mark.parametrize(
    "head",
    [
        b"POST /process HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\nGET / HTTP/1.1",
        b"POST /process HTTP/1.1\r\nHost: x\r\nContent-Length: odd\r\n\r\nGET / HTTP/1.1",
        b"POST /process HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"GET / HTTP/1.1\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET\r\n\r\n",
    ],
)
def test_a_connection_ends_where_a_next_request_could_not_be_told(
    app: EmulatorApp, head: bytes
) -> None:
    with EmulatorServer(app) as server:
        place = urlsplit(server.url)
        with socket.create_connection((place.hostname, place.port), 10) as connection:
            connection.sendall(head)
            answered = b""
            # With an unread body the system may reset it.
            with suppress(ConnectionResetError):
                while some := connection.recv(65_536):
                    answered += some
    assert answered.count(b"HTTP/1.") <= 1


@pytest.mark.parametrize("kind", ["drop", "lost_reply"])
def test_a_dropped_connection_gets_no_byte(app: EmulatorApp, handle: str, kind: str) -> None:
    app.faults.add(kind)
    with EmulatorServer(app) as server:
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc)
        connection.request("GET", f"/{security('convert')}/tags/{handle}")
        with pytest.raises(OSError, match=r"closed|reset"):
            connection.getresponse()
        connection.close()


def test_the_log_holds_no_policy(
    app: EmulatorApp, handle: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="filestack_tags")
    encoded, signature = policy("convert")
    with EmulatorServer(app) as server:
        status, _, _ = fetch(f"{server.url}/security=p:{encoded},s:{signature}/tags/{handle}")

    assert status == 200
    assert "GET answered 200" in caplog.text
    assert signature not in caplog.text
    assert encoded not in caplog.text


def test_files_survive_a_restart_and_are_shared(tmp_path: Path) -> None:
    with EmulatorApp(config(directory=tmp_path / "new")) as first:
        file = first.files.add(
            picture(), filename="a.jpg", mimetype="", options={}, base_url=BASE
        )
        with EmulatorApp(config(directory=tmp_path / "new")) as second:
            assert second.store.content(file.handle) == picture()
    with EmulatorApp(config(directory=tmp_path / "new", background=True)) as third:
        assert third.store.get(file.handle) == file


def test_a_failed_transaction_leaves_nothing(app: EmulatorApp) -> None:
    def fail_half_way() -> None:
        with app.store._database.transaction() as connection:
            connection.execute("INSERT INTO uploads VALUES ('x', '{}')")
            connection.execute("INSERT INTO uploads VALUES ('x', '{}')")

    with pytest.raises(IntegrityError):
        fail_half_way()

    assert app.store.upload("x") is None


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8000/x", True),
        ("http://localhost/x", True),
        ("http://[::1]/x", True),
        ("https://127.0.0.1/x", False),
        ("http://127.0.0.1.example.com/x", False),
        ("http://127.0.0.1@example.com/x", False),
        ("http://[::1/x", False),
        ("http://127.0.0.1:odd/x", False),
        ("ftp://127.0.0.1/x", False),
    ],
)
def test_loopback_is_told_by_the_host_alone(url: str, here: bool) -> None:
    assert is_loopback_url(url) is here


def test_a_name_is_not_looked_up() -> None:
    assert is_loopback("localhost")
    assert not is_loopback("localhost.example.com")


def test_nothing_is_sent_beyond_loopback() -> None:
    with pytest.raises(OSError, match="loopback"):
        post("http://192.0.2.1/", b"", {})


def test_an_answer_that_is_not_http_is_no_answer(app: EmulatorApp) -> None:
    app.faults.add("drop")
    with EmulatorServer(app) as server, pytest.raises(OSError):  # noqa: PT011 - any of its kinds
        fetch(f"{server.url}/nothing")


def test_a_webhook_goes_to_loopback_only() -> None:
    with pytest.raises(ValueError, match="loopback"):
        Account(webhook_url="http://example.com/hook/")


def test_an_account_needs_key_and_secret() -> None:
    with pytest.raises(ValueError, match="api_key"):
        Account(api_key="")


def test_secrets_are_not_in_a_repr() -> None:
    shown = repr(config(account=Account(app_secret="canary-1", webhook_secret="canary-2")))

    assert "canary" not in shown


def test_a_slow_answer_holds_up_nobody_else() -> None:
    entered, leave = threading.Event(), threading.Event()

    def tagger(content: bytes) -> dict[str, int]:
        entered.set()
        leave.wait(30)
        return {}

    with (
        EmulatorApp(config(tagger=tagger)) as slow,
        EmulatorServer(slow) as server,
        ThreadPoolExecutor() as pool,
    ):
        file = slow.files.add(picture(), filename="a", mimetype="", options={}, base_url=BASE)
        path = f"{server.url}/{security('convert')}/tags/{file.handle}"
        waiting = pool.submit(fetch, path)
        assert entered.wait(30)
        assert fetch(f"{server.url}/_emulator/")[0] == 200
        assert not waiting.done()
        leave.set()
        assert waiting.result()[0] == 200


def test_a_file_and_its_event_come_into_being_together(
    app: EmulatorApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(action: str, text: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(app.webhooks, "emit", die)
    with pytest.raises(KeyboardInterrupt):
        app.files.add(b"x", filename="a", mimetype="", options={}, base_url=BASE)

    assert app.store.files() == []
