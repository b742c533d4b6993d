"""Celery tasks, and the functions that enqueue them.

Tasks take ids, call one service function each and may run twice. They are enqueued after commit, by
a thread of the process (:mod:`filestack_tags.concurrency.message_publisher`), so a broker that is
down or does not answer delays no request. The row is committed, and :func:`sweep` enqueues it
again. Queues and routes are up to the host: route ``filestack_tags.*`` as you like.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from celery import Task, shared_task
from django.db import connections

from filestack_tags import metrics
from filestack_tags.assets import registry
from filestack_tags.assets.lookup import asset_id_of, tag_id_of
from filestack_tags.concurrency.debounce import Debouncer
from filestack_tags.concurrency.keyed_executor import KeyedExecutor
from filestack_tags.concurrency.single_flight import SingleFlight
from filestack_tags.conf import get_settings
from filestack_tags.curation import bulk, merging
from filestack_tags.db.transactions import alias, in_transaction, on_commit
from filestack_tags.filestack.sources import Source
from filestack_tags.model_files import storing
from filestack_tags.models import (
    Asset,
    BulkJob,
    Leased,
    ModelFile,
    Tag,
    TaggingRun,
    TagMerge,
    WebhookDelivery,
)
from filestack_tags.operations import heartbeat, retention
from filestack_tags.outbound import delivery, outbox
from filestack_tags.search import statistics
from filestack_tags.tagging import abandoned_runs, pipeline, queue, results
from filestack_tags.webhooks import inbox, processing

from .broker import publish
from .worker import is_over, soft_limit

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser
    from django.db.models import Q

    from filestack_tags.fields import AssetOf

logger = logging.getLogger(__name__)

INBOX_SLICE = 5.0
"""Seconds for which one task processes deliveries, so that other tasks get their turn."""

INBOX_TASKS = 4
"""How many such tasks work at the same time in one process, for example in a thread pool."""

TIME_TO_LAND = 10.0
"""Maximum seconds needed to apply the replies that a task waited for."""

OUTBOUND_WAIT = 1.0
"""Seconds for which a task waits for the endpoints that it started."""

OUTBOUND_ENDPOINTS = 16
"""Endpoints that one process sends to at the same time."""

BULK_SLICE = 10.0
"""Seconds for which one task does batches of a bulk job."""

BULK_HINTS = 16
"""Tagging tasks enqueued for a batch; each also tags others that are due."""

RECOVERED = 1000
"""Rows of each kind that one recovery task looks at."""

STORE_SLICE = 10.0
"""Seconds for which one task stores files of the host's models."""

MERGE_SLICE = 10.0
"""Seconds for which one task merges tags, so that others get their turn."""

WAKE_INTERVAL = 0.1
"""Seconds between two messages of a web process about stored deliveries."""


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
        _have_tagged([pk for outcome in outcomes for pk in outcome.to_tag])
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
        _enqueue(tag_asset, step.to_tag[:BULK_HINTS])
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
            _have_tagged(stored.to_tag)
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


@shared_task(name="filestack_tags.sweep", ignore_result=True)
def sweep() -> dict[str, int]:
    """Recover work that lost its task; return how much of each kind. Run it every minute.

    Nothing is written to the rows: each run finds them until a worker leases them.
    """
    found: dict[str, int] = {}
    for kind, (due, task, is_per_row) in _RECOVERED.items():
        if ids := due(RECOVERED):
            found[kind] = len(ids)
            metrics.count("sweep.found", len(ids), what=kind)
            if is_per_row:
                _enqueue(task, ids)
            else:
                on_commit(partial(publish, task))
    abandoned_runs.close()
    return heartbeat.beat("sweep", **found)


def _due(model: type[Leased]) -> Callable[[int], list[int]]:
    return lambda limit: list(
        model._default_manager.all().due().values_list("pk", flat=True)[:limit]  # type: ignore[attr-defined]  # each has a LeasedManager
    )


