"""Events: what each kind of webhook event does to the assets.

A table leads from the action to its function; an action that is not in it is stored and ignored.
The functions run inside the delivery's transaction and may run again after a crash or a replay.
The actions and their fields are those of PROTOCOL (docs: Webhooks; docs: Workflows).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from django.db.models import Q

from . import assets, files, metrics, news, results, tagging, tags, workflows
from .exceptions import PayloadError
from .filestack.payloads import Event, WorkflowJob
from .models import Asset, TaggingRun, WebhookDelivery
from .news import IGNORED, PROCESSED, Handled
from .taggers import TaggerReply
from .taggers.filestack import job_error
from .text import reference_digest
from .transactions import alias, locked

SLACK = timedelta(minutes=2)
"""How much earlier than its run a job may seem to have started, for clocks that differ."""

WAITS = Q(state=TaggingRun.State.STARTED) | Q(error_code__in=results.GIVEN_UP)
KNOWS_NO_JOB = Q(job_id=None) | Q(job_id="")
"""Conditions on a run, to which the result of a job may still belong."""


def prepare(event: Event) -> None:
    """Make the tags that ``event`` speaks of, ahead of its transaction; see :mod:`.tags`.

    Raises:
        PayloadError: as :func:`handle`.
    """
    prepare_all([event])


def prepare_all(those: Iterable[Event]) -> None:
    """Make the tags that events speak of, as :func:`prepare` does, together."""
    replies = [
        event.workflow().merged_tags() for event in those if event.action == "fs.workflow"
    ]
    if names := [name for reply in replies if reply for name in (*reply.auto, *reply.user)]:
        tags.resolve(names)


def handle(event: Event, delivery: WebhookDelivery) -> Handled:
    """Do what ``event`` says.

    Raises:
        PayloadError: when a known action lacks what it needs.
    """
    handler = HANDLERS.get(event.action)
    if handler is None:
        metrics.count("webhook.unknown_action")
        return Handled(IGNORED, f"Unknown action {event.action!r}.")
    return handler(event, delivery)


def says_nothing(event: Event) -> bool:
    """Whether :func:`handle` only finds out that it has nothing to do."""
    return HANDLERS.get(event.action, _ignored) is _ignored


def known_action(action: str) -> str:
    """Return ``action`` if it is one of Filestack's, else ``"unknown"``; safe as a label."""
    return action if action in HANDLERS else "unknown"


def _file(event: Event, delivery: WebhookDelivery) -> Handled:
    return files.apply_all([files.told(delivery, event)])[delivery.pk]


def _workflow(event: Event, delivery: WebhookDelivery) -> Handled:
    job = event.workflow()
    reply = job.merged_tags()
    workflow = _named(job)
    status = job.status or "under way"
    has_ended = job.is_failed or job.is_finished
    has_tags = reply is not None and not job.is_under_way
    run = _run_of(job, event)
    if run is None:
        if reply is None and not any(map(_may_be_tagging, job.errors)):
            return Handled(IGNORED, f"There are no tags among the results of {workflow}.")
        if not (has_tags or has_ended):
            # Nobody would ask for it: the run would stay open for ever.
            return Handled(IGNORED, f"This job of {workflow} is {status}; its end counts.")
        opened = _open_run(job, event, delivery)
        if opened is None:
            return Handled(
                IGNORED,
                f"Nobody here started this job of {workflow}, and its file is not known. To have "
                "such files registered, add the workflow to REGISTER_FROM_WORKFLOWS, then replay "
                "this delivery.",
            )
        run = opened
    # Locked after its asset, as everywhere: a poll of the same job may be at work on both.
    run, _ = results.lock_run(run.pk)
    if job.job_id and not run.job_id:
        run.job_id = job.job_id
        run.workflow_id = job.workflow_id
    run.delivery = delivery
    run.save(using=alias(), update_fields=("job_id", "workflow_id", "delivery"))
    if reply is not None and has_tags:
        at = result_at(job, event, delivery)
        state = tagging.complete(run.pk, TaggerReply.of(reply), result_at=at).state
        return Handled(PROCESSED, tags_told(job, state), run.asset_id)
    if has_ended:
        error = job_error(job)
        tagging.fail(run.pk, error)
        return Handled(PROCESSED, f"No tags of {workflow}: {error}", run.asset_id)
    return Handled(PROCESSED, f"This job of {workflow} is {status}.", run.asset_id)


def tags_told(job: WorkflowJob, state: str) -> str:
    """Return the sentence about tags that were taken from a job, whose run is in ``state`` now."""
    text = f"Tags of {len(job.tags)} task(s) of {_named(job)}: run {state}."
    return f"{text} {job_error(job)}" if job.errors or job.is_failed else text


