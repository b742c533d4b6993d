"""The Celery tasks.

Tasks take ids, call one service function each and may run twice. After a slice of time the rest is
left to another task of the same name, so that others get their turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from time import monotonic
from typing import Any

from celery import Task, shared_task
from django.db import connections

from filestack_tags.concurrency.keyed_executor import KeyedExecutor
from filestack_tags.concurrency.single_flight import SingleFlight
from filestack_tags.conf import get_settings
from filestack_tags.curation import bulk, merging
from filestack_tags.db.transactions import on_commit
from filestack_tags.model_files import storing
from filestack_tags.operations import heartbeat, retention
from filestack_tags.outbound import delivery
from filestack_tags.search import statistics
from filestack_tags.tagging import pipeline, results
from filestack_tags.webhooks import inbox, processing

from .broker import publish
from .worker import is_over, soft_limit

INBOX_SLICE = 5.0
"""Seconds for which one task processes deliveries, so that other tasks get their turn."""

INBOX_TASKS = 4
"""How many such tasks work at the same time in one process, for example in a thread pool."""

OUTBOUND_WAIT = 1.0
"""Seconds for which a task waits for the endpoints that it started."""

OUTBOUND_ENDPOINTS = 16
"""Endpoints that one process sends to at the same time."""

BULK_SLICE = 10.0
"""Seconds for which one task does batches of a bulk job."""

BULK_HINTS = 16
"""Tagging tasks enqueued for a batch; each also tags others that are due."""

STORE_SLICE = 10.0
"""Seconds for which one task stores files of the host's models."""

MERGE_SLICE = 10.0
"""Seconds for which one task merges tags, so that others get their turn."""


def time_limits() -> tuple[float | None, float | None]:
    """Return the soft and the hard time limit of tasks that tag, in seconds; None without one."""
    conf = tag_asset.app.conf
    soft = tag_asset.soft_time_limit or conf.task_soft_time_limit
    return soft, tag_asset.time_limit or conf.task_time_limit


@shared_task(name="filestack_tags.tag_asset", acks_late=True, ignore_result=True)
def tag_asset(asset_id: int) -> str:
    """Tag one asset, and others that are due with it; see
    :func:`filestack_tags.tagging.pipeline.work`.
    """
    return pipeline.work(asset_id, _try_again, soft_limit.is_reached)


def _try_again(outcome: results.Outcome) -> None:
    if outcome.retry_at and outcome.asset_id:
        publish(tag_asset, outcome.asset_id, at=outcome.retry_at)


@shared_task(name="filestack_tags.process_inbox", acks_late=True, ignore_result=True)
def process_inbox() -> None:
    """Process waiting webhook deliveries; see :func:`filestack_tags.webhooks.processing.process`.

    After :data:`INBOX_SLICE` seconds the rest is left to another task of this name. Any number may
    run at once; if there are too many for one process, the surplus ones return at once.
    """
    until = monotonic() + INBOX_SLICE
    if not _inbox_flight.run(lambda: _process_due(until)):
        publish(process_inbox)


def _process_due(until: float) -> bool:
    """Process until none is left, or until ``until`` (monotonic); return whether none is left."""
    while ids := inbox.due():
        outcomes = processing.process(ids)
        enqueue_tagging([pk for outcome in outcomes for pk in outcome.to_tag])
        for outcome in outcomes:
            if outcome.retry_at:
                publish(process_inbox, at=outcome.retry_at)
        if is_over(until):
            return False
        if not outcomes:
            break  # other tasks have them all, and will look for more
    return True


@shared_task(name="filestack_tags.run_bulk_job", acks_late=True, ignore_result=True)
def run_bulk_job(job_id: int) -> None:
    """Do batches of a bulk job; see :func:`filestack_tags.curation.bulk.step`.

    After :data:`BULK_SLICE` seconds the rest is left to another task of this name.
    """
    until = monotonic() + BULK_SLICE
    while True:
        step = bulk.step(job_id)
        enqueue(tag_asset, step.to_tag[:BULK_HINTS])
        if not step.goes_on:
            # Eager tasks would not wait for the retry time.
            if step.retry_at and not run_bulk_job.app.conf.task_always_eager:
                publish(run_bulk_job, job_id, at=step.retry_at)
            return
        if is_over(until):
            publish(run_bulk_job, job_id)
            return


