"""Work for each key in turn, in a few threads, so that a slow key delays no other.

No Django, no Celery: the caller defines the work for a key.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Collection, Iterable
from threading import Condition, Thread

logger = logging.getLogger(__name__)


class KeyedExecutor:
    """Call ``work`` for keys: one thread for each key, and at most ``limit`` keys at once.

    While ``work`` returns true there is more to do for its key, after the keys that wait. The
    threads do not keep the interpreter from exiting. Safe to share among threads; a forked child
    starts without keys.
    """

    def __init__(self, work: Callable[[int], bool], limit: int) -> None:
        self._work = work
        self._limit = limit
        self._begin_anew()
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(after_in_child=self._begin_anew)

    def _begin_anew(self) -> None:
        self._changed = Condition()
        self._waiting: deque[int] = deque()
        self._busy: set[int] = set()
        self._called_again: set[int] = set()
        self._threads = 0

    def start(self, keys: Iterable[int]) -> list[int]:
        """Schedule ``work`` for ``keys``; return those that were neither waiting nor running.

        A key whose work is running is scheduled once more.
        """
        started = []
        with self._changed:
            for key in keys:
                if key in self._busy:
                    self._called_again.add(key)
                elif key not in self._waiting:
                    self._waiting.append(key)
                    started.append(key)
            while self._threads < min(self._limit, len(self._waiting) + len(self._busy)):
                self._threads += 1
                Thread(target=self._run, name="filestack_tags-lane", daemon=True).start()
        return started

    def wait(self, keys: Collection[int], seconds: float) -> bool:
        """Wait until there is no work for ``keys``; return false on timeout."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._busy.isdisjoint(keys) and not set(keys) & {*self._waiting},
                seconds,
            )

    def _run(self) -> None:
        while (key := self._next()) is not None:
            has_more = False
            try:
                has_more = self._work(key)
            except Exception:
                logger.exception("The work for %s failed", key)
            with self._changed:
                self._busy.remove(key)
                if has_more or key in self._called_again:
                    self._called_again.discard(key)
                    self._waiting.append(key)
                self._changed.notify_all()

    def _next(self) -> int | None:
        with self._changed:
            if not self._waiting:
                self._threads -= 1
                return None
            key = self._waiting.popleft()
            self._busy.add(key)
            return key
