"""Publisher: a thread hands messages to a broker, so that a broker that hangs delays no request.

No Django, no Celery: the caller defines how a message is sent.
"""

from __future__ import annotations

import atexit
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import Condition, Thread
from time import monotonic

CAPACITY = 1000
"""Messages that may wait in one process."""

PAUSE = 5.0
"""Seconds after a failure during which no message is sent or awaited."""

Send = Callable[[], object]


class Publisher:
    """Send messages one by one, in a thread.

    After a failure, messages are rejected for :data:`PAUSE` seconds and waiting ones are dropped,
    because each attempt with an unavailable broker takes a while. A thread that is stuck on a
    message counts as a failure as soon as a caller has waited for it in vain.

    Safe to share among threads. A forked child starts empty; messages waiting in its parent are
    sent by its parent. When the interpreter exits, it waits for ``seconds()`` at most.

    Args:
        dropped: called with the name of each message that was not sent, and with the exception if
            there is one.
        seconds: returns the maximum time to wait.
    """

    def __init__(
        self,
        dropped: Callable[[str, Exception | None], object],
        seconds: Callable[[], float],
        *,
        capacity: int = CAPACITY,
        pause: float = PAUSE,
    ) -> None:
        self._dropped = dropped
        self._seconds = seconds
        self._capacity = capacity
        self._pause = pause
        self._begin_anew()
        atexit.register(self.flush)
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(after_in_child=self._begin_anew)

    def _begin_anew(self) -> None:
        self._changed = Condition()
        self._waiting: deque[tuple[str, Send]] = deque()
        self._unsent = 0
        self._is_running = False
        self._paused_until = 0.0

    def put(self, name: str, send: Send) -> None:
        """Queue ``send`` for the thread; blocks only while :data:`CAPACITY` messages wait.

        Args:
            name: identifies the message in the log.
            send: sends the message; an exception counts as a failure of the broker.
        """
        with self._changed:
            is_room = not self._is_paused() and self._wait(self._has_room)
            if is_room:
                self._waiting.append((name, send))
                self._unsent += 1
                self._start()
                self._changed.notify_all()
        if not is_room:
            self._dropped(name, None)

    def flush(self) -> bool:
        """Wait until all messages are sent or dropped; return whether they are."""
        with self._changed:
            return not self._unsent or (not self._is_paused() and self._wait(self._is_idle))

    def _has_room(self) -> bool:
        return len(self._waiting) < self._capacity

    def _is_idle(self) -> bool:
        return not self._unsent

    def _is_paused(self) -> bool:
        return monotonic() < self._paused_until

    def _wait(self, condition: Callable[[], bool]) -> bool:
        if self._changed.wait_for(condition, self._seconds()):
            return True
        self._paused_until = monotonic() + self._pause
        return False

    def _start(self) -> None:
        if not self._is_running:
            thread = Thread(target=self._run, name="filestack_tags-publisher", daemon=True)
            with suppress(RuntimeError):  # the interpreter is about to exit
                thread.start()
                self._is_running = True

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                name, send = self._waiting.popleft()
                is_paused = self._is_paused()
            self._send(name, send, is_paused=is_paused)
            with self._changed:
                self._unsent -= 1
                self._changed.notify_all()

    def _send(self, name: str, send: Send, *, is_paused: bool) -> None:
        if is_paused:
            self._dropped(name, None)
            return
        try:
            send()
        except Exception as error:  # noqa: BLE001  every transport has its own exceptions
            with self._changed:
                self._paused_until = monotonic() + self._pause
            self._dropped(name, error)
