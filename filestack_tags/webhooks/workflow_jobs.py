"""Workflow jobs: find the run that each job belongs to, or open one, and apply the results.

Any number of jobs takes about the same number of statements. Of several, those are applied together
that have different ids and files; see :func:`apply`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from django.db.models import Q

from filestack_tags.assets import registry, tags
from filestack_tags.db.bulk_statements import update_rows
from filestack_tags.db.text import reference_digest
from filestack_tags.db.transactions import alias, locked
from filestack_tags.exceptions import PayloadError, TaggerError
from filestack_tags.filestack.options import file_hosts
from filestack_tags.filestack.payloads import WorkflowJob
from filestack_tags.models import Asset, TaggingRun
from filestack_tags.tagging import results, workflows
from filestack_tags.tagging.taggers import TaggerReply
from filestack_tags.tagging.taggers.filestack import job_error, result_of, without_tags

from .handler_types import IGNORED, PROCESSED, HandlerResult, ReceivedEvent, clamp_to_past

CLOCK_SKEW = timedelta(minutes=2)
"""How long before its run a job may appear to have started, since clocks may differ."""

MAX_WORKFLOW_ID = 100

WAITS = Q(state=TaggingRun.State.STARTED) | Q(error_code__in=results.GIVEN_UP)
"""The condition on a run to which the result of a job may still belong."""


@dataclass(frozen=True)
class _JobEvent:
    """A job, and the event that reported it."""

    received: ReceivedEvent

    @cached_property
    def job(self) -> WorkflowJob:
        return self.received.event.workflow(file_hosts())

    @property
    def pk(self) -> int:
        return self.received.delivery.pk

    @property
    def job_id(self) -> str:
        """The id of the job's run; old webhooks have no job id."""
        return self.job.job_id or f"delivery:{self.pk}"

    @property
    def workflow_id(self) -> str:
        return self.job.workflow_id[:MAX_WORKFLOW_ID]

    @cached_property
    def digest(self) -> str:
        """The digest of the job's file; empty unless there is exactly one."""
        if len(self.job.sources) != 1:
            return ""
        (source,) = self.job.sources
        return reference_digest(source.kind, source.reference)

    @property
    def started_at(self) -> datetime:
        created_at = self.job.created_at
        return clamp_to_past(created_at) if created_at else self.received.happened_at

    @property
    def result_at(self) -> datetime:
        updated_at = self.job.updated_at
        return clamp_to_past(updated_at) if updated_at else self.received.happened_at

    @property
    def registers_file(self) -> bool:
        """Whether the job registers its file, if it was not started here."""
        return bool(
            self.digest
            and workflows.registers_files(self.job.workflow_id)
            and not _why_ignored(self.job)
        )


def prepare(events: Iterable[ReceivedEvent]) -> None:
    """Create the tags that events mention. Call it before the transaction; see ``assets/tags.py``.

    Raises:
        PayloadError: as :func:`apply`.
    """
    jobs = [_JobEvent(received).job for received in events]
    replies = [job.merged_tags() for job in jobs if not job.is_under_way]
    if names := [name for reply in replies if reply for name in (*reply.auto, *reply.user)]:
        tags.resolve(names)


def apply(events: Sequence[ReceivedEvent]) -> dict[int, HandlerResult]:
    """Apply workflow jobs; return the result of each, by delivery id.

    Call it in a transaction, for :data:`.results.BATCH_SIZE` jobs at most. Of several, leaves out
    those with the id or the file of an earlier one, and those that may have to restore an archived
    file.

    Raises:
        PayloadError: when a job cannot be parsed, or is unknown and does not name one file.
        Exception: when one of them cannot be applied. Roll back then.
    """
    jobs = _unique([_JobEvent(received) for received in events])
    runs = _runs_by_id(jobs)
    unknown = [job for job in jobs if job.pk not in runs]
    assets = _lock_assets(unknown, runs.values())
    if len(jobs) > 1:
        hidden = {digest for digest, asset in assets.items() if asset.deleted_at}
        unknown = [job for job in unknown if job.digest not in hidden]
    runs |= _waiting_runs(unknown, assets)
    ignored = _open_runs([job for job in unknown if job.pk not in runs], assets, runs)
    known = [job for job in jobs if job.pk in runs]
    # Locked after their assets, as everywhere: a poll of the same job may use both.
    current = locked(TaggingRun.objects.filter(pk__in=[run.pk for run in runs.values()]))
    by_pk = {run.pk: run for run in current.order_by("pk")}
    return ignored | _apply_to_runs([(job, by_pk[runs[job.pk].pk]) for job in known])


def _unique(jobs: Sequence[_JobEvent]) -> list[_JobEvent]:
    """Leave out jobs with an id or a file of an earlier one."""
    seen: set[str] = set()
    unique: list[_JobEvent] = []
    for job in jobs:
        names = {f"job {job.job_id}", f"file {job.digest}"}
        if not names & seen:
            unique.append(job)
        seen |= names
    return unique


