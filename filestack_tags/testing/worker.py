"""A thread that runs due work, one item at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

LONGEST_WAIT = 0.5
"""Seconds: another process may have added work to the shared directory without a wake-up."""


class Worker:
    """Calls ``step`` until nothing is due, then waits for :meth:`wake`.

    ``step`` does at most one item of work and returns whether it did. The thread starts with the
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
        """Signal that there may be work."""
        self._wanted.set()
        with self._lock:
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Finish the current item, then end the thread."""
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
                logger.exception("%s failed; the worker continues", self._name)
                busy = False
            if not busy:
                self._wanted.wait(LONGEST_WAIT)
                self._wanted.clear()
