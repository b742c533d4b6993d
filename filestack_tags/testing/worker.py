"""A thread that does what is due, one piece at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

LONGEST_WAIT = 0.5
"""Seconds: another process may have left work in the shared directory without waking us."""


class Worker:
    """Calls ``step`` until there is nothing due, then waits for :meth:`wake`.

    ``step`` does at most one piece of work and says whether it did. The thread starts with the
    first :meth:`wake`.
    """

    def __init__(self, name: str, step: Callable[[], bool]) -> None:
        self._name = name
        self._step = step
        self._wanted = threading.Event()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """There may be work now."""
        self._wanted.set()
        with self._lock:
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Finish the piece at hand, then end the thread."""
        self._stopped.set()
        self._wanted.set()
        with self._lock:
            if self._thread is not None:
                self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                busy = self._step()
            except Exception:
                logger.exception("%s failed; it goes on", self._name)
                busy = False
            if not busy:
                self._wanted.wait(LONGEST_WAIT)
                self._wanted.clear()
