"""Undoing a bulk job, as a job of its own: what it changed becomes what it was before."""

from __future__ import annotations

from collections.abc import Sequence

from filestack_tags import assets
from filestack_tags.models import Asset, BulkJob, BulkJobItem
from filestack_tags.transactions import alias

from .actions import Effect
from .asking import scope_of_job


def to_undo(job: BulkJob, limit: int) -> list[int]:
    """Return the next assets that the job it undoes has forgotten, the newest first.

    Only those that whoever undoes it may see.
    """
    items = BulkJobItem.objects.using(alias()).filter(
        job=job.undoes_id, outcome=BulkJobItem.Outcome.CHANGED
    )
    if job.position is not None:
        items = items.filter(asset_id__lt=job.position)
    if (scope := scope_of_job(job)) is not None:
        items = items.filter(asset_id__in=Asset.objects.using(alias()).within(scope))
    return list(items.order_by("-asset_id").values_list("asset_id", flat=True)[:limit])


def undone(job: BulkJob, ids: Sequence[int]) -> Effect:
    """Restore what was forgotten; what somebody restored since is left alone."""
    restored = assets.restore_many(ids)
    return Effect(
        [pk for pk in ids if pk in restored],
        {pk: "since" for pk in ids if pk not in restored},
    )
