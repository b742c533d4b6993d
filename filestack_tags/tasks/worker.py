"""Celery worker hooks: what runs around each task of this app, and which pools it supports."""

from __future__ import annotations

import signal
import sys
from threading import current_thread, local, main_thread
from time import monotonic
from typing import Any

from billiard.pool import SIG_SOFT_TIMEOUT, soft_timeout_sighandler
from celery import Task
from celery.signals import celeryd_after_setup, task_postrun, task_prerun
from django.db import connections

from filestack_tags.db.replicas import reading_primary
from filestack_tags.db.transactions import alias

IN_STEPS = frozenset(
    f"filestack_tags.{name}"
    for name in (
        *("tag_asset", "process_inbox", "run_bulk_job", "merge_tags"),
        *("store_model_files", "send_outbound"),
    )
)
"""Tasks that end between two steps when their soft time limit is reached."""

POOLS = {
    "celery.concurrency.prefork": "prefork",
    "celery.concurrency.thread": "threads",
    "celery.concurrency.solo": "solo",
    "celery.concurrency.gevent": "gevent",
}
"""Pools of Celery that this app is tested with, by the module of their class."""


@task_prerun.connect
def _leave_broken_connection(sender: Task[Any, Any], **_: Any) -> None:
    """Start a task on a working connection, even if ``CELERY_DB_REUSE_MAX`` keeps connections.

    With that setting Celery checks none of them; it closes each after some number of tasks.
    """
    if sender.name.startswith("filestack_tags.") and not sender.request.is_eager:
        connections[alias()].close_if_unusable_or_obsolete()


_reads = local()
"""The :func:`~filestack_tags.db.replicas.reading_primary` blocks of the tasks of this thread."""


@task_prerun.connect
def _read_from_primary(sender: Task[Any, Any], **_: Any) -> None:
    """Start a task on the primary, since it reads recent writes; see ``db/replicas.py``."""
    if sender.name.startswith("filestack_tags."):
        block = reading_primary()
        block.__enter__()
        _reads.__dict__.setdefault("blocks", []).append(block)


@task_postrun.connect
def _read_by_router(sender: Task[Any, Any], **_: Any) -> None:
    if sender.name.startswith("filestack_tags."):
        _reads.blocks.pop().__exit__(None, None, None)


class _SoftLimit:
    """Celery's soft time limit, recorded instead of raised.

    Raised in the middle of a step, it would lose leases and replies that cost money.
    """

    def __init__(self) -> None:
        self._is_reached = False

    def is_reached(self) -> bool:
        """Whether it was reached during the present task; only the prefork pool has a limit."""
        return self._is_reached

    def defer(self) -> None:
        """Record it from now on, if this is a process of the prefork pool."""
        self._is_reached = False
        if self._handler() is soft_timeout_sighandler:
            signal.signal(signal.SIGUSR1, self._note)

    def restore(self) -> None:
        """Raise it again from now on."""
        if self._handler() == self._note:
            signal.signal(signal.SIGUSR1, soft_timeout_sighandler)

    def _handler(self) -> Any:
        is_main = current_thread() is main_thread()
        return signal.getsignal(signal.SIGUSR1) if is_main and SIG_SOFT_TIMEOUT else None

    def _note(self, *_: Any) -> None:
        self._is_reached = True


soft_limit = _SoftLimit()


@task_prerun.connect
def _defer_soft_limit(sender: Task[Any, Any], **_: Any) -> None:
    if sender.name in IN_STEPS:
        soft_limit.defer()


@task_postrun.connect
def _restore_soft_limit(sender: Task[Any, Any], **_: Any) -> None:
    if sender.name in IN_STEPS:
        soft_limit.restore()


def is_over(until: float) -> bool:
    """Whether a task has to leave the rest to the next one."""
    return monotonic() > until or soft_limit.is_reached()


@celeryd_after_setup.connect
def _refuse_untested_pools(instance: Any, **_: Any) -> None:
    """Stop a worker with an untested pool, such as eventlet.

    If tasks run beside an event loop, Django rejects their queries.
    """
    pool = instance.pool_cls.__module__
    if pool not in POOLS:
        names = ", ".join(POOLS.values())
        sys.exit(
            f"filestack_tags does not work with the pool {pool}. Start the worker with one of "
            f"--pool {names}, or route the tasks filestack_tags.* to a worker that has one."
        )
