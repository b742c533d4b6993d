"""Photos to tag, and a server on loopback with configurable responses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_django import Settings

PHOTOS = Path(__file__).parents[3] / "example_project" / "photos"


@pytest.fixture
def photos() -> Path:
    """The sample photos; see their LICENSES.md."""
    return PHOTOS


class Filestack:
    """Answers every request with the same response, and records the requested paths."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.body = b""
        self.content_type = "application/json"
        answers = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answers.paths.append(self.path)
                self.send_response(200)
                self.send_header("Content-Type", answers.content_type)
                self.send_header("Content-Length", str(len(answers.body)))
                self.end_headers()
                self.wfile.write(answers.body)

            def log_message(self, format: str, *args: object) -> None:
                """Keep the test output quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def answers(self, body: bytes, content_type: str = "application/json") -> None:
        self.body, self.content_type = body, content_type


@pytest.fixture
def filestack(settings: Settings) -> Iterator[Filestack]:
    """A server on loopback that the settings point to."""
    filestack = Filestack()
    thread = threading.Thread(
        target=filestack.server.serve_forever, kwargs={"poll_interval": 0.01}
    )
    thread.start()
    settings.FILESTACK_TAGS = {
        **settings.FILESTACK_TAGS,
        "CDN_URL": filestack.url,
        "API_URL": f"{filestack.url}/api",
        "WORKFLOW_ID": "67d273c3-249c-4192-b228-9c3e1d003963",
    }
    yield filestack
    filestack.server.shutdown()
    thread.join()
    filestack.server.server_close()
