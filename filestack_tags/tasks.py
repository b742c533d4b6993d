"""Celery tasks, and the functions that enqueue them. The only module that imports Celery.

Tasks take ids, call one service function each and may run twice. They are enqueued after commit;
should the broker be down, the row is there and :func:`sweep` enqueues it again. Queues and
routes are the host's: route ``filestack_tags.*`` as you like.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from celery import Task, shared_task
from django.utils import timezone
from kombu.exceptions import OperationalError

from . import assets, heartbeat, ingest, metrics, pipeline, statistics, tagging
from .filestack.sources import Source
from .models import Asset, TaggingRun
from .transactions import on_commit

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

logger = logging.getLogger(__name__)

LONGEST_COUNTDOWN = 600.0
"""Seconds. Later retries are left to :func:`sweep`: on Redis a message that waits longer than
the visibility timeout is delivered twice."""


@shared_task(name="filestack_tags.tag_asset", acks_late=True, ignore_result=True)
def tag_asset(asset_id: int) -> str:
    """Tag one asset, and others that are due with it; see :func:`filestack_tags.pipeline.work`."""
    return pipeline.work(asset_id, _try_again)


def _try_again(outcome: tagging.Outcome) -> None:
    if outcome.retry_at and outcome.asset_id:
        _publish(tag_asset, outcome.asset_id, at=outcome.retry_at)


@shared_task(name="filestack_tags.process_delivery", acks_late=True, ignore_result=True)
def process_delivery(delivery_id: int) -> str:
    """Process one webhook delivery; see :func:`filestack_tags.ingest.process`."""
    outcome = ingest.process(delivery_id)
    _enqueue(tag_asset, outcome.to_tag)
    if outcome.retry_at:
        _publish(process_delivery, delivery_id, at=outcome.retry_at)
    return outcome.state


@shared_task(name="filestack_tags.sweep", ignore_result=True)
def sweep() -> dict[str, int]:
    """Enqueue what lost its task; return how many of each. Run it every minute."""
    deliveries = ingest.due()
    _enqueue(process_delivery, deliveries)  # first: they count as handed out from here on
    queued = tagging.due()
    _enqueue(tag_asset, queued)
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
    surrounding transaction commits. ``tagger`` overrules the setting ``TAGGER``: ``workflow``
    runs the workflow of ``WORKFLOW_ID``, ``workflow:NAME`` one of ``WORKFLOWS``.

    Raises:
        ConfigurationError: when there is no such tagger.
    """
    queued = tagging.request(asset_ids, trigger=trigger, force=force, tagger=tagger)
    _enqueue(tag_asset, queued)
    return queued


def register(
    source: Source,
    *,
    facts: assets.Facts | None = None,
    uploader: AbstractBaseUser | None = None,
    trigger: str = TaggingRun.Trigger.CODE,
    tag: bool | None = None,
    tagger: str = "",
) -> tuple[Asset, bool]:
    """Make a file known and have it tagged; return ``(asset, created)``. The public API.

    Idempotent: a file that is known is refreshed with ``facts``, and tagged only if it never
    was. ``tag`` overrules the ``AUTO_TAG`` settings, ``tagger`` the setting ``TAGGER``. See
    :func:`.assets.register`.
    """
    asset, created = assets.register(source, facts=facts, uploader=uploader)
    wanted = tagging.wants_tagging(asset) if tag is None else tag
    if wanted and asset.tagging_state in (Asset.State.NEW, Asset.State.STALE):
        request_tagging([asset.pk], trigger=trigger, tagger=tagger)
        asset.refresh_from_db()
    return asset, created


def receive(body: bytes, headers: Any) -> ingest.Receipt:
    """Store a webhook request and enqueue its processing; see :func:`.ingest.receive`."""
    receipt = ingest.receive(body, headers)
    if not receipt.duplicate:
        _enqueue(process_delivery, [receipt.delivery_id])
    return receipt


def replay(delivery_ids: Iterable[int]) -> list[int]:
    """Process deliveries again; return the ids that were enqueued."""
    again = ingest.replay(delivery_ids)
    _enqueue(process_delivery, again)
    return again


def _enqueue(task: Task[Any, Any], ids: Iterable[int]) -> None:
    for pk in ids:
        on_commit(partial(_publish, task, pk))


def _publish(task: Task[Any, Any], pk: int, *, at: datetime | None = None) -> None:
    """Hand one id to the broker; a broker that is down is logged, and left to the sweep."""
    countdown = max((at - timezone.now()).total_seconds(), 0.0) if at else 0.0
    if countdown > LONGEST_COUNTDOWN:
        return
    try:
        task.apply_async((pk,), countdown=countdown)
    except OperationalError:
        metrics.count("broker.unreachable")
        logger.warning(
            "The broker cannot be reached; %s(%s) is left to the sweep", task.name, pk
        )
