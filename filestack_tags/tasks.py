"""Celery tasks, and the functions that enqueue them. The only module that imports Celery.

Tasks take ids, call one service function each and may run twice. They are enqueued after commit,
by a thread of the process (:mod:`.publisher`): a broker that is down or does not answer delays no
request. The row is there, and :func:`sweep` enqueues it again. Queues and routes are the host's:
route ``filestack_tags.*`` as you like.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from functools import partial
from threading import BoundedSemaphore, Event, current_thread, local, main_thread
from time import monotonic
from typing import TYPE_CHECKING, Any

from billiard.pool import SIG_SOFT_TIMEOUT, soft_timeout_sighandler
from celery import Task, current_app, current_task, shared_task
from celery.signals import celeryd_after_setup, task_postrun, task_prerun
from django.db import connections
from django.utils import timezone
from kombu import Connection, Producer
from kombu.exceptions import OperationalError

from . import (
    abandoned,
    assets,
    bulk,
    heartbeat,
    inbox,
    ingest,
    merging,
    metrics,
    outbound,
    outbox,
    pipeline,
    retention,
    statistics,
    storing,
    tagging,
)
from .conf import get_settings
from .filestack.sources import Source
from .lanes import Lanes
from .models import Asset, BulkJob, TaggingRun, TagMerge
from .publisher import Publisher
from .replicas import reading_primary
from .transactions import alias, in_transaction, on_commit
from .wakeups import Wakeups

if TYPE_CHECKING:
    from celery import Celery
    from django.contrib.auth.models import AbstractBaseUser
    from django.db.models import Q

    from .fields import AssetOf

logger = logging.getLogger(__name__)

LONGEST_COUNTDOWN = 600.0
"""Seconds. Later retries are left to :func:`sweep`: on Redis a message that waits longer than
the visibility timeout is delivered twice."""

INBOX_SLICE = 5.0
"""Seconds for which one task processes deliveries, so that others get their turn."""

INBOX_TASKS = 4
"""How many such tasks do something at the same time in one process, as in a pool of threads."""

TIME_TO_LAND = 10.0
"""Seconds that it takes at most to apply the answers that a task waited for."""

OUTBOUND_WAIT = 1.0
"""Seconds for which a task waits for the endpoints that it had served."""

OUTBOUND_ENDPOINTS = 16
"""Endpoints that one process sends to at the same time."""

BULK_SLICE = 10.0
"""Seconds for which one task does batches of a bulk job."""

BULK_HINTS = 16
"""Tasks to tag that are enqueued for a batch; each takes along the others that are due."""

STORE_SLICE = 10.0
"""Seconds for which one task stores files of the host's models."""

MERGE_SLICE = 10.0
"""Seconds for which one task merges tags, so that others get their turn."""

TIMEOUTS = {
    "amqp": ("read_timeout", "write_timeout"),
    "redis": ("socket_timeout", "socket_connect_timeout"),
}
"""Options of kombu's transports that bound a step on the network, by which all of them end."""

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

WAKE_INTERVAL = 0.1
"""Seconds between two messages that a web process sends about deliveries it has stored."""


@task_prerun.connect
def _leave_broken_connection(sender: Task[Any, Any], **_: Any) -> None:
    """Begin a task on a connection that works, also where ``CELERY_DB_REUSE_MAX`` keeps them.

    Celery then looks at none of them; it closes each after some number of tasks.
    """
    if sender.name.startswith("filestack_tags.") and not sender.request.is_eager:
        connections[alias()].close_if_unusable_or_obsolete()


_reads = local()
"""The blocks of :func:`~.replicas.reading_primary` that the tasks of this thread are in."""


@task_prerun.connect
def _read_from_primary(sender: Task[Any, Any], **_: Any) -> None:
    """Begin a task that reads what others wrote a moment ago; see :mod:`.replicas`."""
    if sender.name.startswith("filestack_tags."):
        block = reading_primary()
        block.__enter__()
        _reads.__dict__.setdefault("blocks", []).append(block)


