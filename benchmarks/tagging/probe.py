"""``python -m benchmarks.tagging.probe``: how many calls a Filestack stand-in answers.

``bare`` uses only asyncio streams, so that only the stand-in is measured; ``client`` is the
package's client alone, without claims, runs and rows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

from filestack_tags.filestack.calls import Calls
from filestack_tags.filestack.client import AsyncFilestackClient
from filestack_tags.filestack.sources import Source

from .surroundings import APP_SECRET, KEY

Ask = Callable[[str], Awaitable[None]]


class Bare:
    """One caller: keeps its connection as long as the other side does."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._calls = Calls(api_key=os.environ[KEY], app_secret=APP_SECRET, cdn_url="")
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, handle: str) -> None:
        path = self._calls.tags(Source.handle(handle), version=2).url
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.split(b" ", 2)[1] == b"200":
            raise RuntimeError(f"Not answered: {head[:100]!r}")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
        if head.startswith(b"HTTP/1.0"):
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            self._streams = None


async def measure(given: argparse.Namespace) -> dict[str, float]:
    handles: list[str] = json.loads(given.handles.read_text("utf-8"))
    number = calls = 0
    before = _processor_time()
    begun = monotonic()
    until = begun + given.seconds

    async def go_on(ask: Ask) -> None:
        nonlocal number, calls
        while monotonic() < until:
            number += 1
            await ask(handles[number % len(handles)])
            calls += 1

    if given.kind == "bare":
        await asyncio.gather(*(go_on(Bare(given.url).ask) for _ in range(given.in_flight)))
    else:
        options = {"api_key": os.environ[KEY], "app_secret": APP_SECRET, "cdn_url": given.url}
        async with AsyncFilestackClient(**options) as client:

            async def ask(handle: str) -> None:
                await client.tags(Source.handle(handle), version=2)

            await asyncio.gather(*(go_on(ask) for _ in range(given.in_flight)))
    elapsed = monotonic() - begun
    return {
        "per_second": round(calls / elapsed, 1),
        "cpu_ms": round((_processor_time() - before) * 1000 / max(calls, 1), 3),
    }


def _processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["bare", "client"])
    parser.add_argument("url")
    parser.add_argument("--handles", type=Path, required=True)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    print(json.dumps(asyncio.run(measure(parser.parse_args()))))


if __name__ == "__main__":
    main()
