"""The webhook behind real servers: chunked bodies, large ones, and URLs without a slash."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests import signed_headers

pytestmark = pytest.mark.slow

GUNICORN = ("gunicorn", "tests.hosts.wsgi", "--bind", "127.0.0.1:0", "--workers", "1")
SERVERS = {
    "gunicorn": GUNICORN,
    "gunicorn with threads": (*GUNICORN, "--threads", "2"),
    "runserver": ("django", "runserver", "127.0.0.1:0", "--noreload"),
}
LISTENING = re.compile(r"(?:Listening|server) at:? http://127\.0\.0\.1:(\d+)")
LARGE = {"ocr": "x" * 1_700_000}
"""Like tags with the OCR of a page: above Django's limit once it is doubled, below ours."""


class Served:
    """A server's port, and the deliveries that it stored."""

    def __init__(self, port: int, file: Path) -> None:
        self._port, self._file = port, file

    def post(
        self, payload: Any, *, chunked: bool = False, path: str = "/webhook/", **headers: str
    ) -> tuple[int, str]:
        body = json.dumps(payload).encode()
        sent = {"Content-Type": "application/json", **signed_headers(body), **headers}
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=30)) as connection:
            parts = [body[start : start + 50_000] for start in range(0, len(body), 50_000)]
            connection.request(
                "POST", path, iter(parts) if chunked else body, sent, encode_chunked=chunked
            )
            response = connection.getresponse()
            return response.status, response.read().decode()

    def rows(self, columns: str = "count(*)") -> list[Any]:
        with closing(sqlite3.connect(self._file)) as connection:
            table = "filestack_tags_webhookdelivery"
            return connection.execute(f"SELECT {columns} FROM {table} ORDER BY id").fetchall()  # noqa: S608  constants


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("served") / "db.sqlite3"
    subprocess.run(
        [sys.executable, "-m", "django", "migrate"],
        env=environment(file), check=True, capture_output=True,
    )  # fmt: skip
    return file


def environment(file: Path) -> dict[str, str]:
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.hosts.served",
        "SERVED_DATABASE_URL": f"sqlite:{file}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PYTHONUNBUFFERED": "1",
    }


def serve(command: tuple[str, ...], file: Path, **more: str) -> Iterator[Served]:
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        env=environment(file) | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    try:
        for line in process.stdout:
            if found := LISTENING.search(line):
                break
        else:
            pytest.fail("The server ended before it listened.")
        yield Served(int(found[1]), file)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, migrated: Path) -> Iterator[tuple[str, Served]]:
    for served in serve(SERVERS[request.param], migrated):
        yield request.param, served


def test_a_body_of_any_form_is_stored_or_refused_with_its_own_reason(
    server: tuple[str, Served],
) -> None:
    name, served = server
    before = served.rows()[0][0]
    for number, payload in enumerate(({"server": name}, LARGE | {"server": name})):
        status, text = served.post(payload, chunked=True)
        if name == "runserver":
            assert (status, "Transfer-Encoding: chunked" in text) == (411, True)
            assert served.post(payload)[0] == 200
        else:
            assert (status, text) == (200, "Stored.\n")
            assert served.post(payload) == (200, "Duplicate.\n")
        assert served.rows()[0][0] == before + number + 1
    too_large = {"server": name, "ocr": "x" * (8 * 1024 * 1024)}
    status, text = served.post(too_large, chunked=name != "runserver")
    assert (status, "WEBHOOK_MAX_SIZE" in text) == (413, True)
    assert served.rows("state, error_code, length(raw_body)")[-1] == ("failed", "too_large", 0)


@pytest.mark.parametrize("debug", ["0", "1"])
def test_an_address_without_slash_is_accepted(migrated: Path, debug: str) -> None:
    for served in serve(SERVERS["gunicorn"], migrated, SERVED_DEBUG=debug):
        assert served.post({"debug": debug}, path="/webhook")[0] == 200
        assert served.post({"debug": debug}, path="/webhook/") == (200, "Duplicate.\n")
