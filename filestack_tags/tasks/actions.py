"""Actions that enqueue tasks once the surrounding transaction has committed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from filestack_tags.assets import registry
from filestack_tags.assets.lookup import asset_id_of, tag_id_of
from filestack_tags.concurrency.debounce import Debouncer
from filestack_tags.curation import bulk, merging
from filestack_tags.db.transactions import alias, in_transaction, on_commit
from filestack_tags.filestack.sources import Source
from filestack_tags.model_files import storing
from filestack_tags.models import Asset, BulkJob, Tag, TaggingRun, TagMerge
from filestack_tags.outbound import delivery, outbox
from filestack_tags.tagging import queue
from filestack_tags.webhooks import inbox

from .broker import publish
from .celery_tasks import (
    enqueue,
    enqueue_tagging,
    merge_tags,
    process_inbox,
    run_bulk_job,
    send_outbound,
    store_model_files,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser
    from django.db.models import Q

    from filestack_tags.fields import AssetOf

WAKE_INTERVAL = 0.1
"""Seconds between two messages of a web process about stored deliveries."""


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
    enqueue_tagging(queued)
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
    enqueue(run_bulk_job, [job.pk] if job.is_open else ())
    return job, created


def merge(
    source: Tag | int | str, target: Tag | int | str, *, user: AbstractBaseUser | None
) -> TagMerge:
    """Start merging a tag into another; return the merge. See :func:`.merging.start`.

    Raises:
        CurationError: when the two cannot be merged.
    """
    begun = merging.start(tag_id_of(source), tag_id_of(target), user=user)
    enqueue(merge_tags, [begun.pk])
    return begun


def undo_merge(merge_id: int, *, user: AbstractBaseUser | None) -> TagMerge:
    """Start undoing a merge; see :func:`.merging.undo`.

    Raises:
        CurationError: when it cannot be undone; the message says what to do first.
    """
    begun = merging.undo(merge_id, user=user)
    enqueue(merge_tags, [begun.pk])
    return begun


def undo_bulk_job(
    job_id: int, *, user: AbstractBaseUser | None, trigger: str = TaggingRun.Trigger.CODE
) -> BulkJob:
    """Start undoing a bulk job; return the job that undoes it. See :func:`.bulk.undo`."""
    undoing = bulk.undo(job_id, user=user, trigger=trigger)
    enqueue(run_bulk_job, [undoing.pk])
    return undoing


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
