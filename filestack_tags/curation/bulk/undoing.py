"""Undo a bulk job with another job that restores the previous state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.db.models import QuerySet

from filestack_tags import curation, metrics
from filestack_tags.assets import registry
from filestack_tags.db.transactions import alias, atomic, locked, on_commit, retry_on_deadlock
from filestack_tags.exceptions import BulkError
from filestack_tags.models import Asset, BulkJob, BulkJobItem, TagDecision, TaggingRun

from .actions import ACTS, Effect
from .requests import UNDONE, scope_of_job

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

Action = BulkJob.Action


def can_be_undone(job: BulkJob) -> bool:
    """Whether :func:`undo` can restore the previous state, judging by the job alone."""
    return (
        job.action in UNDONE
        and not job.is_open
        and not _is_past_undoing(job)
        and job.changed > 0
        and not _undoing(job).exists()
    )


@retry_on_deadlock
def undo(
    job_id: int, *, user: AbstractBaseUser | None, trigger: str = TaggingRun.Trigger.CODE
) -> BulkJob:
    """Create a job that undoes another, and return it; later changes are left alone.

    Nothing is enqueued: see :func:`filestack_tags.tasks.undo_bulk_job` for that.

    Raises:
        BulkError: when the job is still open, already undone, or cannot be undone.
        BulkJob.DoesNotExist: when there is no such job.
    """
    with atomic():
        job = locked(BulkJob.objects.filter(pk=job_id)).get()
        if not can_be_undone(job):
            raise BulkError(_why_not(job), conflict=True)
        undoing = BulkJob(
            action=Action.UNDO,
            parameters=job.parameters,
            query=job.query,
            matched=job.changed,
            matched_is_exact=True,
            undoes=job,
            requested_by_id=None if user is None else user.pk,
            scope_digest=job.scope_digest,
            trigger=TaggingRun.Trigger(trigger),
        )
        undoing.save(using=alias(), force_insert=True)
    on_commit(lambda: metrics.count("bulk.requested", job=undoing.action))
    return undoing


def _undoing(job: BulkJob) -> QuerySet[BulkJob]:
    ended_early = (BulkJob.State.CANCELLED, BulkJob.State.FAILED)
    return BulkJob.objects.using(alias()).filter(undoes=job).exclude(state__in=ended_early)


def _is_past_undoing(job: BulkJob) -> bool:
    """Whether the data needed to undo a job was pruned; decisions are in the log, which is kept."""
    return job.pruned_at is not None and job.action not in ACTS


def _why_not(job: BulkJob) -> str:
    if job.action not in UNDONE:
        return f"What {job.action} did cannot be undone."
    if job.is_open:
        return "The job is still running. Cancel it first."
    if _is_past_undoing(job):
        return "The job is so old that what it noted to undo it was deleted."
    if not job.changed:
        return "The job changed nothing."
    return "The job is undone already, or is about to be."


def to_undo(job: BulkJob, limit: int) -> list[int]:
    """Return the next assets that the undone job has changed, the newest first.

    Only assets that the user who undoes it may see are included.
    """
    changed: QuerySet[Any]
    if undoes_archiving(job):
        changed = BulkJobItem.objects.using(alias()).filter(
            job=job.undoes_id, outcome=BulkJobItem.Outcome.CHANGED
        )
    else:
        changed = _decisions(job)
    if job.position is not None:
        changed = changed.filter(asset_id__lt=job.position)
    if (scope := scope_of_job(job)) is not None:
        changed = changed.filter(asset_id__in=Asset.objects.using(alias()).within(scope))
    return list(changed.order_by("-asset_id").values_list("asset_id", flat=True)[:limit])


def undone(job: BulkJob, ids: Sequence[int]) -> Effect:
    """Restore the previous state, except for assets that were changed since."""
    if undoes_archiving(job):
        back = registry.restore_many(ids)
    else:
        decisions = _decisions(job).filter(asset_id__gte=min(ids), asset_id__lte=max(ids))
        batch = set(ids)
        outcomes = curation.undo_many(
            [
                pk
                for pk, asset_id in decisions.values_list("pk", "asset_id")
                if asset_id in batch
            ],
            user=job.requested_by,
            origin=TagDecision.Origin.JOB,
            job=job.pk,
        )
        back = {each.asset_id for each in outcomes if each.decision_id is not None}
    return Effect(
        [pk for pk in ids if pk in back], {pk: "since" for pk in ids if pk not in back}
    )


def undoes_archiving(job: BulkJob) -> bool:
    """Whether a job undoes one that archived assets."""
    return job.undoes is not None and job.undoes.action == Action.ARCHIVE


def _decisions(job: BulkJob) -> QuerySet[TagDecision]:
    """Return the decisions of the job being undone: one for each asset, as the job has one tag."""
    return TagDecision.objects.using(alias()).filter(job=job.undoes_id)
