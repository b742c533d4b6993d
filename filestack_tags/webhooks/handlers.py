"""Events: the effect of each kind of webhook event on assets.

A table maps each action to its function; an action that is not in it is stored and ignored. The
functions run inside the delivery's transaction and may run again after a crash or a replay. The
actions and their fields are those of PROTOCOL (docs: Webhooks; docs: Workflows).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from django.db.models import Q

from filestack_tags import metrics
from filestack_tags.assets import registry, tags
from filestack_tags.db.text import reference_digest
from filestack_tags.db.transactions import alias, locked
from filestack_tags.exceptions import PayloadError, TaggerError
from filestack_tags.filestack.options import file_hosts
from filestack_tags.filestack.payloads import Event, WorkflowJob
from filestack_tags.models import Asset, TaggingRun, WebhookDelivery
from filestack_tags.tagging import queue, results, workflows
from filestack_tags.tagging.taggers import TaggerReply
from filestack_tags.tagging.taggers.filestack import job_error, result_of, without_tags

from . import event_time, file_events
from .event_time import IGNORED, PROCESSED, Handled

SLACK = timedelta(minutes=2)
"""How long before its run a job may appear to have started, since clocks may differ."""

WAITS = Q(state=TaggingRun.State.STARTED) | Q(error_code__in=results.GIVEN_UP)
KNOWS_NO_JOB = Q(job_id=None) | Q(job_id="")
"""Conditions on a run to which the result of a job may still belong."""


def prepare(event: Event) -> None:
    """Create the tags that ``event`` mentions, before its transaction; see :mod:`.tags`.

    Raises:
        PayloadError: as :func:`handle`.
    """
    prepare_all([event])


def prepare_all(those: Iterable[Event]) -> None:
    """Create the tags that events mention, together; see :func:`prepare`."""
    replies = [
        job.merged_tags()
        for event in those
        if event.action == "fs.workflow"
        and not (job := event.workflow(file_hosts())).is_under_way
    ]
    if names := [name for reply in replies if reply for name in (*reply.auto, *reply.user)]:
        tags.resolve(names)


def handle(event: Event, delivery: WebhookDelivery) -> Handled:
    """Apply ``event``.

    Raises:
        PayloadError: when a known action lacks required data.
    """
    handler = HANDLERS.get(event.action)
    if handler is None:
        metrics.count("webhook.unknown_action")
        return Handled(IGNORED, f"Unknown action {event.action!r}.")
    return handler(event, delivery)


def says_nothing(event: Event) -> bool:
    """Whether :func:`handle` has nothing to do for this event."""
    return HANDLERS.get(event.action, _ignored) is _ignored


def known_action(action: str) -> str:
    """Return ``action`` if it is one of Filestack's, else ``"unknown"``; safe as a label."""
    return action if action in HANDLERS else "unknown"


def _file(event: Event, delivery: WebhookDelivery) -> Handled:
    return file_events.apply_all([file_events.told(delivery, event)])[delivery.pk]


def _workflow(event: Event, delivery: WebhookDelivery) -> Handled:
    job = event.workflow(file_hosts())
    run = _run_of(job, event)
    if run is None:
        if reason := _why_ignored(job):
            return Handled(IGNORED, reason)
        run = _open_run(job, event, delivery)
        if run is None:
            return Handled(
                IGNORED,
                f"Nothing was applied: this job of {_named(job)} was not started here, and its "
                "file is not registered. To have such files registered, add the workflow to "
                "REGISTER_FROM_WORKFLOWS, then replay this delivery.",
            )
    # Locked after its asset, as everywhere: a poll of the same job may use both.
    run, _ = results.lock_run(run.pk)
    if not _is_open(run):
        text = f"Nothing was applied: this job of {_named(job)} had ended before ({run.state})."
        return Handled(PROCESSED, text, run.asset_id)
    if job.job_id and not run.job_id:
        run.job_id = job.job_id
        run.workflow_id = job.workflow_id
    run.delivery = delivery
    run.save(using=alias(), update_fields=("job_id", "workflow_id", "delivery"))
    if job.is_under_way:
        return Handled(PROCESSED, in_progress(job), run.asset_id)
    reply = reply_of(job)
    if reply is None and run.trigger == TaggingRun.Trigger.WORKFLOW and not _lost_tags(job):
        reply = without_tags(job)  # an upload's workflow; the asset's own tagging continues
    if reply is None:
        error = job_error(job)
        queue.fail(run.pk, error)
        return Handled(PROCESSED, f"Nothing was applied: {error}", run.asset_id)
    at = result_at(job, event, delivery)
    state = queue.complete(run.pk, reply, result_at=at).state
    return Handled(PROCESSED, outcome_of(job, reply, state), run.asset_id)


def reply_of(job: WorkflowJob) -> TaggerReply | None:
    """Return the result of a finished job; ``None`` if it failed without tags."""
    try:
        return result_of(job)
    except TaggerError:
        return None


def outcome_of(job: WorkflowJob, reply: TaggerReply, state: str) -> str:
    """Return what was applied of a job whose run is now in ``state``, for the delivery's page."""
    tags = f"{len(reply.scores)} tag(s) of {len(job.tags)} task(s) of {_named(job)}"
    if not reply.has_tags:
        text = f"No tags were applied: no task of {_named(job)} returned tags. Run {state}."
    elif state == TaggingRun.State.SUCCEEDED:
        text = f"Applied {tags}. Run {state}."
    else:
        text = f"Nothing was applied of {tags}: a newer result is shown. Run {state}."
    return f"{text} {job_error(job)}" if job.errors or job.is_failed else text


