"""The processes of a run: gunicorn, a Celery worker, and the client."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from .client import Measured, Orders

ROOT = Path(__file__).parents[2]
STARTS_IN = 90
THREADS = 4
"""Threads of each gunicorn worker; they wait for the database most of the time."""


def workers() -> int:
    return os.cpu_count() or 1


@contextmanager
def server() -> Iterator[int]:
    """Run gunicorn with as many workers as there are cores; yield its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = (
        f"--bind=127.0.0.1:{port} --workers={workers()} --worker-class=gthread "
        f"--threads={THREADS} --keep-alive=60 --log-level=warning --no-control-socket"
    )
    command = ["gunicorn", *options.split(), "benchmarks.ingest.wsgi:application"]
    with _running(command):
        deadline = time.monotonic() + STARTS_IN
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                break
        yield port


@contextmanager
def worker() -> Iterator[None]:
    """Run a Celery worker with a process for each core, and wait until it listens."""
    command = (
        f"celery --app=benchmarks.ingest.celery_app worker --concurrency={workers()} "
        "--loglevel=warning --without-gossip --without-mingle --without-heartbeat"
    )
    from .celery_app import app  # after the settings are chosen

    with _running(command.split()):
        deadline = time.monotonic() + STARTS_IN
        while not app.control.ping(timeout=0.5):
            if time.monotonic() > deadline:
                raise TimeoutError("The Celery worker does not answer.")
        yield


def post(orders: Orders) -> Measured:
    """Run the client in a separate process."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.ingest.client"],
        cwd=ROOT,
        input=json.dumps(asdict(orders)),
        capture_output=True,
        text=True,
        check=False,
        timeout=orders.seconds + 120,
    )
    if done.returncode:
        raise RuntimeError(f"The client failed: {done.stderr[-500:]}")
    return Measured(**json.loads(done.stdout))


@contextmanager
def _running(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
