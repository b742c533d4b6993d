"""Helpers for the emulator's tests: pictures, signed policies, a webhook receiver."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import quote

import httpx2
from PIL import Image, UnidentifiedImageError

from filestack_tags.testing import Account, EmulatorApp, EmulatorConfig, Workflow

SECRET = Account().app_secret
WORKFLOW = "c516519f-3755-4fb5-85a4-15ae4b31d475"
ACCOUNT = Account(workflows=(Workflow(WORKFLOW),))
BASE = "http://cdn.test"


def picture(
    colour: str = "red", size: tuple[int, int] = (40, 20), format_name: str = "JPEG"
) -> bytes:
    """A small picture of one color."""
    written = io.BytesIO()
    Image.new("RGB", size, colour).save(written, format_name)
    return written.getvalue()


def look(content: bytes) -> Mapping[str, int]:
    """A tagger that analyzes the picture: the strongest of red, green and blue, and the size."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
            red, green, blue = image.convert("RGB").resize((1, 1)).getpixel((0, 0))
    except (UnidentifiedImageError, OSError) as err:
        raise ValueError("not a picture") from err
    strongest = max((red, "red"), (green, "green"), (blue, "blue"))
    return {strongest[1]: strongest[0] * 100 // 255, f"{width} x {height}": 90}


def signed(policy: Mapping[str, Any] | str, secret: str = SECRET) -> tuple[str, str]:
    """A policy and its signature, made from the docs and not with the package."""
    text = policy if isinstance(policy, str) else json.dumps(policy)
    encoded = base64.urlsafe_b64encode(text.encode()).decode()
    return encoded, hmac.new(secret.encode(), encoded.encode(), hashlib.sha256).hexdigest()


def policy(*calls: str, **more: Any) -> tuple[str, str]:
    """A signed policy for these calls, valid for a minute."""
    return signed({"call": list(calls), "expiry": int(time.time()) + 60, **more})


def security(*calls: str, **more: Any) -> str:
    """The ``security`` segment of a processing URL."""
    encoded, signature = policy(*calls, **more)
    return f"security=p:{encoded},s:{signature}"


def query(*calls: str, **more: Any) -> str:
    """The query of a File API call."""
    encoded, signature = policy(*calls, **more)
    return f"key=AKEY&policy={quote(encoded)}&signature={signature}"


def raw_app(app: EmulatorApp) -> Any:
    """The app behind a gateway that keeps the raw path, as servers do and httpx2 does not."""

    class Transport(httpx2.BaseTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            def keep(environ: dict[str, Any], start_response: Any) -> Any:
                environ["RAW_URI"] = request.url.raw_path.decode("ascii")
                return app(environ, start_response)

            return httpx2.WSGITransport(app=keep).handle_request(request)

    return Transport()


def config(**more: Any) -> EmulatorConfig:
    """A configuration for tests: a fast tagger, and no background threads."""
    return EmulatorConfig(**{"account": ACCOUNT, "tagger": look, "background": False} | more)


@dataclass
class Receiver:
    """A webhook endpoint on loopback that answers with the given statuses, then 200."""

    statuses: list[int] = field(default_factory=list)
    received: list[tuple[bytes, dict[str, str]]] = field(default_factory=list)

    def __enter__(self) -> Receiver:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append((body, dict(self.headers)))
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/filestack/webhook/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events received, in order."""
        return [json.loads(body) for body, _ in self.received]
