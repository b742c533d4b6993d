"""Events at Filestack: files are uploaded, overwritten and deleted, with webhooks to the project.

Uploads, overwrites, deletions and workflow jobs go to the emulator, which sends the events itself.
Some events are signed and posted here instead: late, simultaneous and forged ones.
"""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from filestack_tags.testing import payloads, signed_request

from .canned import content
from .emulator import WORKFLOW
from .plan import Mix

HANDS = 4
"""Threads; the events of one file come from one of them."""

OLD = 3600
"""Age of late events, in seconds."""

SECRET = "whsec-A"
AGES = 2.5
"""Minimum age of a file before it is deleted, in seconds: Filestack reports whole seconds."""


@dataclass
class File:
    """The true state of one file, whatever the project has received."""

    serial: int
    handle: str
    version: int = 0
    overwrites: int = 0
    """Number of events about its being overwritten."""
    deleted: bool = False
    uploaded: float = field(default_factory=time.time)


@dataclass
class Posted:
    """The results of the events that were posted here."""

    accepted: list[str] = field(default_factory=list)
    """Event keys that were answered 2xx."""
    failing: list[str] = field(default_factory=list)
    """Those among them that cannot be processed."""
    refused: list[str] = field(default_factory=list)
    """Keys of events with a wrong signature; they must not be stored."""
    answers: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """How often each status was returned."""


