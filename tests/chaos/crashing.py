"""Crash points: places in the code where a process kills itself, once armed.

Arming a point creates a token, a file. The first process to reach the point takes it and dies with
SIGKILL, alone or with its whole process group: no handler runs, nothing is closed, as when the
kernel runs out of memory or the machine fails.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from .plan import POINTS

DIRECTORY = "CHAOS_DIRECTORY"
"""Environment variable: the directory of the run, which contains the tokens."""

ALONE, WITH_ITS_GROUP = "alone", "group"


def directory() -> Path:
    """Return the directory of this run."""
    return Path(os.environ[DIRECTORY])


def arm(run: Path, point: str, number: int, *, whole_group: bool) -> None:
    """Arm ``point``: the next process that reaches it dies there."""
    token = run / "tokens" / f"{POINTS.index(point)}-{number}"
    draft = token.with_name(f".{token.name}")
    draft.write_text(WITH_ITS_GROUP if whole_group else ALONE)
    draft.rename(token)


def armed(run: Path, points: Collection[str] = POINTS) -> list[Path]:
    """Return the tokens of points that were not reached yet."""
    numbers = {POINTS.index(point) for point in points}
    tokens = (run / "tokens").glob("[0-9]*")
    return [token for token in tokens if int(token.name.partition("-")[0]) in numbers]


def disarm(run: Path) -> int:
    """Remove every token; return how many points were not reached."""
    tokens = armed(run)
    for token in tokens:
        token.unlink(missing_ok=True)
    return len(tokens)


def take(point: str) -> str | None:
    """Take a token of ``point``; return what is to die, or ``None`` when it is not armed."""
    for token in (directory() / "tokens").glob(f"{POINTS.index(point)}-*"):
        try:
            who = token.read_text()
            token.unlink()
        except FileNotFoundError:
            continue  # another process was faster
        return who
    return None


def kill(point: str, who: str, pid: int) -> None:
    """Kill a process, or its group, and record it."""
    append("crashes.log", f"{time.time():.3f}\t{point}\t{pid}\t{who}")
    if who == WITH_ITS_GROUP:
        os.killpg(os.getpgid(pid), signal.SIGKILL)
    else:
        os.kill(pid, signal.SIGKILL)


def end(pid: int) -> None:
    """Kill a process that may already have ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def crash(point: str) -> None:
    """Die here, if this point is armed."""
    if (who := take(point)) is not None:
        kill(point, who, os.getpid())


def append(name: str, line: str) -> None:
    """Add a line to a file of the run; lines of several processes do not mix."""
    with (directory() / name).open("ab", buffering=0) as file:
        file.write(line.encode() + b"\n")