@task_postrun.connect
def _read_by_router(sender: Task[Any, Any], **_: Any) -> None:
    if sender.name.startswith("filestack_tags."):
        _reads.blocks.pop().__exit__(None, None, None)


class _SoftLimit:
    """Celery's soft time limit, noted instead of raised.

    Raised in the middle of a step, it would lose leases and answers that were paid for.
    """

    def __init__(self) -> None:
        self._is_reached = False

    def is_reached(self) -> bool:
        """Whether it was reached during the present task; only the prefork pool has one."""
        return self._is_reached

    def defer(self) -> None:
        """Note it from now on, if this is a process of the prefork pool."""
        self._is_reached = False
        if self._handler() is soft_timeout_sighandler:
            signal.signal(signal.SIGUSR1, self._note)

    def restore(self) -> None:
        """Have it raised again."""
        if self._handler() == self._note:
            signal.signal(signal.SIGUSR1, soft_timeout_sighandler)

    def _handler(self) -> Any:
        is_main = current_thread() is main_thread()
        return signal.getsignal(signal.SIGUSR1) if is_main and SIG_SOFT_TIMEOUT else None

    def _note(self, *_: Any) -> None:
        self._is_reached = True


_soft_limit = _SoftLimit()


@task_prerun.connect
def _defer_soft_limit(sender: Task[Any, Any], **_: Any) -> None:
    if sender.name in IN_STEPS:
        _soft_limit.defer()


@task_postrun.connect
def _restore_soft_limit(sender: Task[Any, Any], **_: Any) -> None:
    if sender.name in IN_STEPS:
        _soft_limit.restore()


def _is_over(until: float) -> bool:
    """Whether a task has to leave the rest to another one."""
    return monotonic() > until or _soft_limit.is_reached()


def time_limits() -> tuple[float | None, float | None]:
    """Return the soft and the hard time limit of tasks that tag, in seconds; None without one."""
    conf = tag_asset.app.conf
    soft = tag_asset.soft_time_limit or conf.task_soft_time_limit
    return soft, tag_asset.time_limit or conf.task_time_limit


@celeryd_after_setup.connect
def _refuse_untested_pools(instance: Any, **_: Any) -> None:
    """End a worker whose pool this app was not tested with, such as eventlet.

    Where tasks run beside an event loop, Django refuses their queries.
    """
    pool = instance.pool_cls.__module__
    if pool not in POOLS:
        names = ", ".join(POOLS.values())
        sys.exit(
            f"filestack_tags does not work with the pool {pool}. Start the worker with one of "
            f"--pool {names}, or route the tasks filestack_tags.* to a worker that has one."
        )


@shared_task(name="filestack_tags.tag_asset", acks_late=True, ignore_result=True)
def tag_asset(asset_id: int) -> str:
    """Tag one asset, and others that are due with it; see :func:`filestack_tags.pipeline.work`."""
    return pipeline.work(asset_id, _try_again, _soft_limit.is_reached)


def _try_again(outcome: tagging.Outcome) -> None:
    if outcome.retry_at and outcome.asset_id:
        _publish(tag_asset, outcome.asset_id, at=outcome.retry_at)


@shared_task(name="filestack_tags.process_inbox", acks_late=True, ignore_result=True)
def process_inbox() -> None:
    """Process the webhook deliveries that wait; see :func:`filestack_tags.ingest.process`.

    After :data:`INBOX_SLICE` seconds the rest is left to another task of this name. Any number
    may run at once; those too many for one process leave their work to the others in it.
    """
    until = monotonic() + INBOX_SLICE
    _inbox_called.set()
    # Called first, then refused: so whoever leaves a seat sees that it has to look again.
    while _inbox_called.is_set() and _inbox_seats.acquire(blocking=False):
        try:
            _inbox_called.clear()
            is_done = _process_waiting(until)
        finally:
            _inbox_seats.release()
        if not is_done:
            _publish(process_inbox)
            return


