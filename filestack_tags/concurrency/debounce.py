"""Wake-ups: debounce, so that a burst of events sends few messages.

No Django, no Celery: the caller defines what a wake-up does.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from threading import Lock, Thread

logger = logging.getLogger(__name__)


class Wakeups:
    """Call ``publish`` soon after each :meth:`ring`, at most once in ``interval`` seconds.

    The first ring is published at once, and those that follow together at the end of the interval,
    so that ``publish`` always begins after the last ring. A thread does this, so a broker that
    hangs does not delay callers; it ends when nothing rang for an interval. The interpreter waits
    for it before it exits. While ``inline()`` is true, :meth:`ring` itself publishes.

    Safe to share among threads. A forked child starts empty; rings in its parent are published by
    its parent.
    """

    def __init__(
        self,
        publish: Callable[[], object],
        *,
        inline: Callable[[], bool] = bool,
        interval: float = 0.1,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._publish = publish
        self._inline = inline
        self._interval = interval
        self._pause = pause
        self._begin_anew()
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(after_in_child=self._begin_anew)

    def _begin_anew(self) -> None:
        self._lock = Lock()
        self._running = False
        self._rung = False

    def ring(self) -> None:
        """Schedule a call of ``publish``; returns at once."""
        with self._lock:
            self._rung = True
            if self._running:
                return
            self._running = True
        if self._inline():
            self._stop()
            self._publish()
            return
        try:
            Thread(target=self._run, name="filestack_tags wake-ups").start()
        except RuntimeError:  # no thread can be started; the interpreter may be about to exit
            self._stop()
            self._call()

    def _stop(self) -> None:
        with self._lock:
            self._running = self._rung = False

    def _run(self) -> None:
        while self._take():
            self._call()
            self._pause(self._interval)

    def _take(self) -> bool:
        """Whether there was a ring since the last call; if not, the thread ends."""
        with self._lock:
            self._running, self._rung = self._rung, False
            return self._running

    def _call(self) -> None:
        try:
            self._publish()
        except Exception as error:  # noqa: BLE001  no caller is waiting for it
            logger.error("A wake-up failed: %s", type(error).__name__)  # noqa: TRY400  its text may contain an address
