"""The site under test: the processes of a real installation, with a separate database."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from django.db import connections

from example_project.celery_app import app as celery_app
from example_project.demo import processes
from example_project.demo.children import Child, Children, DemoFailed
from example_project.demo.environment import Stage

P = ParamSpec("P")
R = TypeVar("R")


class Database:
    """The database, queried from a separate thread.

    Playwright keeps an event loop in the thread of the tests, and Django refuses database queries
    in such a thread.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "database")

    def __call__(self, ask: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what ``ask`` returns there; load rows completely, since relations cannot be read
        here.
        """
        return self._thread.submit(ask, *args, **kwargs).result()

    def close(self) -> None:
        self(connections.close_all)
        self._thread.shutdown()


@dataclass(frozen=True)
class Site:
    """A running installation.

    Args:
        url: of the web server.
        filestack: of the emulator.
        children: its processes; their logs are in ``children.logs``.
    """

    url: str
    filestack: str
    children: Children


@contextmanager
def running(stage: Stage) -> Iterator[Site]:
    """Run emulator, web server and worker on the database of this process's settings."""
    os.environ["E2E_DATABASE"] = str(connections["default"].settings_dict["NAME"])
    with Children(stage.folder) as children:
        processes.start_emulator(children, stage)
        worker = processes.start_worker(children)
        processes.start_web(children, stage)
        _wait_for(worker)
        yield Site(stage.web, stage.emulator, children)


def _wait_for(worker: Child) -> None:
    """Wait until the worker takes tasks, so that no test has to."""
    for _ in range(30):
        worker.check()
        if celery_app.control.ping(timeout=1):
            return
    raise DemoFailed(f"The worker does not answer. Its log ends with:\n{worker.log_tail()}")