def _process_waiting(until: float) -> bool:
    """Return whether nothing is left; at ``until``, of the monotonic clock, something may be."""
    while ids := inbox.waiting():
        outcomes = ingest.process_all(ids)
        _have_tagged([pk for outcome in outcomes for pk in outcome.to_tag])
        for outcome in outcomes:
            if outcome.retry_at:
                _publish(process_inbox, at=outcome.retry_at)
        if _is_over(until):
            return False
        if not any(outcome.taken for outcome in outcomes):
            break  # others have them all, and will look what else there is
    return True


@shared_task(name="filestack_tags.run_bulk_job", acks_late=True, ignore_result=True)
def run_bulk_job(job_id: int) -> None:
    """Do batches of a bulk job; see :func:`filestack_tags.bulk.step`.

    After :data:`BULK_SLICE` seconds the rest is left to another task of this name.
    """
    until = monotonic() + BULK_SLICE
    while True:
        step = bulk.step(job_id)
        _enqueue(tag_asset, step.to_tag[:BULK_HINTS])
        if not step.goes_on:
            # Where tasks are run inside the caller, a pause would be none.
            if step.retry_at and not run_bulk_job.app.conf.task_always_eager:
                _publish(run_bulk_job, job_id, at=step.retry_at)
            return
        if _is_over(until):
            _publish(run_bulk_job, job_id)
            return


@shared_task(name="filestack_tags.merge_tags", acks_late=True, ignore_result=True)
def merge_tags(merge_id: int) -> None:
    """Go on with merging two tags, or with undoing it; see :func:`filestack_tags.merging.work`.

    After :data:`MERGE_SLICE` seconds the rest is left to another task of this name.
    """
    until = monotonic() + MERGE_SLICE
    if not merging.work(merge_id, is_stopped=lambda: _is_over(until)):
        _publish(merge_tags, merge_id)


@shared_task(name="filestack_tags.store_model_files", acks_late=True, ignore_result=True)
def store_model_files() -> None:
    """Make files of the host's models known; see :func:`filestack_tags.storing.store`.

    After :data:`STORE_SLICE` seconds the rest is left to another task of this name.
    """
    until = monotonic() + STORE_SLICE
    while ids := storing.waiting():
        for pk in ids:
            stored = storing.store(pk)
            _have_tagged(stored.to_tag)
            # Where tasks are run inside the caller, a pause would be none.
            if stored.retry_at and not store_model_files.app.conf.task_always_eager:
                _publish(store_model_files, at=stored.retry_at)
        if _is_over(until):
            _publish(store_model_files)
            return


@shared_task(name="filestack_tags.send_outbound", acks_late=True, ignore_result=True)
def send_outbound() -> None:
    """Send the outbound webhooks that are due; see :func:`filestack_tags.outbound.deliver`.

    In a worker, each endpoint has a thread of its own, which may outlive the task: after
    :data:`OUTBOUND_WAIT` seconds the worker continues with other tasks. Messages of a process
    that ends meanwhile are sent again by another one.
    """
    if send_outbound.request.called_directly or send_outbound.request.is_eager:
        while outbound.send_due():
            pass
        return
    started = _outbound_lanes.start(outbound.endpoints_due())
    _outbound_lanes.wait(started, OUTBOUND_WAIT)


def _deliver(endpoint_id: int) -> bool:
    """Send some messages of an endpoint, in a thread; return whether there may be more."""
    try:
        return bool(outbound.deliver(endpoint_id))
    finally:
        connections.close_all()


