"""Make many calls to taggers concurrently, from one thread that does other work meanwhile.

Each call blocks a thread, which is a greenlet if gevent has patched the standard library, so all
pools of Celery work alike. An event loop in a greenlet would make Django reject every query of the
process. Only custom taggers may use the database in these threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from types import TracebackType
from typing import Generic, Self, TypeVar

from django.db import connections

from filestack_tags import metrics
from filestack_tags.error_codes import ErrorCode
from filestack_tags.exceptions import ConfigurationError, TaggerError
from filestack_tags.filestack.sources import Source

from .base import JobTagger, PendingJob, Tagger, TaggerReply, get_tagger, options_of
from .reply_checks import check_answer, check_error

Key = TypeVar("Key")
Answer = TaggerReply | PendingJob

LINGER = 0.05
"""Seconds to wait for more answers after the first one: applying them together is faster."""


class ConcurrentCalls(Generic[Key]):
    """Make calls, at most ``concurrency`` at once; the others wait for a free thread.

    Use it as a context manager, from one thread. Calls that are running on exit are abandoned. The
    threads are daemons, unlike those of an executor, so that the process can exit without them.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._threads = 0
        self._calls: dict[Future[Answer], Key] = {}
        self._waiting: SimpleQueue[tuple[Future[Answer], Callable[[], Answer]] | None]
        self._waiting = SimpleQueue()
        self._finished: SimpleQueue[tuple[float, Future[Answer]]] = SimpleQueue()

    def __len__(self) -> int:
        """Return how many calls were started and not collected."""
        return len(self._calls)

    def unfinished(self) -> int:
        """Return how many calls were started and have no answer yet."""
        return len(self._calls) - self._finished.qsize()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()
        for _ in range(self._threads):
            self._waiting.put(None)

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
        call: Future[Answer] = Future()
        self._calls[call] = key
        self._waiting.put((call, partial(_call_at, at, tagger, source, job_id, fresh=fresh)))
        if self._threads < min(self._concurrency, len(self._calls)):
            self._threads += 1
            Thread(target=self._work, name="filestack_tags-tagger", daemon=True).start()

    def collect(self, timeout: float) -> list[tuple[Key, Answer | Exception]]:
        """Return finished calls, after waiting up to ``timeout`` seconds for the first."""
        finished: list[Future[Answer]] = []
        until = monotonic() + timeout
        while len(finished) < len(self._calls):
            try:
                finished_at, call = self._finished.get(timeout=max(until - monotonic(), 0))
            except Empty:
                break
            if not finished:
                until = min(until, finished_at + LINGER)
            finished.append(call)
        return [(self._calls.pop(call), _result(call)) for call in finished]

    def cancel(self) -> list[Key]:
        """Cancel and return the calls that have not begun; they do not count."""
        canceled = [call for call in self._calls if call.cancel()]
        return [self._calls.pop(call) for call in canceled]

    def _work(self) -> None:
        try:
            while (item := self._waiting.get()) is not None:
                call, make = item
                if not call.set_running_or_notify_cancel():
                    continue
                try:
                    call.set_result(make())
                except BaseException as error:  # noqa: BLE001  # _result() returns it
                    call.set_exception(error)
                self._finished.put((monotonic(), call))
        finally:
            connections.close_all()


def _call_at(
    moment: float, tagger: str, source: Source, job_id: str | None, *, fresh: bool
) -> Answer:
    if (early := moment - monotonic()) > 0:
        time.sleep(early)
    began = monotonic()
    outcome: str = ErrorCode.TAGGER_CRASHED
    try:
        answer = call_tagger(get_tagger(tagger), source, job_id, fresh=fresh)
        outcome = "answered" if isinstance(answer, TaggerReply) else "pending"
    except TaggerError as error:
        outcome = error.code
        raise
    except ConfigurationError:
        outcome = ErrorCode.CONFIGURATION
        raise
    finally:
        metrics.observe("call.seconds", monotonic() - began, tagger=tagger, outcome=outcome)
    return answer


def _result(call: Future[Answer]) -> Answer | Exception:
    error = call.exception()
    if error is None:
        return call.result()
    if isinstance(error, Exception):
        return error
    # From the tagger, never a signal.
    return RuntimeError(f"The tagger raised {type(error).__name__}.")


def call_tagger(
    tagger: Tagger, source: Source, job_id: str | None, *, fresh: bool = False
) -> Answer:
    """Call a tagger for the tags of a file, or for the state of its job, and wait for the answer.

    With ``fresh``, a tagger with a cache must not use it. The answer, or the TaggerError, can be
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
            "The tagger of this job cannot report its status.",
            code=ErrorCode.CONFIGURATION,
            fix="Implement a method follow(job_id).",
        )
    return tagger.follow(job_id)