_RECOVERED: Mapping[str, tuple[Callable[[int], list[int]], Task[Any, Any], bool]] = {
    "deliveries": (_due(WebhookDelivery), process_inbox, False),
    "assets": (lambda limit: queue.due(), tag_asset, True),
    "tag_merges": (_due(TagMerge), merge_tags, True),
    "model_files": (_due(ModelFile), store_model_files, False),
    "bulk_jobs": (_due(BulkJob), run_bulk_job, True),
    "outbound_endpoints": (lambda limit: delivery.endpoints_due(), send_outbound, False),
}
"""The leased models: how to find rows that are due, the task that continues the work, and whether
each row needs its own task.
"""


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


def request_tagging(
    assets: Asset | int | Iterable[Asset | int],
    *,
    trigger: str = TaggingRun.Trigger.CODE,
    force: bool = False,
    tagger: str = "",
) -> list[int]:
    """Queue assets for tagging, and return the ids of those that were queued.

    The tasks are enqueued when the surrounding transaction commits, one for each
    ``TAGGING_CONCURRENCY`` assets. Unknown and archived assets are left out, and so are those
    already queued or running. Without ``force``, assets with tags of their present content are left
    out too.

    Args:
        assets: one asset or several, such as a search; or their ids.
        trigger: how the tagging was requested, for the log of runs.
        force: whether to tag assets again whose tags are up to date.
        tagger: overrides the setting ``TAGGER``. ``workflow`` runs the workflow of
            ``WORKFLOW_ID``, ``workflow:NAME`` one of ``WORKFLOWS``.

    Raises:
        ConfigurationError: when there is no such tagger.
    """
    several = (assets,) if isinstance(assets, Asset | int) else assets
    ids = [asset_id_of(asset) for asset in several]
    queued = queue.request(ids, trigger=trigger, force=force, tagger=tagger)
    _have_tagged(queued)
    return queued


def register(
    source: Source,
    *,
    facts: registry.Facts | None = None,
    user: AbstractBaseUser | None = None,
    trigger: str = TaggingRun.Trigger.CODE,
    tag: bool | None = None,
    tagger: str = "",
    within: Q | None = None,
) -> tuple[Asset, bool]:
    """Register a file, and tag it if it never was; return ``(asset, created)``.

    The task is enqueued when the surrounding transaction commits. Idempotent: an existing asset is
    refreshed with ``facts``, and an archived one is restored.

    If tasks run eagerly (``CELERY_TASK_ALWAYS_EAGER``), the asset is returned as it is after the
    first attempt. If that failed, ``tagging_state`` is ``queued`` or ``failed``, and ``error``
    explains why. :func:`request_tagging` retries at once, even while the asset waits for its next
    attempt.

    Args:
        source: the file.
        facts: what is known about it.
        user: who uploaded it. The first registration that names a user wins.
        trigger: how the file was registered, for the log of runs.
        tag: overrides the ``AUTO_TAG`` settings.
        tagger: overrides the setting ``TAGGER``.
        within: the scope of the user who registers it; see :func:`.visibility.scope_of`.

    Raises:
        OutOfScope: when the asset is not in ``within``, or would not be afterwards.
    """
    asset, created = registry.register(source, facts=facts, uploader=user, within=within)
    wanted = queue.wants_tagging(asset) if tag is None else tag
    if wanted and asset.tagging_state in (Asset.State.NEW, Asset.State.STALE):
        request_tagging([asset.pk], trigger=trigger, tagger=tagger)
        asset.refresh_from_db(using=alias())
    return asset, created


def record_model_file(field: AssetOf, row_id: Any, name: str, *, is_new: bool = False) -> bool:
    """Note the file that a host row has now, to be registered; see :func:`.storing.record_file`.

    Returns whether it differs from the previous file. The task is enqueued when the surrounding
    transaction commits.
    """
    changed = storing.record_file(field, row_id, name, is_new=is_new)
    if changed and name:
        on_commit(partial(publish, store_model_files))
    return changed


def sync_model_files(
    field: AssetOf, rows: Collection[tuple[Any, str]], without_row: Collection[int] = ()
) -> None:
    """Note changes that sent no signal; see :func:`.storing.changes`."""
    changed = storing.sync(field, rows, without_row)
    if changed:
        on_commit(partial(publish, store_model_files))


