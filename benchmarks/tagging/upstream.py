"""``python -m benchmarks.tagging.upstream``: a Filestack stand-in in a separate process.

``emulator`` is the package's emulator, which checks policies and signatures. ``lean`` checks
nothing: an asyncio protocol, for measurements that the emulator's threads would limit. Both record
when each call arrived, and write that to a file on exit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import threading
from array import array
from collections.abc import Iterable
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from filestack_tags.testing import Account, EmulatorApp, EmulatorConfig, EmulatorServer

from . import replies
from .surroundings import APP_SECRET, KEY

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

arrivals = array("d")
"""When each call arrived, by this machine's monotonic clock."""


class NotingEmulator(EmulatorApp):
    """The emulator, which also records when calls arrive."""

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        arrivals.append(monotonic())
        return super().__call__(environ, start_response)


def emulate(given: argparse.Namespace) -> None:
    account = Account(api_key=os.environ[KEY], app_secret=APP_SECRET)
    config = EmulatorConfig(account=account, tagger=replies.of, background=False)
    with NotingEmulator(config) as app, EmulatorServer(app) as server:
        with app.store.transaction():
            handles = [
                app.store.add(
                    str(number).encode(),
                    filename=f"{number}.jpg",
                    mimetype="image/jpeg",
                    container="photos",
                ).handle
                for number in range(given.files)
            ]
        given.handles.write_text(json.dumps(handles), "utf-8")
        if given.latency:
            app.faults.add("slow", operation="tags", times=None, seconds=given.latency)
        print(server.url, flush=True)
        ended = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        ended.wait()


class Lean(asyncio.Protocol):
    """Answers every GET with the tags of its last path segment."""

    def __init__(self, latency: float) -> None:
        self._latency = latency
        self._loop = asyncio.get_running_loop()
        self._read = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            line = self._read[: self._read.index(b"\r\n")]
            self._read = self._read[end + 4 :]
            arrivals.append(monotonic())
            answer = replies.response(line.split(b" ")[1].rpartition(b"/")[2])
            if self._latency:
                self._loop.call_later(self._latency, self._transport.write, answer)
            else:
                self._transport.write(answer)


async def answer_leanly(given: argparse.Namespace) -> None:
    replies.responses()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Lean(given.latency), "127.0.0.1", 0, backlog=256)
    handles = [f"handle{number:014d}" for number in range(given.files)]
    given.handles.write_text(json.dumps(handles), "utf-8")
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["emulator", "lean"])
    parser.add_argument("--latency", type=float, default=0.0, help="seconds")
    parser.add_argument("--files", type=int, default=0, help="how many there are")
    parser.add_argument("--handles", type=Path, required=True, help="where their handles go")
    parser.add_argument("--arrivals", type=Path, required=True, help="where the moments go")
    given = parser.parse_args()
    if given.kind == "emulator":
        emulate(given)
    else:
        asyncio.run(answer_leanly(given))
    given.arrivals.write_bytes(arrivals.tobytes())


if __name__ == "__main__":
    main()
