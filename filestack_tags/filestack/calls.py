"""Every call to Filestack as data: how it is written and signed, and how its reply is parsed.

No HTTP here, so that the blocking and the asynchronous client share all of it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from filestack_tags.exceptions import ConfigurationError, InvalidReference, PayloadError

from .errors import Reply, check_not_refused, resumes_at
from .exchange import Call, Secrets
from .payloads import (
    FileMetadata,
    StoredFile,
    TagsReply,
    WorkflowJob,
    parse_file,
    parse_job,
    parse_metadata,
    parse_tags_reply,
)
from .security import Security, SignedPolicy
from .sources import Source
from .storage import DEFAULT, Storage
from .task_chains import NO_CACHE, check_tasks

CDN_URL = "https://cdn.filestackcontent.com"
API_URL = "https://www.filestackapi.com/api"

_Kept = TypeVar("_Kept", TagsReply, WorkflowJob)
_Stored = TypeVar("_Stored", StoredFile, FileMetadata)

MAX_UPLOAD_TAGS = 10
MAX_UPLOAD_TAG_KEY = 128
MAX_UPLOAD_TAG_VALUE = 256

METADATA = ("filename", "mimetype", "size", "width", "height", "sha256", "container", "key")

_IDENTIFIER = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class _Permit:
    """A signed policy, what it allows, and the texts to hide because of it."""

    allows: tuple[str, ...]
    policy: str = field(repr=False)
    signature: str = field(repr=False)
    secrets: Secrets

    @property
    def segment(self) -> str:
        """The permit as part of a task's path; the policy's padding is sent unchanged."""
        return f"security=p:{self.policy},s:{self.signature}"

    @property
    def params(self) -> dict[str, str]:
        """The permit as query parameters, and in the ``security`` task of ``/process``."""
        return {"policy": self.policy, "signature": self.signature}


class Calls:
    """Builds every call for one app.

    Each call is signed separately: the policy allows no more than the call needs, is bound to the
    file if it has a handle, and expires after ``policy_expiry`` seconds.

    Raises:
        ConfigurationError: without ``app_secret``, or, for a call that needs it, without
            ``api_key``.
    """

    def __init__(
        self,
        *,
        api_key: str = "",
        app_secret: str,
        cdn_url: str = CDN_URL,
        api_url: str = API_URL,
        policy_expiry: int = 300,
        storage: Storage = DEFAULT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._security = Security(app_secret, clock)
        self._clock = clock
        self._api_key = api_key
        self._app_secret = app_secret
        self._cdn_url = cdn_url.rstrip("/")
        self._api_url = api_url.rstrip("/")
        self._policy_expiry = policy_expiry
        self._storage = storage

    def tags(
        self,
        source: Source,
        *,
        before: Sequence[str] = (),
        version: int | None = None,
        fresh: bool = False,
    ) -> Call[TagsReply]:
        """Tag ``source`` (docs: Image Tagging).

        Args:
            source: the file to tag.
            before: tasks inserted before ``tags``, such as ``("resize=h:2000",)``; see
                :func:`.task_chains.check_tasks`.
            version: 2, the deprecated 1, or ``None`` for Filestack's default.
            fresh: send ``cache=false``, so that the picture is tagged again. Filestack charges for
                that each time (docs: Processing API, caching).
        """
        if version not in (None, 1, 2):
            raise ConfigurationError(
                f"Filestack's tagging has versions 1 and 2, not {version}."
            )
        task = "tags" if version is None else f"tags=version:{version}"

        def read(reply: Reply) -> TagsReply:
            parsed = parse_tags_reply(reply.content)
            odd = tuple(map(permit.secrets.hide, parsed.odd))
            return self._kept(replace(parsed, odd=odd), reply, permit.secrets)

        permit = self._permit("read", "convert", source=source)
        return Call(
            name="tags",
            method="GET",
            url=self._task_url(source, permit, *_chain(before, fresh=fresh), task),
            read=read,
            about="file",
            allows=permit.allows,
            secrets=permit.secrets,
        )

    def run_workflow(self, workflow_id: str, source: Source) -> Call[WorkflowJob]:
        """Start a workflow on ``source`` (docs: Workflows API)."""
        _check_identifier("workflow id", workflow_id)
        permit = self._permit("read", "convert", "runWorkflow", source=source)

        def read(reply: Reply) -> WorkflowJob:
            job = self._kept(parse_job(reply.content), reply, permit.secrets)
            if job.job_id is None:
                raise PayloadError("The reply names no jobid, so no job was started.")
            return job

        return Call(
            name="run_workflow",
            method="GET",
            url=self._task_url(source, permit, f"run_workflow=id:{workflow_id}"),
            read=read,
            about="job",
            allows=permit.allows,
            secrets=permit.secrets,
        )

    def workflow_status(self, job_id: str) -> Call[WorkflowJob]:
        """Poll a workflow job (docs: Workflows API)."""
        _check_identifier("job id", job_id)
        # The calls it needs are not documented; allow those that running one needs.
        permit = self._permit("read", "convert", "runWorkflow")
        segments = (self._key(), permit.segment, f"workflow_status=job_id:{job_id}")
        return Call(
            name="workflow_status",
            method="GET",
            url="/".join((self._cdn_url, *segments)),
            read=lambda reply: self._kept(parse_job(reply.content), reply, permit.secrets),
            about="job",
            allows=permit.allows,
            secrets=permit.secrets,
        )

    def _kept(self, parsed: _Kept, reply: Reply, secrets: Secrets) -> _Kept:
        return replace(
            parsed,
            raw=secrets.hide(parsed.raw),
            http_status=reply.status,
            resumes_at=resumes_at(reply, datetime.fromtimestamp(self._clock(), UTC)),
        )

    def store_url(
        self,
        url: str,
        *,
        filename: str | None = None,
        upload_tags: Mapping[str, str] | None = None,
        workflows: Iterable[str] = (),
    ) -> Call[StoredFile]:
        """Let Filestack fetch an external URL and store it (``POST /process``).

        ``upload_tags`` are at most 10, keys of 128 and values of 256 characters at most.
        ``workflows`` are the ids of the workflows started with the stored file.
        """
        source = Source.url(url)
        started = list(workflows)
        for workflow in started:
            _check_identifier("workflow id", workflow)
        permit = self._permit_to_store(*(("convert", "runWorkflow") if started else ()))
        store: dict[str, Any] = dict(self._storage.options)
        if filename:
            store["filename"] = filename
        if started:
            store["workflows"] = started
        body: dict[str, Any] = {
            "apikey": self._key(),
            "sources": [source.reference],
            "tasks": [
                {"name": "store", "params": store},
                {"name": "security", "params": permit.params},
            ],
        }
        if upload_tags:
            body["upload_tags"] = _upload_tags(upload_tags)
        return Call(
            name="store",
            method="POST",
            url=f"{self._cdn_url}/process",
            headers={"Content-Type": "application/json"},
            content=json.dumps(body).encode(),
            read=lambda reply: _hidden(parse_file(reply.content), permit.secrets),
            about="upload",
            allows=permit.allows,
            secrets=permit.secrets,
        )

    def store_bytes(self, data: bytes, *, filename: str, mimetype: str) -> Call[StoredFile]:
        """Store ``data`` as a file (docs: File API, store with a raw body)."""
        permit = self._permit_to_store(max_size=len(data))
        chosen = {
            name: value
            for name, value in self._storage.options.items()
            if name in ("container", "path", "access")
        }
        return Call(
            name="store",
            method="POST",
            url=f"{self._api_url}/store/{self._storage.provider}",
            params={"key": self._key(), "filename": filename, **chosen, **permit.params},
            headers={"Content-Type": mimetype},
            content=data,
            read=lambda reply: _hidden(parse_file(reply.content), permit.secrets),
            about="upload",
            allows=permit.allows,
            secrets=permit.secrets,
        )

    def metadata(self, handle: str, *, timeout: float | None = None) -> Call[FileMetadata]:
        """Read the metadata of a stored file (docs: File API).

        ``timeout`` is in seconds, as for :meth:`download`.
        """
        source = Source.handle(handle)
        permit = self._permit("stat", source=source)
        return Call(
            name="metadata",
            method="GET",
            url=f"{self._api_url}/file/{source.path}/metadata",
            params={**dict.fromkeys(METADATA, "true"), **permit.params},
            read=lambda reply: _hidden(parse_metadata(reply.content), permit.secrets),
            about="file",
            allows=permit.allows,
            secrets=permit.secrets,
            timeout=timeout,
        )

    def delete(self, handle: str) -> Call[None]:
        """Delete a stored file, from storage too (docs: File API)."""
        source = Source.handle(handle)
        permit = self._permit("remove", source=source)
        return Call(
            name="delete",
            method="DELETE",
            url=f"{self._api_url}/file/{source.path}",
            params={"key": self._key(), **permit.params},
            read=_deleted,
            about="file",
            allows=permit.allows,
            secrets=permit.secrets,
        )

    def download(
        self,
        source: Source,
        *,
        max_bytes: int,
        before: Sequence[str] = (),
        fresh: bool = False,
        timeout: float | None = None,
    ) -> Call[bytes]:
        """Read the file itself, or the result of tasks (docs: Processing API).

        Args:
            source: the file.
            max_bytes: the longest reply that is read.
            before: tasks to apply, such as ``("resize=h:320",)``.
            fresh: send ``cache=false``, as for :meth:`tags`.
            timeout: seconds for the whole call; the client's own if None.
        """
        is_stored = source.kind == "handle" and not before and not fresh
        allows = ("read",) if is_stored else ("read", "convert")
        permit = self._permit(*allows, source=source)
        return Call(
            name="download",
            method="GET",
            url=self._task_url(source, permit, *_chain(before, fresh=fresh)),
            read=_content,
            about="file",
            allows=permit.allows,
            secrets=permit.secrets,
            max_bytes=max_bytes,
            timeout=timeout,
        )

    def _permit(self, *allows: str, source: Source | None = None) -> _Permit:
        return self._signed(
            allows,
            self._security.policy_for(allows, source=source, expires_in=self._policy_expiry),
        )

    def _permit_to_store(self, *also: str, max_size: int | None = None) -> _Permit:
        allows = ("store", *also)
        signed = self._security.policy_for(
            allows,
            container=self._storage.container,
            path=self._storage.path,
            max_size=max_size,
            expires_in=self._policy_expiry,
        )
        return self._signed(allows, signed)

    def _signed(self, allows: tuple[str, ...], signed: SignedPolicy) -> _Permit:
        secrets = (signed.policy, signed.signature, self._app_secret, self._api_key)
        return _Permit(allows, signed.policy, signed.signature, Secrets(*secrets))

    def _key(self) -> str:
        if not self._api_key:
            raise ConfigurationError(
                "FILESTACK_TAGS['API_KEY'] is empty, but this call must name the app. Set it "
                "to the app's API key from the Filestack portal."
            )
        return self._api_key

    def _task_url(self, source: Source, permit: _Permit, *tasks: str) -> str:
        key = (self._key(),) if source.needs_api_key else ()
        return "/".join((self._cdn_url, *key, permit.segment, *tasks, source.path))


def is_identifier(value: str) -> bool:
    """Whether ``value`` can be the id of a workflow or a job, which is part of a URL."""
    return _IDENTIFIER.fullmatch(value) is not None


def _check_identifier(what: str, value: str) -> None:
    if not is_identifier(value):
        raise InvalidReference(
            f"A {what} has 1 to 100 letters, digits, '.', '-' and '_'; got {value[:60]!r}."
        )


def _chain(before: Sequence[str], *, fresh: bool) -> Sequence[str]:
    check_tasks(before)
    if not fresh:
        return before
    return (NO_CACHE, *(task for task in before if not task.startswith("cache=")))


def _upload_tags(tags: Mapping[str, str]) -> dict[str, str]:
    fits = len(tags) <= MAX_UPLOAD_TAGS and all(
        isinstance(value, str)
        and 0 < len(key) <= MAX_UPLOAD_TAG_KEY
        and len(value) <= MAX_UPLOAD_TAG_VALUE
        for key, value in tags.items()
    )
    if not fits:
        raise ValueError(
            f"Upload tags are at most {MAX_UPLOAD_TAGS} pairs of text: keys of 1 to "
            f"{MAX_UPLOAD_TAG_KEY}, values of at most {MAX_UPLOAD_TAG_VALUE} characters."
        )
    return dict(tags)


def _hidden(parsed: _Stored, secrets: Secrets) -> _Stored:
    return replace(parsed, raw=secrets.hide(parsed.raw))


def _deleted(reply: Reply) -> None:
    # The body of a successful delete is not documented, so only a rejection is recognized.
    check_not_refused(reply)


def _content(reply: Reply) -> bytes:
    check_not_refused(reply)
    return reply.content
