"""Recovery: find work that lost its task, whatever kind it is, and enqueue it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from celery import Task, shared_task
from django.db.models import Q
from django.utils import timezone

from filestack_tags import metrics
from filestack_tags.db.transactions import on_commit
from filestack_tags.models import BulkJob, Leased, ModelFile, TagMerge, WebhookDelivery
from filestack_tags.operations import heartbeat
from filestack_tags.outbound import delivery
from filestack_tags.tagging import abandoned_runs, queue

from .broker import publish
from .celery_tasks import (
    enqueue,
    merge_tags,
    process_inbox,
    run_bulk_job,
    send_outbound,
    store_model_files,
    tag_asset,
)

RECOVERED = 1000
"""Rows of each kind that one recovery task looks at."""


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
                enqueue(task, ids)
            else:
                on_commit(partial(publish, task))
    abandoned_runs.close()
    return heartbeat.beat("sweep", **found)


def _due(model: type[Leased]) -> Callable[[int], list[int]]:
    return lambda limit: list(
        model._default_manager.all().due().values_list("pk", flat=True)[:limit]  # type: ignore[attr-defined]  # each has a LeasedManager
    )


def _idle(model: type[Leased]) -> Callable[[int], list[int]]:
    """Find rows whose lease ended, or that no process leased for :data:`.queue.SWEEP_AFTER`.

    A healthy row is due between two batches, with no attempt since its last progress.
    """

    def ids(limit: int) -> list[int]:
        now = timezone.now()
        is_healthy = Q(attempts=0, due_at__range=(now - queue.SWEEP_AFTER, now))
        rows = model._default_manager.exclude(is_healthy)
        return list(rows.due().values_list("pk", flat=True)[:limit])  # type: ignore[attr-defined]  # each has a LeasedManager

    return ids


_RECOVERED: Mapping[str, tuple[Callable[[int], list[int]], Task[Any, Any], bool]] = {
    "deliveries": (_due(WebhookDelivery), process_inbox, False),
    "assets": (lambda limit: queue.due(), tag_asset, True),
    "tag_merges": (_idle(TagMerge), merge_tags, True),
    "model_files": (_due(ModelFile), store_model_files, False),
    "bulk_jobs": (_idle(BulkJob), run_bulk_job, True),
    "outbound_endpoints": (lambda limit: delivery.endpoints_due(), send_outbound, False),
}
"""The leased models: how to find rows that are due, the task that continues the work, and whether
each row needs its own task.
"""
