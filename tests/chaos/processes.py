"""Processes of a run: started in their own group, killed with it, restarted."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENDS_IN = 5
"""Seconds for a process to end after SIGTERM."""


class Group:
    """A process and its children; its output is kept across restarts."""

    def __init__(
        self, name: str, command: list[str], log: Path, user: str | None = None
    ) -> None:
        self.name = name
        self.starts = 0
        self._command = command
        self._log = log
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0

    def start(self, environment: Mapping[str, str]) -> None:
        """Start or restart it."""
        self.starts += 1
        self._started = time.monotonic()
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=self._user,
            )

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def age(self) -> float:
        """Seconds since it was last started."""
        return time.monotonic() - self._started

    @property
    def pid(self) -> int:
        """The process's id, which is its group's, too."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started.")
        return self._process.pid

    def children(self) -> list[int]:
        """Return the ids of the processes it forked."""
        try:
            told = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        except FileNotFoundError:
            return []
        return [int(pid) for pid in told.split()]

    def kill(self) -> None:
        """Kill the whole group. Idempotent."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """Ask it to end, and kill what is left."""
        if self._process is not None and self.alive:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(ENDS_IN)
        self.kill()


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module with this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def free_port() -> int:
    """Return an unused port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Whether a process listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
