"""Run several processes concurrently that do the same kind of work, each with its own connections.

Children are spawned, not forked: they import this module first and set up Django themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing import get_context
from time import perf_counter
from typing import Any

WARM_UP = 6
"""Items that a process handles before the measurement begins, so that its modules are loaded and
its statements prepared.
"""


@dataclass
class Job:
    """The work of one process: ``role`` names a function of :mod:`.roles`, called with one item
    after another for ``seconds``; with ``repeat``, again from the first. The first
    :data:`WARM_UP` items do not count.
    """

    role: str
    items: Sequence[Any]
    seconds: float
    repeat: bool = False


@dataclass
class Report:
    role: str
    times: list[float] = field(default_factory=list)
    """Milliseconds of each item."""
    elapsed: float = 0.0
    errors: list[str] = field(default_factory=list)


def together(jobs: Sequence[Job]) -> list[Report]:
    """Run the jobs, each in a process, all starting at the same moment."""
    context = get_context("spawn")
    begin = context.Barrier(len(jobs))
    reports: Any = context.Queue()
    children = [context.Process(target=_work, args=(job, begin, reports)) for job in jobs]
    for child in children:
        child.start()
    collected: list[Report] = [reports.get(timeout=300) for _ in children]
    for child in children:
        child.join()
    return collected


def _work(job: Job, begin: Any, reports: Any) -> None:
    import django  # first in a new process

    django.setup()
    do = getattr(import_module(f"{__package__}.roles"), job.role)()
    report = Report(job.role)

    def attempt(number: int) -> None:
        try:
            do(job.items[number % len(job.items)])
        except Exception as error:  # noqa: BLE001  # counted; the target is 0
            report.errors.append(repr(error)[:200])

    for number in range(min(WARM_UP, len(job.items))):
        attempt(number)
    begin.wait(timeout=120)
    start = now = perf_counter()
    number = WARM_UP
    while now - start < job.seconds and (job.repeat or number < len(job.items)):
        attempt(number)
        number += 1
        before, now = now, perf_counter()
        report.times.append((now - before) * 1000)
    report.elapsed = now - start
    from django.db import connections  # after the setup above

    connections.close_all()
    reports.put(report)
