"""Run many calls to taggers concurrently, from one thread that does other work meanwhile.

Each call blocks a thread, which is a greenlet if gevent has patched the standard library, so all
pools of Celery work alike. An event loop in a greenlet would make Django reject every query of the
process. Only custom taggers may use the database in these threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from queue import Empty, SimpleQueue
from threading import Condition, Thread
from time import monotonic
from types import TracebackType
from typing import Generic, Self, TypeVar

from django.db import connections

from filestack_tags import metrics
from filestack_tags.error_codes import ErrorCode
from filestack_tags.exceptions import ConfigurationError, TaggerError
from filestack_tags.filestack.sources import Source

from .answers import check_answer, check_error
from .base import JobTagger, PendingJob, Tagger, TaggerReply, get_tagger, options_of

Key = TypeVar("Key")
Answer = TaggerReply | PendingJob

LINGER = 0.1
"""Seconds to wait for more replies after the first one: applying them together is faster."""


@dataclass(frozen=True)
class Landed(Generic[Key]):
    """A finished call: its key, its reply or exception, and its duration (seconds)."""

    key: Key
    answer: Answer | Exception
    seconds: float


@dataclass(frozen=True)
class _Call(Generic[Key]):
    key: Key
    tagger: str
    source: Source
    job_id: str | None
    fresh: bool


class InFlight(Generic[Key]):
    """Makes calls, at most ``concurrency`` at once; the others wait for a free thread.

    Use it as a context manager, from one thread. Calls that are running on exit are abandoned:
    their threads end with their deadline.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._ended: SimpleQueue[tuple[float, Landed[Key]]] = SimpleQueue()
        self._changed = Condition()
        self._waiting: list[tuple[float, int, _Call[Key]]] = []
        self._numbers = count()
        self._idle = self._threads = 0
        self._is_closed = False
        self._count = 0

    def __len__(self) -> int:
        """Return how many calls were started and not collected."""
        return self._count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._changed:
            self._is_closed = True
            self._waiting.clear()
            self._changed.notify_all()

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
        """Call ``tagger`` for the tags of ``source``, or for the state of its job.

        The call is not made before ``at`` (monotonic clock). With ``fresh``, it bypasses caches.
        """
        self._count += 1
        call = _Call(key, tagger, source, job_id, fresh)
        with self._changed:
            heappush(self._waiting, (at, next(self._numbers), call))
            self._changed.notify()
            if self._idle < len(self._waiting) and self._threads < self._concurrency:
                self._threads += 1
                Thread(target=self._work, name="filestack_tags-tagger", daemon=True).start()

    def landed(self, timeout: float) -> list[Landed[Key]]:
        """Return finished calls, after waiting up to ``timeout`` seconds for the first."""
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
        """Cancel and return the calls that have not begun; they do not count."""
        with self._changed:
            taken = [call.key for _, _, call in self._waiting]
            self._waiting.clear()
        self._count -= len(taken)
        return taken

    def _work(self) -> None:
        try:
            self._make_calls()
        finally:
            connections.close_all()

    def _make_calls(self) -> None:
        while (call := self._next()) is not None:
            began = monotonic()
            answer: Answer | Exception
            try:
                answer = ask(
                    get_tagger(call.tagger), call.source, call.job_id, fresh=call.fresh
                )
            except Exception as error:  # noqa: BLE001  # returned to the caller of landed()
                answer = error
            except BaseException as error:  # noqa: BLE001  # from the tagger, never a signal
                answer = RuntimeError(f"The tagger raised {type(error).__name__}.")
            now = monotonic()
            seconds = now - began
            metrics.observe(
                "call.seconds", seconds, tagger=call.tagger, outcome=outcome_of(answer)
            )
            self._ended.put((now, Landed(call.key, answer, seconds)))

    def _next(self) -> _Call[Key] | None:
        """Wait for a call whose time has come; None after the context was left."""
        with self._changed:
            self._idle += 1
            while not self._is_closed:
                early = self._waiting[0][0] - monotonic() if self._waiting else None
                if early is not None and early <= 0:
                    break
                self._changed.wait(early)
            self._idle -= 1
            return None if self._is_closed else heappop(self._waiting)[2]


def ask(tagger: Tagger, source: Source, job_id: str | None, *, fresh: bool = False) -> Answer:
    """Call a tagger for the tags of a file, or for the state of its job, and wait for the reply.

    With ``fresh``, a tagger with a cache must not use it. The reply, or the TaggerError, can be
    stored whatever the tagger returned or raised.

    Raises:
        TaggerError: if the tagger has no tags, returns an invalid value, or cannot follow jobs.
    """
    try:
        return check_answer(_call(tagger, source, job_id, fresh=fresh))
    except TaggerError as error:
        raise check_error(error) from None


def _call(tagger: Tagger, source: Source, job_id: str | None, *, fresh: bool) -> object:
    if job_id is None:
        return tagger.tag(source, **options_of(tagger, fresh=fresh))
    if not isinstance(tagger, JobTagger):
        raise TaggerError(
            "The tagger that started this job cannot be asked about it.",
            code=ErrorCode.CONFIGURATION,
            fix="Give it a method follow(job_id).",
        )
    return tagger.follow(job_id)


def outcome_of(answer: Answer | Exception) -> str:
    """Return the label value for the result of a call in metrics."""
    if isinstance(answer, TaggerReply):
        return "answered"
    if isinstance(answer, PendingJob):
        return "pending"
    if isinstance(answer, TaggerError):
        return answer.code
    if isinstance(answer, ConfigurationError):
        return ErrorCode.CONFIGURATION
    return ErrorCode.TAGGER_CRASHED
