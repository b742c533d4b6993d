"""Debounce: a burst of events sends few messages.

No Django, no Celery: the caller defines what is sent.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from threading import Lock, Thread

logger = logging.getLogger(__name__)


class Debouncer:
    """Call ``publish`` soon after each :meth:`notify`, at most once in ``interval`` seconds.

    The first call is published at once, and those that follow together at the end of the interval,
    so that ``publish`` always begins after the last call. A thread does this, so a broker that
    hangs does not delay callers; it ends after an interval without calls. The interpreter waits for
    it before it exits. While ``inline()`` is true, :meth:`notify` itself publishes.

    Safe to share among threads. A forked child starts empty; its parent publishes its own calls.
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
        self._is_running = False
        self._is_notified = False

    def notify(self) -> None:
        """Schedule a call of ``publish``; returns at once."""
        with self._lock:
            self._is_notified = True
            if self._is_running:
                return
            self._is_running = True
        if self._inline():
            self._stop()
            self._publish()
            return
        try:
            Thread(target=self._run, name="filestack_tags-debounce").start()
        except RuntimeError:  # no thread can be started; the interpreter may be about to exit
            self._stop()
            self._call()

    def _stop(self) -> None:
        with self._lock:
            self._is_running = self._is_notified = False

    def _run(self) -> None:
        while self._take():
            self._call()
            self._pause(self._interval)

    def _take(self) -> bool:
        """Whether it was notified since the last call; if not, the thread ends."""
        with self._lock:
            self._is_running, self._is_notified = self._is_notified, False
            return self._is_running

    def _call(self) -> None:
        try:
            self._publish()
        except Exception as error:  # noqa: BLE001  no caller is waiting for it
            logger.error("A notification failed: %s", type(error).__name__)  # noqa: TRY400  its text may contain an address