@shared_task(name="filestack_tags.merge_tags", acks_late=True, ignore_result=True)
def merge_tags(merge_id: int) -> None:
    """Continue merging two tags, or undoing it; see :func:`filestack_tags.curation.merging.work`.

    After :data:`MERGE_SLICE` seconds the rest is left to another task of this name.
    """
    until = monotonic() + MERGE_SLICE
    if not merging.work(merge_id, is_stopped=lambda: is_over(until)):
        publish(merge_tags, merge_id)


@shared_task(name="filestack_tags.store_model_files", acks_late=True, ignore_result=True)
def store_model_files() -> None:
    """Register files of host models; see :func:`filestack_tags.model_files.storing.store`.

    After :data:`STORE_SLICE` seconds the rest is left to another task of this name.
    """
    until = monotonic() + STORE_SLICE
    while ids := storing.due():
        states = set()
        for pk in ids:
            stored = storing.store(pk)
            states.add(stored.state)
            enqueue_tagging(stored.to_tag)
            # Eager tasks would not wait for the retry time.
            if stored.retry_at and not store_model_files.app.conf.task_always_eager:
                publish(store_model_files, at=stored.retry_at)
        if states == {"not_due"}:  # locked by other transactions: the sweep finds them again
            return
        if is_over(until):
            publish(store_model_files)
            return


@shared_task(name="filestack_tags.send_outbound", acks_late=True, ignore_result=True)
def send_outbound() -> None:
    """Send the outbound webhooks that are due; see
    :func:`filestack_tags.outbound.delivery.deliver`.

    In a worker, each endpoint has its own thread, which may outlive the task: after
    :data:`OUTBOUND_WAIT` seconds the worker continues with other tasks. If the process ends in the
    meantime, another one sends its messages again.
    """
    if send_outbound.request.called_directly or send_outbound.request.is_eager:
        while delivery.send_due():
            pass
        return
    started = _outbound_executor.start(delivery.endpoints_due())
    _outbound_executor.wait(started, OUTBOUND_WAIT)


def _deliver(endpoint_id: int) -> bool:
    """Send some messages of an endpoint, in a thread; return whether there may be more."""
    try:
        return bool(delivery.deliver(endpoint_id))
    finally:
        connections.close_all()


@shared_task(name="filestack_tags.refresh_statistics", ignore_result=True)
def refresh_statistics() -> float:
    """Refresh the statistics for the search planner; return the drift. Run it every few hours.

    See :func:`filestack_tags.search.statistics.refresh`.
    """
    share = statistics.refresh().share
    heartbeat.beat("refresh_statistics")
    return share


@shared_task(name="filestack_tags.prune", ignore_result=True)
def prune() -> dict[str, int]:
    """Delete old rows; return how many of each kind. Run it once a day.

    See :func:`filestack_tags.operations.retention.prune`.
    """
    return asdict(retention.prune())


def enqueue(task: Task[Any, Any], ids: Iterable[int]) -> None:
    """Enqueue a task for each id, once the transaction has committed."""
    for pk in ids:
        on_commit(partial(publish, task, pk))


def enqueue_tagging(queued: Sequence[int]) -> None:
    """Enqueue a task for each ``TAGGING_CONCURRENCY`` assets; each also tags other assets."""
    for pk in queued[:: get_settings().TAGGING_CONCURRENCY]:
        on_commit(partial(publish, tag_asset, pk))


_outbound_executor = KeyedExecutor(_deliver, OUTBOUND_ENDPOINTS)

_inbox_flight = SingleFlight(INBOX_TASKS)
