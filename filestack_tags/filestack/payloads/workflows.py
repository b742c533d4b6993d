"""A workflow job: the same object in a webhook, in ``run_workflow`` and ``workflow_status``."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from filestack_tags.db.text import sanitize_text
from filestack_tags.exceptions import InvalidReference, PayloadError
from filestack_tags.filestack.sources import Source, handle_in_link

from .reading import decode, first_text, mapping, shown
from .tags import TagsReply, is_tags, merge_tags, read_tags
from .timestamps import parse_timestamp

# A workflow id is usually, but not always, a UUID: the docs show one that is not.
_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
MAX_ERROR_LENGTH = 500


@dataclass(frozen=True)
class TaskTags:
    """The tags from one task of a workflow. ``task`` is its freely chosen name."""

    task: str
    reply: TagsReply


@dataclass(frozen=True)
class WorkflowJob:
    """One execution of a workflow, in its state at ``updated_at``.

    ``job_id`` is ``None`` in old webhooks; correlate by workflow, source and ``created_at`` then.
    ``errors`` maps the name of a task to why it failed, or why its tags are invalid; a job may be
    finished and have errors. ``raw_results`` is ``results`` as received, ``raw`` the whole JSON
    text.
    """

    workflow_id: str
    job_id: str | None
    created_at: datetime | None
    updated_at: datetime | None
    sources: tuple[Source, ...]
    status: str
    tags: tuple[TaskTags, ...]
    errors: Mapping[str, str]
    raw_results: Mapping[str, Any]
    raw: str = ""
    http_status: int | None = None
    resumes_at: datetime | None = None
    """When further calls are accepted, if this is the reply of the last call allowed for now."""

    @property
    def is_finished(self) -> bool:
        """Whether the job succeeded. ``Finished`` is documented."""
        return self.status.casefold() == "finished"

    @property
    def is_failed(self) -> bool:
        """Whether the job failed. These statuses are in clients, but not in the docs."""
        return self.status.casefold() in ("failed", "error")

    @property
    def is_under_way(self) -> bool:
        """Whether more results may come: true for every status that is not a known end."""
        return not (self.is_finished or self.is_failed)

    def merged_tags(self) -> TagsReply | None:
        """The tags of all tasks merged, the highest confidence winning; ``None`` without tags."""
        raw = json.dumps(self.raw_results)
        return merge_tags((found.reply for found in self.tags), raw)


def parse_job(
    data: bytes | str | Mapping[str, Any], file_hosts: Collection[str] = ()
) -> WorkflowJob:
    """Parse a reply of ``run_workflow`` or ``workflow_status`` (docs: Workflows API).

    Tags are found by shape, ``data.tags.auto``, since tasks are named freely. A source that is not
    a handle, URL or alias path is left out.

    Raises:
        PayloadError: when there is neither a workflow nor a job id, or when one of them,
            ``results`` or ``sources`` is invalid.
    """
    payload, raw = decode(data)
    return read_job(payload, raw, file_hosts)


def read_job(
    payload: Mapping[str, Any], raw: str, file_hosts: Collection[str] = ()
) -> WorkflowJob:
    """Parse a decoded job; see :func:`parse_job`."""
    workflow_id = _identifier(payload, "workflow")
    job_id = _identifier(payload, "jobid") or _identifier(payload, "job")
    if not workflow_id and not job_id:
        raise PayloadError(
            "The payload has no workflow and no jobid, so it is not a workflow job."
        )
    results = payload.get("results")
    if results is not None and not isinstance(results, dict):
        raise PayloadError(f"results must be an object, not {shown(results)}.")
    tags, errors = _outcomes(mapping(results))
    return WorkflowJob(
        workflow_id=workflow_id,
        job_id=job_id or None,
        created_at=parse_timestamp(payload.get("createdAt")),
        updated_at=parse_timestamp(payload.get("updatedAt")),
        sources=_sources(payload.get("sources"), file_hosts),
        status=first_text("status", payload),
        tags=tags,
        errors=errors,
        raw_results=mapping(results),
        raw=raw,
    )


def _identifier(payload: Mapping[str, Any], key: str) -> str:
    value = payload.get(key)
    if value is None or value == "":
        return ""
    if isinstance(value, str) and _ID.fullmatch(value):
        return value
    raise PayloadError(
        f"{key} must be 1 to 100 letters, digits, '.', '-' or '_', not {shown(value)}."
    )


def _sources(value: object, file_hosts: Collection[str]) -> tuple[Source, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise PayloadError(f"sources must be a list, not {shown(value)}.")
    found = []
    for text in value:
        try:
            source = Source.parse(text if isinstance(text, str) else "")
            handle = handle_in_link(source.reference, file_hosts)
            found.append(Source.handle(handle) if handle else source)
        except InvalidReference:  # e.g. wf://, the output of another workflow
            continue
    return tuple(found)


def _outcomes(results: Mapping[str, Any]) -> tuple[tuple[TaskTags, ...], dict[str, str]]:
    tags: list[TaskTags] = []
    errors: dict[str, str] = {}
    for name, result in results.items():
        task = sanitize_text(name)
        content = mapping(mapping(mapping(result).get("data")).get("tags"))
        error = mapping(result).get("error")
        if error:
            errors[task] = _reason(error)
        elif is_tags(content):
            try:
                tags.append(TaskTags(task, read_tags(content, json.dumps(content))))
            except PayloadError as problem:
                errors[task] = str(problem)
    return tuple(tags), errors


def _reason(error: object) -> str:
    text = error if isinstance(error, str) else json.dumps(error)
    return sanitize_text(text, MAX_ERROR_LENGTH)