@shared_task(name="filestack_tags.sweep", ignore_result=True)
def sweep() -> dict[str, int]:
    """Enqueue what lost its task; return how many of each. Run it every minute."""
    deliveries = inbox.waiting(limit=1000)
    if deliveries:
        on_commit(partial(_publish, process_inbox))
    queued = tagging.due()
    _enqueue(tag_asset, queued)
    _enqueue(merge_tags, merging.unfinished())
    if storing.due():
        on_commit(partial(_publish, store_model_files))
    abandoned.close()
    _enqueue(run_bulk_job, bulk.waiting())
    if outbound.endpoints_due():
        on_commit(partial(_publish, send_outbound))
    metrics.count("sweep.found", len(deliveries), what="deliveries")
    metrics.count("sweep.found", len(queued), what="assets")
    return heartbeat.beat("sweep", deliveries=len(deliveries), assets=len(queued))


@shared_task(name="filestack_tags.refresh_statistics", ignore_result=True)
def refresh_statistics() -> float:
    """Count what searches are planned by; return how far it was off. Run it every few hours.

    See :func:`filestack_tags.statistics.refresh`.
    """
    share = statistics.refresh().share
    heartbeat.beat("statistics")
    return share


@shared_task(name="filestack_tags.prune", ignore_result=True)
def prune() -> dict[str, int]:
    """Delete what is old enough; return how many of each. Run it once a day.

    See :func:`filestack_tags.retention.prune`.
    """
    return asdict(retention.prune())


def request_tagging(
    asset_ids: Iterable[int],
    *,
    trigger: str = TaggingRun.Trigger.CODE,
    force: bool = False,
    tagger: str = "",
) -> list[int]:
    """Have assets tagged; return the ids that were queued. Part of the public API.

    Left out are unknown and forgotten assets, those already queued or running, and, unless
    ``force``, those whose tags describe the present content. The tasks are enqueued when the
    surrounding transaction commits, one for each ``CONCURRENCY`` assets. ``tagger`` overrules the
    setting ``TAGGER``: ``workflow`` runs the workflow of ``WORKFLOW_ID``, ``workflow:NAME`` one
    of ``WORKFLOWS``.

    Raises:
        ConfigurationError: when there is no such tagger.
    """
    queued = tagging.request(asset_ids, trigger=trigger, force=force, tagger=tagger)
    _have_tagged(queued)
    return queued


def register(
    source: Source,
    *,
    facts: assets.Facts | None = None,
    uploader: AbstractBaseUser | None = None,
    trigger: str = TaggingRun.Trigger.CODE,
    tag: bool | None = None,
    tagger: str = "",
    within: Q | None = None,
) -> tuple[Asset, bool]:
    """Make a file known and have it tagged; return ``(asset, created)``. The public API.

    If tasks run inside the caller (``CELERY_TASK_ALWAYS_EAGER``), the asset is returned as it is
    after the first attempt. If that failed, ``tagging_state`` is ``queued`` or ``failed`` and
    ``last_error`` says why; ``filestack_tags_retag`` or :func:`request_tagging` tries again at
    once, also while it waits for its next attempt.

    Idempotent: a file that is known is refreshed with ``facts``, and tagged only if it never
    was. ``tag`` overrules the ``AUTO_TAG`` settings, ``tagger`` the setting ``TAGGER``;
    ``within`` is the scope of who registers it. See :func:`.assets.register`.
    """
    asset, created = assets.register(source, facts=facts, uploader=uploader, within=within)
    wanted = tagging.wants_tagging(asset) if tag is None else tag
    if wanted and asset.tagging_state in (Asset.State.NEW, Asset.State.STALE):
        request_tagging([asset.pk], trigger=trigger, tagger=tagger)
        asset.refresh_from_db(using=alias())
    return asset, created


def note_model_file(field: AssetOf, row_id: Any, name: str, *, is_new: bool = False) -> bool:
    """Have the file that a row of the host's has now made known; see :func:`.storing.note`.

    Returns whether it is another one than before. The task is enqueued when the surrounding
    transaction commits.
    """
    changed = storing.note(field, row_id, name, is_new=is_new)
    if changed and name:
        on_commit(partial(_publish, store_model_files))
    return changed


