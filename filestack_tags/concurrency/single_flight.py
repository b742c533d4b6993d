"""Single flight: let few callers do work that all callers want done.

No Django, no Celery: the caller defines the work.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import BoundedSemaphore, Event


class SingleFlight:
    """Run the same work in at most ``limit`` threads; other callers return at once.

    Work that was wanted while it was running is run once more. Safe to share among threads.
    """

    def __init__(self, limit: int = 1) -> None:
        self._seats = BoundedSemaphore(limit)
        self._is_wanted = Event()

    def run(self, work: Callable[[], bool]) -> bool:
        """Call ``work`` until no caller wants more; return false if it stopped early.

        ``work`` returns whether it is done; if it is not, the caller has to continue later.
        """
        # Set before a seat is taken, so that a thread that leaves its seat looks again.
        self._is_wanted.set()
        while self._is_wanted.is_set() and self._seats.acquire(blocking=False):
            try:
                self._is_wanted.clear()
                is_done = work()
            finally:
                self._seats.release()
            if not is_done:
                return False
        return True
