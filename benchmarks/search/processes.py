"""Run several processes concurrently that do the same kind of work, each with its own connections.

Children are spawned, not forked: they import this module first and set up Django themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from time import perf_counter, sleep
from typing import Any

WARM_UP = 6
"""Items that a process handles before the measurement begins, so that its modules are loaded and
its statements prepared.
"""


@dataclass
class Job:
    """The work of one process: ``role`` is the dotted path of a function that returns what to do
    with an item. It is called with one item after another for ``seconds``; with ``repeat``, again
    from the first. The first :data:`WARM_UP` items do not count.
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
    from django.utils.module_loading import import_string  # after the setup above

    do = import_string(job.role)()
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


@dataclass
class Observed:
    """The results of one round of processes."""

    reports: list[Report]
    """Of the measured role."""
    errors: list[str]
    deadlocks: int


def observe(jobs: Sequence[Job], role: str) -> Observed:
    from django.db import connections  # after the caller's setup

    connections.close_all()
    before = _deadlocks()
    connections.close_all()
    reports = together(jobs)
    sleep(1.1)  # servers count deadlocks with a delay of up to a second
    return Observed(
        [report for report in reports if report.role == role],
        [error for report in reports for error in report.errors],
        _deadlocks() - before,
    )


def summary(rounds: Sequence[Observed], size: int = 1) -> dict[str, Any]:
    """Return rates and times of all rounds; ``size`` is how many replies are one item."""
    times = sorted(t for seen in rounds for report in seen.reports for t in report.times)
    rates = [sum(len(r.times) / r.elapsed for r in seen.reports) for seen in rounds]
    errors = [error for seen in rounds for error in seen.errors]
    return {
        "processes": len(rounds[0].reports),
        "n": len(times),
        "per_second": round(size * sum(rates) / len(rates), 1),
        "p50": round(times[len(times) // 2], 3),
        "p95": round(times[min(len(times) - 1, int(0.95 * len(times)))], 3),
        "max": round(times[-1], 3),
        "errors": len(errors),
        "deadlocks": sum(seen.deadlocks for seen in rounds),
        **({"problem": errors[0]} if errors else {}),
    }


def _deadlocks() -> int:
    from django.db import connection  # after the caller's setup

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
        return int(cursor.fetchone()[0])