def retry_model_files(model_file_ids: Iterable[int]) -> int:
    """Retry model files that failed or were left out; return how many there were."""
    count = storing.retry(model_file_ids)
    if count:
        on_commit(partial(publish, store_model_files))
    return count


def receive(body: bytes, headers: Any) -> inbox.Receipt:
    """Store a webhook request and enqueue its processing; see :func:`.inbox.receive`.

    A burst of requests shares its messages: one at once, then one each :data:`WAKE_INTERVAL`. A
    duplicate also triggers processing, because the message of the first may have been lost.
    """
    receipt = inbox.receive(body, headers)
    if in_transaction():
        on_commit(partial(publish, process_inbox))
    else:
        _inbox_debouncer.notify()
    return receipt


def replay(delivery_ids: Iterable[int]) -> list[int]:
    """Process deliveries again; return the ids of those that will be."""
    again = inbox.replay(delivery_ids)
    if again:
        on_commit(partial(publish, process_inbox))
    return again


def resend(message_ids: Iterable[int]) -> list[int]:
    """Send outbound webhooks again; see :func:`.delivery.resend`."""
    again = delivery.resend(message_ids)
    if again:
        on_commit(partial(publish, send_outbound))
    return again


def start_bulk_job(
    request: bulk.BulkRequest,
    *,
    user: AbstractBaseUser | None,
    trigger: str = TaggingRun.Trigger.CODE,
    key: str = "",
) -> tuple[BulkJob, bool]:
    """Start a bulk action on all assets that match a search; return ``(job, created)``.

    See :func:`.bulk.create`. The job is started when the surrounding transaction commits.
    """
    job, created = bulk.create(request, user=user, trigger=trigger, key=key)
    _enqueue(run_bulk_job, [job.pk] if job.is_open else ())
    return job, created


def merge(
    source: Tag | int | str, target: Tag | int | str, *, user: AbstractBaseUser | None
) -> TagMerge:
    """Start merging a tag into another; return the merge. See :func:`.merging.start`.

    Raises:
        CurationError: when the two cannot be merged.
    """
    begun = merging.start(tag_id_of(source), tag_id_of(target), user=user)
    _enqueue(merge_tags, [begun.pk])
    return begun


def undo_merge(merge_id: int, *, user: AbstractBaseUser | None) -> TagMerge:
    """Start undoing a merge; see :func:`.merging.undo`.

    Raises:
        CurationError: when it cannot be undone; the message says what to do first.
    """
    begun = merging.undo(merge_id, user=user)
    _enqueue(merge_tags, [begun.pk])
    return begun


def undo_bulk_job(
    job_id: int, *, user: AbstractBaseUser | None, trigger: str = TaggingRun.Trigger.CODE
) -> BulkJob:
    """Start undoing a bulk job; return the job that undoes it. See :func:`.bulk.undo`."""
    undoing = bulk.undo(job_id, user=user, trigger=trigger)
    _enqueue(run_bulk_job, [undoing.pk])
    return undoing


def _enqueue(task: Task[Any, Any], ids: Iterable[int]) -> None:
    for pk in ids:
        on_commit(partial(publish, task, pk))


def _have_tagged(queued: Sequence[int]) -> None:
    """Enqueue a task for each ``TAGGING_CONCURRENCY`` assets; each also tags other assets."""
    for pk in queued[:: get_settings().TAGGING_CONCURRENCY]:
        on_commit(partial(publish, tag_asset, pk))


_outbound_executor = KeyedExecutor(_deliver, OUTBOUND_ENDPOINTS)

_inbox_flight = SingleFlight(INBOX_TASKS)
_inbox_debouncer = Debouncer(
    partial(publish, process_inbox),
    inline=lambda: bool(process_inbox.app.conf.task_always_eager),
    interval=WAKE_INTERVAL,
)
_outbound_debouncer = Debouncer(
    partial(publish, send_outbound),
    inline=lambda: bool(send_outbound.app.conf.task_always_eager),
    interval=WAKE_INTERVAL,
)
outbox.on_new_messages(_outbound_debouncer.notify)
