"""In flight: many calls to taggers at once, from one thread that goes on with other work.

An event loop in a thread of its own makes the calls; taggers that cannot wait without blocking
are called from threads. Whoever started the calls collects what they came to, in whatever
order they end. Nothing here touches the database.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from filestack_tags import metrics
from filestack_tags.exceptions import ConfigurationError, TaggerError
from filestack_tags.filestack.sources import Source

from .base import (
    AsyncJobTagger,
    AsyncTagger,
    JobTagger,
    PendingJob,
    Tagger,
    TaggerReply,
    get_tagger,
    options_of,
)

Key = TypeVar("Key")
Done = TypeVar("Done")
Answer = TaggerReply | PendingJob

LINGER = 0.1
"""Seconds after the first of several answers in which the others are waited for: together they
are applied sooner."""


@dataclass(frozen=True)
class Landed(Generic[Key]):
    """A call that ended: its key, its answer or what it raised, and how long it took (seconds)."""

    key: Key
    answer: Answer | Exception
    seconds: float


class InFlight(Generic[Key]):
    """Makes calls, at most ``concurrency`` at once; the others wait for a free place.

    Used as a context, by one thread. Calls that have not ended when it is left are given up.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._ended: SimpleQueue[tuple[float, Landed[Key]]] = SimpleQueue()
        self._loop = _thread.get()
        self._places = asyncio.Semaphore(concurrency)
        self._threads = ThreadPoolExecutor(concurrency, "filestack_tags-tagger")
        self._calls: set[Any] = set()
        self._waiting: dict[int, Key] = {}
        self._count = 0
        self._number = 0

    def __len__(self) -> int:
        """How many calls were started and not collected."""
        return self._count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for call in tuple(self._calls):
            call.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def start(
        self,
        key: Key,
        tagger: str,
        source: Source,
        job_id: str | None = None,
        *,
        fresh: bool = False,
        at: float = 0.0,
    ) -> None:
        """Ask ``tagger`` for the tags of ``source``, or how far its job is.

        Not before ``at``, of the monotonic clock. With ``fresh``, not from a cache.
        """
        self._count += 1
        self._number += 1
        self._waiting[self._number] = key
        call = asyncio.run_coroutine_threadsafe(
            self._make(self._number, tagger, source, job_id, fresh, at), self._loop
        )
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    def landed(self, timeout: float) -> list[Landed[Key]]:
        """Return the calls that ended, after waiting up to ``timeout`` seconds for the first."""
        ended: list[Landed[Key]] = []
        until = monotonic() + timeout
        while len(ended) < self._count:
            try:
                moment, one = self._ended.get(timeout=max(until - monotonic(), 0))
            except Empty:
                break
            if not ended:
                until = min(until, moment + LINGER)
            ended.append(one)
        self._count -= len(ended)
        return ended

    def withdraw(self) -> list[Key]:
        """Return the calls that have not begun; they will not be made, and do not count."""
        taken = asyncio.run_coroutine_threadsafe(self._take_back(), self._loop).result()
        self._count -= len(taken)
        return taken

    async def _take_back(self) -> list[Key]:
        taken = [*self._waiting.values()]
        self._waiting.clear()
        return taken

    async def _make(
        self,
        number: int,
        name: str,
        source: Source,
        job_id: str | None,
        fresh: bool,
        at: float,
    ) -> None:
        if (pause := at - monotonic()) > 0:
            await asyncio.sleep(pause)
        async with self._places:
            if number not in self._waiting:  # withdrawn
                return
            key = self._waiting.pop(number)
            began = monotonic()
            answer: Answer | Exception
            try:
                answer = await self._ask(get_tagger(name), source, job_id, fresh=fresh)
            except Exception as error:  # noqa: BLE001  # handed to whoever started the call
                answer = error
        now = monotonic()
        seconds = now - began
        metrics.observe("call.seconds", seconds, tagger=name, outcome=outcome_of(answer))
        self._ended.put((now, Landed(key, answer, seconds)))

    async def _ask(
        self, tagger: Tagger, source: Source, job_id: str | None, *, fresh: bool
    ) -> Answer:
        if job_id is None and isinstance(tagger, AsyncTagger):
            return await tagger.atag(source, **options_of(tagger, fresh=fresh))
        if job_id is not None and isinstance(tagger, AsyncJobTagger):
            return await tagger.afollow(job_id)
        return await self._loop.run_in_executor(
            self._threads, partial(ask, tagger, source, job_id, fresh=fresh)
        )


def ask(tagger: Tagger, source: Source, job_id: str | None, *, fresh: bool = False) -> Answer:
    """Ask a tagger for the tags of a file, or how far its job is, and wait for it.

    With ``fresh``, a tagger with a cache must not answer from it.

    Raises:
        TaggerError: when it cannot say, or cannot be asked about jobs.
    """
    if job_id is None:
        return tagger.tag(source, **options_of(tagger, fresh=fresh))
    if not isinstance(tagger, JobTagger):
        raise TaggerError(
            "The tagger that started this job cannot be asked about it.",
            code="configuration",
            cure="Give it a method follow(job_id).",
        )
    return tagger.follow(job_id)


def outcome_of(answer: Answer | Exception) -> str:
    """Return the word by which metrics tell what a call came to."""
    if isinstance(answer, TaggerReply):
        return "answered"
    if isinstance(answer, PendingJob):
        return "pending"
    if isinstance(answer, TaggerError):
        return answer.code
    return "configuration" if isinstance(answer, ConfigurationError) else "tagger_crashed"


class _LoopThread:
    """One event loop for each process, in a thread; made when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0

    def get(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._pid != os.getpid():  # threads do not survive a fork
                loop = asyncio.new_event_loop()
                threading.Thread(
                    target=loop.run_forever, name="filestack_tags-calls", daemon=True
                ).start()
                self._loop, self._pid = loop, os.getpid()
            return self._loop


_thread = _LoopThread()


def run_at_once(work: Iterable[Coroutine[Any, Any, Done]]) -> list[Done | BaseException]:
    """Await all of ``work`` on the event loop of the calls; return what each came to."""

    async def gather() -> list[Done | BaseException]:
        return await asyncio.gather(*work, return_exceptions=True)

    return asyncio.run_coroutine_threadsafe(gather(), _thread.get()).result()
