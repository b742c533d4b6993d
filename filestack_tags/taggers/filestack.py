"""The taggers that ask Filestack: at once by the Processing API, or later by a workflow."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from threading import Lock
from typing import cast

from filestack_tags import workflows
from filestack_tags.conf import Settings, get_settings
from filestack_tags.exceptions import ConfigurationError, ConnectionFailed, TaggerError
from filestack_tags.filestack.client import AsyncFilestackClient, FilestackClient
from filestack_tags.filestack.payloads import FileMetadata, WorkflowJob
from filestack_tags.filestack.sources import Source

from .base import PendingJob, TaggerReply
from .inflight import run_at_once


class _SharedClient:
    """One client per process and per settings; several threads may ask for it at once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._client: FilestackClient | None = None
        self._settings: Settings | None = None
        self._pid = 0

    def get(self) -> FilestackClient:
        settings, pid = get_settings(), os.getpid()
        with self._lock:
            if self._client is None or self._pid != pid or self._settings is not settings:
                # A forked worker must not touch the connections of its parent, not even to
                # close them: both processes hold the same sockets.
                if self._client is not None and self._pid == pid:
                    self._client.close()
                    self._client = None
                self._client = FilestackClient.from_settings()
                self._settings, self._pid = settings, pid
            return self._client


_shared = _SharedClient()


def shared_client() -> FilestackClient:
    """Return this process's client, made when it is first needed or the settings changed.

    Raises:
        ConfigurationError: when the settings do not make a client.
    """
    return _shared.get()


@dataclass
class _Lent:
    """A client, the settings and the loop it was made for, and how many calls are on it."""

    client: AsyncFilestackClient
    settings: Settings
    loop: asyncio.AbstractEventLoop
    calls: int = 0


class _SharedAsyncClient:
    """One asynchronous client per process and per settings, for the one loop of the calls."""

    def __init__(self) -> None:
        self._lent: _Lent | None = None

    @asynccontextmanager
    async def borrow(self) -> AsyncIterator[AsyncFilestackClient]:
        """Lend the client for one call. One of former settings is closed once no call is on it."""
        settings, loop = get_settings(), asyncio.get_running_loop()
        former = lent = self._lent
        if lent is None or lent.settings is not settings or lent.loop is not loop:
            self._lent = lent = _Lent(AsyncFilestackClient.from_settings(), settings, loop)
        lent.calls += 1
        try:
            # In a forked worker, that of its parent has another loop, and is not ours to close.
            if former and former is not lent and former.loop is loop and not former.calls:
                await former.client.aclose()
            yield lent.client
        finally:
            lent.calls -= 1
            if lent is not self._lent and not lent.calls:
                await lent.client.aclose()


_shared_async = _SharedAsyncClient()


@asynccontextmanager
async def _client_in_time() -> AsyncIterator[AsyncFilestackClient]:
    """Lend the client for one call, which must end in time as a whole, not byte by byte."""
    settings = get_settings()
    try:
        async with (
            asyncio.timeout(settings.CONNECT_TIMEOUT + settings.READ_TIMEOUT),
            _shared_async.borrow() as client,
        ):
            yield client
    except TimeoutError:
        late = ConnectionFailed("Filestack did not answer completely in time.")
    else:
        return
    raise late  # out here: the library's exception may hold the signed URL


def metadata_of(handles: Sequence[str]) -> dict[str, FileMetadata]:
    """Ask what is known of stored files, all at once; leave out those nothing can be said of.

    Never raises: whatever is wrong shows itself again when they are to be tagged.
    """

    async def ask(handle: str) -> FileMetadata:
        async with _client_in_time() as client:
            return await client.metadata(handle)

    found = run_at_once(ask(handle) for handle in handles)
    return {
        handle: metadata
        for handle, metadata in zip(handles, found, strict=True)
        if isinstance(metadata, FileMetadata)
    }


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
            FilestackError: see its subclasses for whether asking again can help.
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

    async def atag(self, source: Source, *, fresh: bool = False) -> TaggerReply:
        """As :meth:`tag`, awaited."""
        settings = get_settings()
        async with _client_in_time() as client:
            reply = await client.tags(
                source,
                before=settings.TASKS_BEFORE_TAGS,
                version=settings.TAGS_VERSION,
                fresh=fresh,
            )
        return TaggerReply.of(reply, version=settings.TAGS_VERSION)


class WorkflowTagger:
    """Runs a workflow; its tags come later (docs: Workflows).

    Args:
        workflow: the workflow's name in ``WORKFLOWS``; ``WORKFLOW_ID`` is run without one.
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

    async def atag(self, source: Source) -> PendingJob:
        """As :meth:`tag`, awaited."""
        workflow_id = _workflow_id(self.name)
        async with _client_in_time() as client:
            return _pending(await client.run_workflow(workflow_id, source))

    def follow(self, job_id: str) -> TaggerReply | PendingJob:
        """Ask Filestack how far a job is; its results are kept for 48 hours.

        Raises:
            FilestackError: when the question failed; asking again may help.
            TaggerError: as :func:`result_of`.
        """
        return _outcome(shared_client().workflow_status(job_id), job_id)

    async def afollow(self, job_id: str) -> TaggerReply | PendingJob:
        """As :meth:`follow`, awaited."""
        async with _client_in_time() as client:
            job = await client.workflow_status(job_id)
        return _outcome(job, job_id)


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
    known = job_id or cast("str", job.job_id)  # the client refuses an answer without one
    return PendingJob(
        job.workflow_id, known, raw=job.raw, status=job.http_status, resumes_at=job.resumes_at
    )


def _outcome(job: WorkflowJob, job_id: str) -> TaggerReply | PendingJob:
    return _pending(job, job_id) if job.is_under_way else result_of(job)


def result_of(job: WorkflowJob) -> TaggerReply:
    """Return the result of a workflow job that has ended.

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
            code="workflow_task_failed",
            raw_reply=results,
        )
    return TaggerError(
        "The workflow failed.",
        code="workflow_failed",
        cure="Check the workflow in the Filestack portal, then tag the asset again.",
        raw_reply=results,
    )