def _runs_by_id(jobs: Sequence[_JobEvent]) -> dict[int, TaggingRun]:
    """Return the runs with the ids of jobs, by delivery id."""
    rows = TaggingRun.objects.using(alias()).filter(job_id__in=[job.job_id for job in jobs])
    same_id: dict[str, list[TaggingRun]] = {}
    for run in rows.select_related("asset").defer("raw_reply").order_by("id"):
        same_id.setdefault(str(run.job_id), []).append(run)
    matches = {job.pk: _match(job, same_id.get(job.job_id, ())) for job in jobs}
    return {pk: run for pk, run in matches.items() if run is not None}


def _match(job: _JobEvent, same_id: Iterable[TaggingRun]) -> TaggingRun | None:
    """Return the run of a job among runs with its id: the one of its workflow and its file.

    A job that was started here for an external file may report its URL in another spelling.
    """
    of_workflow = [
        run
        for run in same_id
        if run.workflow_id == job.workflow_id or not (run.workflow_id and job.workflow_id)
    ]
    if not job.digest:
        return of_workflow[0] if len(of_workflow) == 1 else None
    of_file = [run for run in of_workflow if run.asset.digest == job.digest]
    respelled = [
        run
        for run in of_workflow
        if run.asset.kind != "handle" and run.trigger != TaggingRun.Trigger.WORKFLOW
    ]
    return next(iter([*of_file, *respelled]), None)


def _lock_assets(unknown: Iterable[_JobEvent], runs: Iterable[TaggingRun]) -> dict[str, Asset]:
    """Lock the files of jobs without a run and of ``runs``; register new ones if permitted."""
    new: dict[str, Asset | None] = {}
    for job in unknown:
        if job.digest:
            (source,) = job.job.sources
            at = job.started_at
            new[job.digest] = (
                Asset(
                    kind=source.kind,
                    reference=source.reference,
                    digest=job.digest,
                    uploaded_at=at,
                    facts_at=at,
                )
                if job.registers_file
                else None
            )
    return registry.lock_or_insert(new, also=[run.asset_id for run in runs])


def _waiting_runs(
    jobs: Sequence[_JobEvent], assets: Mapping[str, Asset]
) -> dict[int, TaggingRun]:
    """Return the runs that wait for jobs without knowing their ids, by delivery id.

    A run is found by the file, the workflow and the time. It cannot change meanwhile, since its
    asset is locked.
    """
    pks = [assets[job.digest].pk for job in jobs if job.digest in assets]
    rows = TaggingRun.objects.using(alias()).filter(WAITS, asset__in=pks).defer("raw_reply")
    waiting: dict[int, list[TaggingRun]] = {}
    for run in rows.order_by("-id") if pks else ():
        waiting.setdefault(run.asset_id, []).append(run)
    runs: dict[int, TaggingRun] = {}
    for job in jobs:
        candidates = waiting.get(assets[job.digest].pk, ()) if job.digest in assets else ()
        if match := next((run for run in candidates if _may_wait_for(run, job)), None):
            runs[job.pk] = match
    return runs


def _may_wait_for(run: TaggingRun, job: _JobEvent) -> bool:
    if not job.job.workflow_id or (job.job.job_id and run.job_id):
        return False
    # Until Filestack answers, a run has neither its job id nor its workflow id.
    is_same = run.workflow_id == job.workflow_id or (
        not run.workflow_id and run.tagger in workflows.taggers_of(job.job.workflow_id)
    )
    created_at = job.job.created_at or job.received.event.timestamp
    return is_same and (
        created_at is None or run.started_at <= clamp_to_past(created_at) + CLOCK_SKEW
    )


def _open_runs(
    jobs: Sequence[_JobEvent], assets: Mapping[str, Asset], runs: dict[int, TaggingRun]
) -> dict[int, HandlerResult]:
    """Add runs for jobs that were not started here, such as by an upload; return ignored jobs."""
    ignored: dict[int, HandlerResult] = {}
    opened: dict[int, TaggingRun] = {}
    refreshed: list[tuple[Asset, datetime]] = []
    for job in jobs:
        asset = assets.get(job.digest)
        if reason := _why_ignored(job.job):
            ignored[job.pk] = HandlerResult(IGNORED, reason)
        elif not job.digest:
            raise PayloadError(
                f"The job is unknown and names {len(job.job.sources)} sources; its results belong "
                "to one."
            )
        elif asset is None:
            ignored[job.pk] = HandlerResult(
                IGNORED,
                f"Nothing was applied: this job of {_named(job.job)} was not started here, and its "
                "file is not registered. To have such files registered, add the workflow to "
                "REGISTER_FROM_WORKFLOWS, then replay this delivery.",
            )
        else:
            if job.registers_file:
                refreshed.append((asset, job.started_at))
            opened[job.pk] = _new_run(job, asset)
    registry.refresh_all(refreshed)
    TaggingRun.objects.using(alias()).bulk_create(opened.values())
    runs |= opened
    return ignored


