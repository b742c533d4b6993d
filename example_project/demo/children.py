"""Child processes: started in their own group, awaited, and always stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
LEASH = Path(__file__).with_name("leash.py")
STOP_TIMEOUT = 10.0
LOG_LINES = 25


class DemoFailed(Exception):
    """The demo cannot continue, or a check failed; the message says why."""


class Child:
    """One process with its log file. It ends with this process, however that ends."""

    def __init__(self, name: str, command: list[str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(LEASH), *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise with the end of the log if the process has ended."""
        if (code := self.process.poll()) is not None:
            raise DemoFailed(
                f"The {self.name} ended with code {code}. Its log ends with:\n{self.log_tail()}"
            )

    def log_tail(self) -> str:
        lines = self.log.read_text("utf-8", "replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-LOG_LINES:])

    def release(self) -> None:
        """Ask the process to stop, without waiting for it."""
        if self.process.stdin and not self.process.stdin.closed:
            self.process.stdin.close()

    def stop(self) -> None:
        """Stop the process and everything it started; return when it is gone."""
        self.release()
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # Kill what is left of the group.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Children:
    """All child processes of a demo; leaving the ``with`` block stops every one of them."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.running: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A second Ctrl-C must not leave half of them behind.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        for child in self.running:
            child.release()
        for child in reversed(self.running):
            child.stop()

    def start(self, name: str, *command: str) -> Child:
        child = Child(name, list(command), self.logs / f"{name.replace(' ', '-')}.log")
        self.running.append(child)
        return child

    def check(self) -> None:
        for child in self.running:
            child.check()


def wait_for_port(child: Child, port: int, *, timeout: float = 30) -> None:
    """Wait until ``child`` accepts connections on loopback.

    Raises:
        DemoFailed: when it ends, or takes longer than ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        child.check()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise DemoFailed(
        f"The {child.name} does not answer on port {port} after {timeout:.0f} s. "
        f"Its log ends with:\n{child.log_tail()}"
    )
