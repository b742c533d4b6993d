"""A shell that commands are typed into, as a reader of the tutorial does."""

from __future__ import annotations

import re
import signal
import subprocess
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self


class Terminal:
    """One bash in one folder; commands change its state, as they would for a user."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            subprocess.run(
                ["kill", "-s", "TERM", "--", f"-{self._shell.pid}"],
                check=False,
                stderr=subprocess.DEVNULL,
            )
            self._shell.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._shell.send_signal(signal.SIGKILL)
            self._shell.wait()
        finally:
            for pipe in (self._shell.stdin, self._shell.stdout):
                if pipe:
                    pipe.close()

    def run(self, command: str) -> tuple[str, int]:
        """Type a command, wait for its end, and return its output and its status."""
        end = uuid.uuid4().hex
        self.type(f"{command} </dev/null\nprintf '\\n%s %s\\n' {end} $?")
        printed = []
        assert self._shell.stdout
        for line in self._shell.stdout:
            if found := re.fullmatch(rf"{end} (\d+)\n", line):
                return "".join(printed).removesuffix("\n"), int(found[1])
            printed.append(line)
        raise AssertionError(f"The shell ended during: {command}\n{''.join(printed)}")

    def type(self, text: str) -> None:
        """Type a command that keeps running."""
        assert self._shell.stdin
        self._shell.stdin.write(f"{text}\n")
        self._shell.stdin.flush()