def catch_up(
    field: AssetOf, rows: Collection[tuple[Any, str]], without_row: Collection[int] = ()
) -> None:
    """Have changes made known that no signal told of; see :func:`.storing.changes`."""
    changed = storing.catch_up(field, rows, without_row)
    if changed:
        on_commit(partial(_publish, store_model_files))


def store_again(model_file_ids: Iterable[int]) -> int:
    """Have model files tried again that failed or were left out; return how many there were."""
    count = storing.again(model_file_ids)
    if count:
        on_commit(partial(_publish, store_model_files))
    return count


def receive(body: bytes, headers: Any) -> inbox.Receipt:
    """Store a webhook request and have it processed; see :func:`.inbox.receive`.

    A burst of requests shares its messages: one at once, then one each :data:`WAKE_INTERVAL`. A
    duplicate is a reason to look, too: the first may have lost its message.
    """
    receipt = inbox.receive(body, headers)
    if in_transaction():
        on_commit(partial(_publish, process_inbox))
    else:
        _inbox_wakeups.ring()
    return receipt


def replay(delivery_ids: Iterable[int]) -> list[int]:
    """Have deliveries processed again; return the ids of those that will be."""
    again = inbox.replay(delivery_ids)
    if again:
        on_commit(partial(_publish, process_inbox))
    return again


def resend(message_ids: Iterable[int]) -> list[int]:
    """Have outbound webhooks sent again; see :func:`.outbound.resend`."""
    again = outbound.resend(message_ids)
    if again:
        on_commit(partial(_publish, send_outbound))
    return again


def start_bulk_job(
    request: bulk.Request,
    *,
    user: AbstractBaseUser | None,
    trigger: str = TaggingRun.Trigger.CODE,
    key: str = "",
) -> tuple[BulkJob, bool]:
    """Have something done to all assets that match a search; return ``(job, created)``.

    See :func:`.bulk.ask`. The job is started when the surrounding transaction commits.
    """
    job, created = bulk.ask(request, user=user, trigger=trigger, key=key)
    _enqueue(run_bulk_job, [job.pk] if job.is_open else ())
    return job, created


def merge(source_id: int, target_id: int, *, user: AbstractBaseUser | None) -> TagMerge:
    """Have a tag merged into another, which shows how far it is; see :func:`.merging.start`.

    Raises:
        CurationError: when the two cannot be merged.
    """
    begun = merging.start(source_id, target_id, user=user)
    _enqueue(merge_tags, [begun.pk])
    return begun


def undo_merge(merge_id: int, *, user: AbstractBaseUser | None) -> TagMerge:
    """Have a merge undone; see :func:`.merging.undo`.

    Raises:
        CurationError: when it cannot be undone, with what has to be done first.
    """
    begun = merging.undo(merge_id, user=user)
    _enqueue(merge_tags, [begun.pk])
    return begun


def undo_bulk_job(
    job_id: int, *, user: AbstractBaseUser | None, trigger: str = TaggingRun.Trigger.CODE
) -> BulkJob:
    """Have a bulk job undone; return the job that does. See :func:`.bulk.undo`."""
    undoing = bulk.undo(job_id, user=user, trigger=trigger)
    _enqueue(run_bulk_job, [undoing.pk])
    return undoing


def _enqueue(task: Task[Any, Any], ids: Iterable[int]) -> None:
    for pk in ids:
        on_commit(partial(_publish, task, pk))


def _have_tagged(queued: Sequence[int]) -> None:
    """Enqueue as many tasks as fill a process each; they take along the other assets."""
    for pk in queued[:: get_settings().CONCURRENCY]:
        on_commit(partial(_publish, tag_asset, pk))


