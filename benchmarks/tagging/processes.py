"""The processes of a measurement: a Filestack stand-in, workers, and their resource usage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import psutil
from django.conf import settings

from .surroundings import DATABASE, FILESTACK, environment

ROOT = Path(__file__).parents[2]
STOPS_IN = 40
"""Seconds: a worker finishes its task, which takes up to ten."""


@dataclass
class Upstream:
    """A running Filestack stand-in. ``arrivals`` are available after it has ended."""

    url: str
    handles: list[str]
    arrivals: Sequence[float] = field(default_factory=list)
    _folder: Path = field(default=Path(), repr=False)

    def probe(self, kind: str, seconds: float) -> dict[str, float]:
        """Return how many calls a second it answers without other load."""
        done = subprocess.run(  # our own module
            [
                *(sys.executable, "-m", "benchmarks.tagging.probe", kind, self.url),
                *("--handles", str(self._folder / "handles"), "--seconds", str(seconds)),
            ],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            check=True,
        )
        found: dict[str, float] = json.loads(done.stdout)
        return found


@contextmanager
def upstream(kind: str, *, latency: float, files: int) -> Iterator[Upstream]:
    """Run a Filestack stand-in that answers after ``latency`` seconds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        process = subprocess.Popen(  # our own module
            [
                *(sys.executable, "-m", "benchmarks.tagging.upstream", kind),
                *("--latency", str(latency), "--files", str(files)),
                *("--handles", str(folder / "handles")),
                *("--arrivals", str(folder / "arrivals")),
            ],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            assert process.stdout
            url = process.stdout.readline().strip()
            if not url:
                raise RuntimeError(f"The stand-in for Filestack ({kind}) did not start.")
            handles = json.loads((folder / "handles").read_text("utf-8"))
            found = Upstream(url, handles, _folder=folder)
            yield found
        finally:
            _end(process)
        arrivals = array("d")
        arrivals.frombytes((folder / "arrivals").read_bytes())
        found.arrivals = sorted(arrivals)


@contextmanager
def workers(
    number: int, options: Sequence[str], url: str, log: Path, **values: str
) -> Iterator[list[psutil.Process]]:
    """Run Celery workers, which log warnings and errors to ``log``."""
    running: list[subprocess.Popen[bytes]] = []
    with log.open("wb") as output:
        try:
            for each in range(number):
                command = [
                    *(sys.executable, "-m", "celery", "--app", "benchmarks.tagging.worker"),
                    *("worker", "--loglevel", "WARNING", "--hostname", f"benchmark{each}@%h"),
                    *options,
                ]
                running.append(
                    subprocess.Popen(  # our own command
                        command,
                        cwd=ROOT,
                        env=environment(**{FILESTACK: url}, **values),
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )
            yield [psutil.Process(process.pid) for process in running]
        finally:
            for process in running:
                process.terminate()
            for process in running:
                _end(process)


def _end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(STOPS_IN)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass(frozen=True)
class Sample:
    """Resources used up to a point in time: CPU seconds of the workers and of the database's
    processes, and the workers' resident memory in bytes.
    """

    at: float
    done: int
    worker_cpu: float
    database_cpu: float | None
    memory: int


class Meter:
    """Reads the resources that workers and the database have used so far."""

    def __init__(self, running: Sequence[psutil.Process]) -> None:
        self._workers = running
        self._server, self._backends = _server(), _name()

    def read(self, done: int) -> Sample:
        cpu, memory = 0.0, 0
        children = [child for worker in self._workers for child in worker.children()]
        for process in (*self._workers, *children):
            times = process.cpu_times()
            cpu += times.user + times.system
            memory += process.memory_info().rss
        return Sample(monotonic(), done, cpu, self._database(), memory)

    def _database(self) -> float | None:
        """Return the CPU seconds of current and ended backends of our database."""
        if self._server is None:
            return None
        ended = self._server.cpu_times()
        used: float = ended.children_user + ended.children_system
        for process in self._server.children():
            try:
                if self._backends in " ".join(process.cmdline()):
                    times = process.cpu_times()
                    used += times.user + times.system
            except psutil.NoSuchProcess:
                continue
        return used


def _name() -> str:
    return str(settings.DATABASES["default"]["NAME"])


def _server() -> psutil.Process | None:
    """Return PostgreSQL's main process, if it runs on this machine and is accessible."""
    host = urlsplit(os.environ[DATABASE]).hostname
    if host not in ("127.0.0.1", "localhost", "::1"):
        return None
    from django.db import connection  # after the set-up

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    try:
        return psutil.Process(pid).parent()
    except psutil.Error:
        return None