def in_progress(job: WorkflowJob) -> str:
    """Return the outcome of a delivery whose job has not ended."""
    status = f"status {job.status!r}" if job.status else "no status"
    return f"Nothing was applied: this job of {_named(job)} is in progress ({status})."


def _is_open(run: TaggingRun) -> bool:
    return run.state == TaggingRun.State.STARTED or run.error_code in results.GIVEN_UP


def _why_ignored(job: WorkflowJob) -> str:
    """Return why a job that was not started here is ignored; ``""`` if it has a result."""
    if job.is_under_way:
        # No task polls its status, so the run would stay open forever.
        return in_progress(job)
    if job.tags or _lost_tags(job):
        return ""
    if len(job.sources) != 1:
        return f"Nothing was applied: this job of {_named(job)} has {len(job.sources)} sources."
    if job.is_failed and not job.raw_results:
        return f"Nothing was applied: this job of {_named(job)} failed without results."
    return ""


def _lost_tags(job: WorkflowJob) -> bool:
    """Whether a job lacks tags because a task with the default name of a tagging task failed."""
    return not job.tags and any(task.casefold().startswith("tags") for task in job.errors)


def result_at(job: WorkflowJob, event: Event, delivery: WebhookDelivery) -> datetime:
    """Return when a job had its result."""
    return event_time.past(job.updated_at or event.timestamp or delivery.received_at)


def started_at(job: WorkflowJob, event: Event, delivery: WebhookDelivery) -> datetime:
    """Return when a job was started."""
    return (
        event_time.past(job.created_at)
        if job.created_at
        else event_time.moment(event, delivery)
    )


def new_run(job: WorkflowJob, asset: Asset, *, started_at: datetime) -> TaggingRun:
    """Return an unsaved run for a job that was not started here."""
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
    **dict.fromkeys(file_events.EFFECTS, _file),
    "fs.workflow": _workflow,
    "fp.converse": _ignored,
    "fp.video_converse": _ignored,
    "fp.scan": _ignored,
    "fp.export": _ignored,
    "fp.dialog": _ignored,
}


def _run_of(job: WorkflowJob, event: Event) -> TaggingRun | None:
    """Find the run that waits for this job: by its identity, else by workflow, source and time.

    A run that was found by source cannot change meanwhile: its asset is locked.
    """
    runs = TaggingRun.objects.using(alias())
    if job.job_id:
        same_id = runs.filter(job_id=job.job_id).select_related("asset").order_by("id")
        if run := _known_run(job, same_id):
            return run
    if len(job.sources) != 1 or not job.workflow_id:
        return None
    asset = locked(Asset.objects.filter(digest=digest_of(job))).first()
    waiting = runs.filter(
        WAITS,
        # Until Filestack answers, a run has neither its job id nor its workflow id.
        KNOWS_NO_JOB if job.job_id else Q(),
        Q(workflow_id=job.workflow_id)
        | Q(workflow_id="", tagger__in=workflows.taggers_of(job.workflow_id)),
        asset=asset,
    )
    if created_at := job.created_at or event.timestamp:
        waiting = waiting.filter(started_at__lte=event_time.past(created_at) + SLACK)
    return waiting.order_by("-id").first() if asset else None


def _open_run(job: WorkflowJob, event: Event, delivery: WebhookDelivery) -> TaggingRun | None:
    """Open a run for a job that was not started here, such as by an upload.

    A file that has no asset is skipped if ``REGISTER_FROM_WORKFLOWS`` excludes the workflow.
    """
    if len(job.sources) != 1:
        raise PayloadError(
            f"The job is unknown and names {len(job.sources)} sources; its results belong to one."
        )
    moment = started_at(job, event, delivery)
    if workflows.makes_known(job.workflow_id):
        registry.register(job.sources[0], at=moment)
    asset = locked(Asset.objects.filter(digest=digest_of(job))).first()
    if asset is None:
        return None
    run = new_run(job, asset, started_at=moment)
    run.job_id = job.job_id or f"delivery:{delivery.pk}"
    same = TaggingRun.objects.using(alias()).filter(job_id=run.job_id, asset=asset)
    known = same.filter(workflow_id=run.workflow_id).first()
    if known is None:
        run.save(using=alias())
    return known or run


def _known_run(job: WorkflowJob, same_id: Iterable[TaggingRun]) -> TaggingRun | None:
    """Return the run of a job among runs with its id: the one of its workflow and its file.

    A job that was started here for an external file may report its URL in another spelling.
    """
    of_workflow = [
        run
        for run in same_id
        if run.workflow_id == job.workflow_id or not (run.workflow_id and job.workflow_id)
    ]
    if len(job.sources) != 1:
        return of_workflow[0] if len(of_workflow) == 1 else None
    digest = digest_of(job)
    for run in of_workflow:
        if run.asset.digest == digest:
            return run
    for run in of_workflow:
        if run.asset.kind != "handle" and run.trigger != TaggingRun.Trigger.WORKFLOW:
            return run
    return None


def digest_of(job: WorkflowJob) -> str:
    """Return the digest of the one file that a job processed."""
    source = job.sources[0]
    return reference_digest(source.kind, source.reference)


def _is_before_change(moment: datetime, asset: Asset) -> bool:
    """Whether a job that began at ``moment`` read the file before it was overwritten.

    Within the second of the overwrite the order is unknown. Assume it did, unless no other call is
    planned for the asset.
    """
    changed_at = asset.content_changed_at
    if changed_at is None or moment >= changed_at + registry.TOLD_BY_THE:
        return False
    waits_for_it = asset.tagging_state in (Asset.State.NEW, Asset.State.STALE)
    return moment < changed_at or not waits_for_it