def _publish(task: Task[Any, Any], *ids: int, at: datetime | None = None) -> None:
    """Hand a task to the broker; what cannot be sent is logged, and left to the sweep.

    Returns at once in a web process. A task waits until its messages are sent, for at most
    ``PUBLISH_TIMEOUT`` seconds: afterwards its process may end.
    """
    countdown = max((at - timezone.now()).total_seconds(), 0.0) if at else 0.0
    if countdown > LONGEST_COUNTDOWN:
        return
    options: dict[str, Any] = {}
    if countdown:  # else names no time, for which a worker whose clock is slow would wait
        options["countdown"] = countdown
    name = f"{task.name}{ids or ''}"
    is_eager = task.app.conf.task_always_eager
    if not is_eager:
        options["producer"] = _Outgoing(task.app, name)
    try:
        task.apply_async(ids, **options)
    except _refusals(task) as error:
        _not_sent(name, error)
    if not is_eager and current_task and not current_task.request.called_directly:
        _publisher.flush()


class _Outgoing:
    """Stands for a producer of kombu, and leaves the sending to the thread of the publisher.

    All that Celery does before a message is sent, such as signals and routing, is done by the
    thread that enqueues the task.
    """

    def __init__(self, app: Celery, name: str) -> None:
        self.connection = app.connection_for_write()  # describes one; none is made
        self._app = app
        self._name = name

    def publish(self, body: Any, **options: Any) -> None:
        _publisher.put(self._name, partial(_send, self._app, body, options))


_lines: dict[Celery, Producer] = {}
"""The connections of this process that its publisher's thread sends by, one for each app."""


def _send(app: Celery, body: Any, options: dict[str, Any]) -> None:
    producer = _lines.get(app)
    if producer is None:
        producer = _lines[app] = app.amqp.Producer(_connection(app), auto_declare=False)
    once_more = {"max_retries": 1, "interval_start": 0}  # the connection may be an old one
    try:
        producer.publish(body, **options | {"retry": True, "retry_policy": once_more})
    except Exception:
        del _lines[app]
        if producer.connection is not None:
            with suppress(Exception):
                producer.connection.collapse()  # type: ignore[attr-defined]  # missing in the stubs
        raise


def _connection(app: Celery) -> Connection:
    """Return a connection whose steps end in time, whatever the host's options say."""
    longest = get_settings().PUBLISH_TIMEOUT
    host = app.connection_for_write()
    names = TIMEOUTS.get(host.transport.driver_type, ())
    known = app.conf.broker_transport_options
    return app.connection_for_write(
        # Nobody would send heartbeats by it.
        heartbeat=0,
        connect_timeout=min(longest, host.connect_timeout or longest),
        transport_options={name: min(longest, known.get(name) or longest) for name in names},
    )


def _not_sent(name: str, error: BaseException | None) -> None:
    metrics.count("broker.unreachable")
    logger.warning(
        "%s is left to the sweep: the broker %s",
        name,
        f"failed ({type(error).__name__})" if error else "is not answering",
    )


def has_celery_app() -> bool:
    """Whether the project made a Celery app; without one Celery makes up its own."""
    return bool(current_app.main != "default")


def _refusals(task: Task[Any, Any]) -> tuple[type[BaseException], ...]:
    """Return what tells that the broker took no message: also that it let nobody in."""
    transport = task.app.connection_for_write().transport
    return (OperationalError, *transport.connection_errors, *transport.channel_errors)


_publisher = Publisher(_not_sent, lambda: get_settings().PUBLISH_TIMEOUT)
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_lines.clear)

_outbound_lanes = Lanes(_deliver, OUTBOUND_ENDPOINTS)

_inbox_seats = BoundedSemaphore(INBOX_TASKS)
_inbox_called = Event()
_inbox_wakeups = Wakeups(
    partial(_publish, process_inbox),
    inline=lambda: bool(process_inbox.app.conf.task_always_eager),
    interval=WAKE_INTERVAL,
)
_outbound_wakeups = Wakeups(
    partial(_publish, send_outbound),
    inline=lambda: bool(send_outbound.app.conf.task_always_eager),
    interval=WAKE_INTERVAL,
)
outbox.wake_by(_outbound_wakeups.ring)
