"""Run each action as a job, without Celery, and measure it.

Each action is undone by the next one, so all find the same library.
"""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from time import perf_counter, process_time
from typing import Any

import psutil
from django.contrib.auth.models import User
from django.db import connection

from benchmarks.search.load import settle
from filestack_tags.curation import bulk, merging
from filestack_tags.models import BulkJob, Tag, TagMerge

from .library import EVERYWHERE, THIRD

NEW = "added by a job"
SHOWN = 30
"""Functions in a profile."""


@dataclass
class Transactions:
    """The duration of each transaction, in seconds."""

    seconds: list[float] = field(default_factory=list)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Time the outermost transactions of this thread within the block."""
        set_autocommit = connection.set_autocommit
        begun = 0.0

        def timing(autocommit: bool, *args: Any, **kwargs: Any) -> None:
            nonlocal begun
            set_autocommit(autocommit, *args, **kwargs)
            if autocommit:
                self.seconds.append(perf_counter() - begun)
            else:
                begun = perf_counter()

        connection.set_autocommit = timing  # type: ignore[method-assign]
        try:
            yield
        finally:
            connection.set_autocommit = set_autocommit  # type: ignore[method-assign]


def measured(name: str, user: User, *, profiled: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what an action takes, and what its undoing takes."""
    if name == "merge":
        yield from _merged(user, profiled=profiled)
        return
    tag = {"add_tag": NEW, "export": "", "archive": ""}.get(name, EVERYWHERE)
    format_ = "csv" if name == "export" else ""
    request = bulk.BulkRequest(name, tag=tag, format=format_)
    job, _created = bulk.create(request, user=user)
    yield name, _measured(lambda: _finished(job), profiled=profiled)
    if job.action in bulk.UNDONE:
        undoing = bulk.undo(job.pk, user=user)
        yield f"undo {name}", _measured(lambda: _finished(undoing), profiled=profiled)


def _finished(job: BulkJob) -> int:
    while bulk.step(job.pk).goes_on:
        pass
    job.refresh_from_db()
    if job.state != BulkJob.State.FINISHED or job.skipped or job.failed:
        raise RuntimeError(f"{job.action}: {job.state}, {job.reasons} {job.error}")
    return job.changed


def _merged(user: User, *, profiled: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    ids = dict(Tag.objects.filter(name__in=(EVERYWHERE, THIRD)).values_list("name", "pk"))
    merge = merging.start(ids[EVERYWHERE], ids[THIRD], user=user)

    def work() -> int:
        if not merging.work(merge.pk):
            raise RuntimeError("The merge was interrupted.")
        return merge.assets

    yield "merge", _measured(work, profiled=profiled)
    merging.undo(merge.pk, user=user)
    yield "undo merge", _measured(work, profiled=profiled)
    merge.refresh_from_db()
    if merge.state != TagMerge.State.UNDONE:
        raise RuntimeError(f"{merge.state}: {merge.error}")


def _measured(work: Callable[[], int], *, profiled: bool) -> dict[str, Any]:
    settle()
    transactions, profile = Transactions(), cProfile.Profile()
    wal, dead = _written()
    begun, client, database = perf_counter(), process_time(), _database_time()
    with transactions.timed(), profile if profiled else nullcontext():
        assets = work()
    seconds = perf_counter() - begun
    client, database = process_time() - client, _database_time() - database
    wal_after, dead_after = _written()
    if profiled:
        pstats.Stats(profile).sort_stats("tottime").print_stats(SHOWN)
    return {
        "assets": assets,
        "seconds": round(seconds, 2),
        "per_second": round(assets / seconds),
        "client_us": round(client / assets * 1e6),
        "database_us": round(database / assets * 1e6),
        "transactions": len(transactions.seconds),
        "longest_ms": round(max(transactions.seconds) * 1000, 1),
        "wal_per_asset": round((wal_after - wal) / assets),
        "dead_rows": dead_after - dead,
    }


def _database_time() -> float:
    """Return the processor time of the database's process for this connection, in seconds."""
    session: Any = connection.connection
    times = psutil.Process(session.info.backend_pid).cpu_times()
    return float(times.user + times.system)


def _written() -> tuple[int, int]:
    """Return the position of the write-ahead log, in bytes, and the rows updated or deleted."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(
            "SELECT pg_current_wal_insert_lsn() - '0/0',"
            " (SELECT sum(n_tup_upd + n_tup_del) FROM pg_stat_user_tables)"
        )
        wal, rows = cursor.fetchone()
    return int(wal), int(rows)