class Feeder:
    """Generates all events, spread over some seconds."""

    def __init__(
        self, seed: str, mix: Mix, emulator: str, webhook: str, seconds: float
    ) -> None:
        self._seed = seed
        self._emulator = emulator
        self._webhook = webhook
        self._seconds = seconds
        self._ids = itertools.count(10**17)
        self._serials = itertools.count(1)
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self.files: list[File] = []
        self.posted = Posted()
        self.done: Counter[str] = Counter()
        self._threads = [
            threading.Thread(target=self._feed, args=(number, steps), daemon=True)
            for number, steps in enumerate(_shared(seed, mix))
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self, timeout: float) -> bool:
        """Wait until all events happened and were delivered; return false on timeout."""
        until = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0))
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Generate no more events."""
        self._stopped.set()

    def save(self, path: Path) -> None:
        """Save the true state of all files."""
        files = {file.handle: asdict(file) for file in self.files}
        posted = vars(self.posted)
        told = {"seed": self._seed, "files": files, "posted": posted, "events": dict(self.done)}
        path.write_text(json.dumps(told))

    def _feed(self, number: int, steps: list[str]) -> None:
        dice = random.Random(f"{self._seed} hand {number}")
        mine: list[File] = []
        begun = time.monotonic()
        for index, step in enumerate(steps):
            due = begun + self._seconds * index / len(steps)
            if self._stopped.wait(max(due - time.monotonic(), 0)):
                return
            living = [file for file in mine if not file.deleted]
            if step == "upload" or not living:
                mine.append(self._upload())
                self._count("fp.upload")
            else:
                getattr(self, f"_{step}")(dice.choice(living), dice)

    def _count(self, what: str) -> None:
        with self._lock:
            self.done[what] += 1

    def _upload(self) -> File:
        serial = next(self._serials)
        name = quote(f"file {serial}.jpg")
        reply = self._ask("POST", f"/api/store/S3?key=AKEY&filename={name}", serial, 0)
        file = File(serial, reply["url"].rpartition("/")[2])
        with self._lock:
            self.files.append(file)
        return file

    def _overwrite(self, file: File, dice: random.Random) -> None:
        file.version += 1
        file.overwrites += 1
        self._ask("POST", f"/api/file/{file.handle}", file.serial, file.version)
        self._count("fp.overwrite")

    def _delete(self, file: File, dice: random.Random) -> None:
        time.sleep(max(file.uploaded + AGES - time.time(), 0))
        file.deleted = True
        self._ask("DELETE", f"/api/file/{file.handle}?key=AKEY")
        self._count("fp.delete")

    def _workflow(self, file: File, dice: random.Random) -> None:
        self._ask("GET", f"/run_workflow=id:{WORKFLOW}/{file.handle}")
        self._count("fs.workflow")

    def _ours(self, file: File, dice: random.Random) -> None:
        """Post an event ourselves, as Filestack might."""
        what = dice.choice(
            (self._at_once, self._late, self._stale_job, self._forged, self._odd)
        )
        what(file)

    def _at_once(self, file: File) -> None:
        """Post the same event three times at the same moment."""
        file.overwrites += 1
        event = payloads.fp_overwrite(file.handle, event_id=next(self._ids))
        posts = [threading.Thread(target=self._post, args=(event,)) for _ in range(3)]
        for post in posts:
            post.start()
        for post in posts:
            post.join()
        self._count("fp.overwrite")

    def _late(self, file: File) -> None:
        """Post an event of an hour ago."""
        file.overwrites += 1
        at = int(time.time()) - OLD
        event = payloads.fp_overwrite(file.handle, event_id=next(self._ids), timestamp=at)
        self._post(event)
        self._count("fp.overwrite")

    def _stale_job(self, file: File) -> None:
        """Post the result of a job of an hour ago, for a file that is overwritten right now."""
        job = payloads.fs_workflow(
            file.handle,
            tags={"stale label": 99},
            workflow=WORKFLOW,
            created=time.time_ns() - OLD * 10**9,
            event_id=next(self._ids),
        )
        post = threading.Thread(target=self._post, args=(job,))
        post.start()
        self._overwrite(file, random.Random())
        post.join()
        self._count("fs.workflow")

    def _forged(self, file: File) -> None:
        """Post an event with a wrong signature."""
        event = payloads.fp_delete(file.handle, event_id=next(self._ids))
        self._post(event, secret="somebody-else", until=lambda status: status == 403)
        with self._lock:
            self.posted.refused.append(f"fp.delete:{event['id']}")

    def _odd(self, file: File) -> None:
        """Post an event with an unknown action, and one without a file."""
        unknown = payloads.event("fp.unheard", {"url": file.handle}, event_id=next(self._ids))
        self._post(unknown)
        self._count("fp.unheard")
        empty = payloads.event("fp.upload", {"size": 1}, event_id=next(self._ids))
        self._post(empty)
        with self._lock:
            self.posted.failing.append(f"fp.upload:{empty['id']}")
        self._count("fp.upload")

    def _post(
        self,
        event: dict[str, Any],
        *,
        secret: str = SECRET,
        until: Callable[[int], bool] = lambda status: 200 <= status < 300,
    ) -> None:
        """Post an event until it is accepted, as Filestack does."""
        body, headers = signed_request(event, secret)
        parts = urlsplit(self._webhook)
        while not self._stopped.is_set():
            connection = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
            try:
                connection.request("POST", parts.path, body, headers)
                status = connection.getresponse().status
            except (OSError, HTTPException):
                status = 0
            finally:
                connection.close()
            with self._lock:
                self.posted.answers[str(status or "no answer")] += 1
                if 200 <= status < 300:
                    self.posted.accepted.append(f"{event['action']}:{event['id']}")
            if until(status):
                return
            self._stopped.wait(0.3)

    def _ask(self, method: str, target: str, *version: int) -> Any:
        """Call the emulator; with a file's serial and version, send its bytes."""
        body = content(self._seed, *version) if version else None
        parts = urlsplit(self._emulator)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        try:
            connection.request(method, target, body, {"Content-Type": "image/jpeg"})
            response = connection.getresponse()
            read = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise RuntimeError(
                f"The emulator answered {method} with {response.status}: {read!r}"
            )
        return json.loads(read)


def _shared(seed: str, mix: Mix) -> Iterator[list[str]]:
    """Yield the events of each thread, in order."""
    steps = [
        *(["upload"] * mix.uploads),
        *(["overwrite"] * mix.overwrites),
        *(["workflow"] * mix.workflows),
        *(["delete"] * mix.deletes),
        *(["ours"] * mix.ours),
    ]
    random.Random(f"{seed} steps").shuffle(steps)
    for hand in range(HANDS):
        yield steps[hand::HANDS]
