"""The taggers that call Filestack: the Processing API with an immediate reply, or a workflow."""

from __future__ import annotations

import json
from typing import cast

from filestack_tags.conf import get_settings
from filestack_tags.error_codes import ErrorCode
from filestack_tags.exceptions import ConfigurationError, TaggerError
from filestack_tags.filestack.payloads import WorkflowJob
from filestack_tags.filestack.shared_client import shared_client
from filestack_tags.filestack.sources import Source
from filestack_tags.tagging import workflows

from .base import PendingJob, TaggerReply


class FilestackTagger:
    """Calls the ``tags`` task and waits for the reply (docs: Image Tagging).

    Uses the settings ``TASKS_BEFORE_TAGS`` and ``TAGS_VERSION``.
    """

    name = "filestack"
    paid = True
    cached = True

    def tag(self, source: Source, *, fresh: bool = False) -> TaggerReply:
        """Return the auto tags and the user tags of one file.

        Args:
            source: the file.
            fresh: whether Filestack must not answer from its cache, and charges for the call.

        Raises:
            FilestackError: see its subclasses for whether a retry can help.
            ConfigurationError: when a needed setting is missing.
        """
        settings = get_settings()
        reply = shared_client().tags(
            source,
            before=settings.TASKS_BEFORE_TAGS,
            version=settings.TAGS_VERSION,
            fresh=fresh,
        )
        return TaggerReply.of(reply, version=settings.TAGS_VERSION)


class WorkflowTagger:
    """Runs a workflow; its tags come later (docs: Workflows).

    Args:
        workflow: the workflow's name in ``WORKFLOWS``; defaults to ``WORKFLOW_ID``.
    """

    paid = True

    def __init__(self, workflow: str = "") -> None:
        self.name = f"{workflows.TAGGER}:{workflow}" if workflow else workflows.TAGGER

    def tag(self, source: Source) -> PendingJob:
        """Start the workflow for one file and return its job.

        Raises:
            FilestackError: when the workflow could not be started.
            ConfigurationError: when the workflow has no id.
        """
        return _pending(shared_client().run_workflow(_workflow_id(self.name), source))

    def follow(self, job_id: str) -> TaggerReply | PendingJob:
        """Poll a job; Filestack keeps its results for 48 hours.

        Raises:
            FilestackError: when the call failed; a retry may help.
            TaggerError: as :func:`result_of`.
        """
        return _outcome(shared_client().workflow_status(job_id), job_id)


def _workflow_id(tagger: str) -> str:
    workflow_id = workflows.taggers().get(tagger, "")
    if not workflow_id:
        _, named, name = tagger.partition(":")
        setting = (
            f"FILESTACK_TAGS['WORKFLOWS'][{name!r}]"
            if named
            else "FILESTACK_TAGS['WORKFLOW_ID']"
        )
        raise ConfigurationError(
            f"The tagger {tagger!r} has nothing to run. Set {setting} to the id of a workflow "
            "that has an Image Tagging task; the Filestack portal shows it."
        )
    return workflow_id


def _pending(job: WorkflowJob, job_id: str | None = None) -> PendingJob:
    known = job_id or cast("str", job.job_id)  # the client rejects an answer without one
    return PendingJob(
        job.workflow_id, known, raw=job.raw, status=job.http_status, resumes_at=job.resumes_at
    )


def _outcome(job: WorkflowJob, job_id: str) -> TaggerReply | PendingJob:
    return _pending(job, job_id) if job.is_under_way else result_of(job)


def result_of(job: WorkflowJob) -> TaggerReply:
    """Return the result of a finished workflow job.

    A job that finished without tags and without failed tasks has a reply without tags: the
    condition before its tags task was not met.

    Raises:
        TaggerError: when there are no tags, and the job or one of its tasks failed.
    """
    reply = job.merged_tags()
    if reply is not None:
        return TaggerReply.of(reply)
    if job.errors or job.is_failed:
        raise job_error(job)
    return without_tags(job)


def without_tags(job: WorkflowJob) -> TaggerReply:
    """Return the results of a workflow job as a reply that has no tags."""
    return TaggerReply(
        (),
        raw=json.dumps(job.raw_results),
        status=job.http_status,
        resumes_at=job.resumes_at,
        has_tags=False,
    )


def job_error(job: WorkflowJob) -> TaggerError:
    """Return why a workflow job failed. Its raw reply holds the results of all tasks."""
    results = json.dumps(job.raw_results)
    if job.errors:
        tasks = "; ".join(f"{task}: {text}" for task, text in sorted(job.errors.items()))
        return TaggerError(
            f"The workflow's tasks failed: {tasks}.",
            code=ErrorCode.WORKFLOW_TASK_FAILED,
            raw_reply=results,
        )
    return TaggerError(
        "The workflow failed.",
        code=ErrorCode.WORKFLOW_FAILED,
        raw_reply=results,
    )