def result_at(job: WorkflowJob, event: Event, delivery: WebhookDelivery) -> datetime:
    """When a job had its result."""
    return news.past(job.updated_at or event.timestamp or delivery.received_at)


def started_at(job: WorkflowJob, event: Event, delivery: WebhookDelivery) -> datetime:
    """When a job was started."""
    return news.past(job.created_at) if job.created_at else news.moment(event, delivery)


def new_run(job: WorkflowJob, asset: Asset, *, started_at: datetime) -> TaggingRun:
    """Return the run of a job that was not started here, not stored yet."""
    content_version = asset.content_version
    if _is_before_change(started_at, asset):
        content_version -= 1
    running = workflows.taggers_of(job.workflow_id)
    return TaggingRun(
        asset=asset,
        job_id=job.job_id,
        tagger=running[0] if running else workflows.TAGGER,
        trigger=TaggingRun.Trigger.WORKFLOW,
        workflow_id=job.workflow_id[:100],
        content_version=content_version,
        started_at=started_at,
    )


def _named(job: WorkflowJob) -> str:
    return f"the workflow {workflows.described(job.workflow_id) or 'without a name'}"


def _ignored(event: Event, delivery: WebhookDelivery) -> Handled:
    return Handled(IGNORED, f"{event.action} says nothing about an asset's tags.")


HANDLERS: dict[str, Callable[[Event, WebhookDelivery], Handled]] = {
    **dict.fromkeys(files.EFFECTS, _file),
    "fs.workflow": _workflow,
    "fp.converse": _ignored,
    "fp.video_converse": _ignored,
    "fp.scan": _ignored,
    "fp.export": _ignored,
    "fp.dialog": _ignored,
}


def _run_of(job: WorkflowJob, event: Event) -> TaggingRun | None:
    """Find the run that waits for this job: by job id, else by workflow, source and time.

    One that was found by source stays what it is: its asset is locked.
    """
    runs = TaggingRun.objects.using(alias())
    if job.job_id:
        run = runs.filter(job_id=job.job_id).first()
        if run is not None:
            return run
    if len(job.sources) != 1 or not job.workflow_id:
        return None
    asset = locked(Asset.objects.filter(digest=digest_of(job))).first()
    waiting = runs.filter(
        WAITS,
        # Before Filestack answered, a run knows neither its job nor its workflow.
        KNOWS_NO_JOB if job.job_id else Q(),
        Q(workflow_id=job.workflow_id)
        | Q(workflow_id="", tagger__in=workflows.taggers_of(job.workflow_id)),
        asset=asset,
    )
    if created_at := job.created_at or event.timestamp:
        waiting = waiting.filter(started_at__lte=news.past(created_at) + SLACK)
    return waiting.order_by("-id").first() if asset else None


def _open_run(job: WorkflowJob, event: Event, delivery: WebhookDelivery) -> TaggingRun | None:
    """Open a run for a job that was not started here, such as by an upload.

    Not for a file that is unknown, if ``REGISTER_FROM_WORKFLOWS`` leaves the workflow out.
    """
    if len(job.sources) != 1:
        raise PayloadError(
            f"The job is unknown and names {len(job.sources)} sources; its results belong to one."
        )
    moment = started_at(job, event, delivery)
    if workflows.makes_known(job.workflow_id):
        assets.register(job.sources[0], at=moment)
    asset = locked(Asset.objects.filter(digest=digest_of(job))).first()
    if asset is None:
        return None
    run = new_run(job, asset, started_at=moment)
    run.job_id = job.job_id or f"delivery:{delivery.pk}"
    known = TaggingRun.objects.using(alias()).filter(job_id=run.job_id).first()
    if known is None:
        run.save(using=alias())
    return known or run


def digest_of(job: WorkflowJob) -> str:
    """Return the digest of the one file that a job is about."""
    source = job.sources[0]
    return reference_digest(source.kind, source.reference)


def _is_before_change(moment: datetime, asset: Asset) -> bool:
    """Whether a job that began then read what the file held before it was overwritten.

    In the second of the overwrite nobody knows. Then it did, unless nobody else would ask.
    """
    changed_at = asset.content_changed_at
    if changed_at is None or moment >= changed_at + assets.TOLD_BY_THE:
        return False
    waits_for_it = asset.tagging_state in (Asset.State.NEW, Asset.State.STALE)
    return moment < changed_at or not waits_for_it


def _may_be_tagging(task: str) -> bool:
    """Whether a task without result may have been to find tags: its default name says so."""
    return task.casefold().startswith("tags")