def _new_run(job: _JobEvent, asset: Asset) -> TaggingRun:
    """Return an unsaved run for a job that was not started here."""
    content_version = asset.content_version
    if _is_before_change(job.started_at, asset):
        content_version -= 1
    running = workflows.taggers_of(job.job.workflow_id)
    return TaggingRun(
        asset=asset,
        job_id=job.job_id,
        tagger=running[0] if running else workflows.TAGGER,
        trigger=TaggingRun.Trigger.WORKFLOW,
        workflow_id=job.workflow_id,
        content_version=content_version,
        started_at=job.started_at,
        delivery_id=job.pk,
    )


def _apply_to_runs(
    jobs: Sequence[tuple[_JobEvent, TaggingRun]],
) -> dict[int, HandlerResult]:
    """Apply the results of jobs to their runs, which are locked."""
    handled: dict[int, HandlerResult] = {}
    changed: list[TaggingRun] = []
    finished: list[tuple[_JobEvent, TaggingRun, TaggerReply | TaggerError]] = []
    for job, run in jobs:
        if run.state != TaggingRun.State.STARTED and run.error_code not in results.GIVEN_UP:
            text = (
                f"Nothing was applied: this job of {_named(job.job)} had ended before "
                f"({run.state})."
            )
            handled[job.pk] = HandlerResult(PROCESSED, text, run.asset_id)
            continue
        before = (run.job_id, run.delivery_id)
        if job.job.job_id and not run.job_id:
            run.job_id, run.workflow_id = job.job.job_id, job.workflow_id
        run.delivery_id = job.pk
        if before != (run.job_id, run.delivery_id):
            changed.append(run)
        if job.job.is_under_way:
            text = _in_progress(job.job)
            handled[job.pk] = HandlerResult(PROCESSED, text, run.asset_id)
        else:
            finished.append((job, run, _answer_of(job.job, run)))
    update_rows(changed, ("job_id", "workflow_id", "delivery"))
    outcomes = results.apply_all(
        [results.Result(run.pk, answer, job.result_at) for job, run, answer in finished]
    )
    for (job, run, answer), outcome in zip(finished, outcomes, strict=True):
        if isinstance(outcome, Exception):
            raise outcome
        text = (
            f"Nothing was applied: {answer}"
            if isinstance(answer, TaggerError)
            else _outcome_of(job.job, answer, outcome.state)
        )
        handled[job.pk] = HandlerResult(PROCESSED, text, run.asset_id)
    return handled


def _answer_of(job: WorkflowJob, run: TaggingRun) -> TaggerReply | TaggerError:
    """Return the result of a finished job, or why it failed without tags."""
    try:
        return result_of(job)
    except TaggerError as error:
        if run.trigger == TaggingRun.Trigger.WORKFLOW and not _lost_tags(job):
            return without_tags(job)  # the asset's own tagging continues
        return error


def _outcome_of(job: WorkflowJob, reply: TaggerReply, state: str) -> str:
    """Return what was applied of a job whose run is now in ``state``, for the delivery's page."""
    number = f"{len(reply.scores)} tag(s) of {len(job.tags)} task(s) of {_named(job)}"
    if not reply.has_tags:
        text = f"No tags were applied: no task of {_named(job)} returned tags. Run {state}."
    elif state == TaggingRun.State.SUCCEEDED:
        text = f"Applied {number}. Run {state}."
    else:
        text = f"Nothing was applied of {number}: a newer result is shown. Run {state}."
    return f"{text} {job_error(job)}" if job.errors or job.is_failed else text


def _in_progress(job: WorkflowJob) -> str:
    status = f"status {job.status!r}" if job.status else "no status"
    return f"Nothing was applied: this job of {_named(job)} is in progress ({status})."


def _why_ignored(job: WorkflowJob) -> str:
    """Return why a job that was not started here is ignored; ``""`` if it has a result."""
    if job.is_under_way:
        # No task polls its status, so the run would stay open forever.
        return _in_progress(job)
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


def _named(job: WorkflowJob) -> str:
    return f"the workflow {workflows.described(job.workflow_id) or 'without a name'}"


def _is_before_change(moment: datetime, asset: Asset) -> bool:
    """Whether a job that began at ``moment`` read the file before it was overwritten.

    Within the second of the overwrite the order is unknown. Assume it did, unless no other call is
    planned for the asset.
    """
    updated_at = asset.content_changed_at
    if updated_at is None or moment >= updated_at + registry.EVENT_TIME_PRECISION:
        return False
    waits_for_it = asset.tagging_state in (Asset.State.NEW, Asset.State.STALE)
    return moment < updated_at or not waits_for_it
