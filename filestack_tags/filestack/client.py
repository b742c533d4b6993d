"""The two clients, blocking and asynchronous: the only module that uses HTTP."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack
from urllib.parse import urlsplit

import httpx2

from filestack_tags.exceptions import ConfigurationError, ConnectionFailed, FilestackTagsError

from .calls import API_URL, CDN_URL, Calls
from .deadline import Deadline, bounded, timeouts
from .errors import Reply
from .exchange import Call
from .options import Options, configured
from .payloads import FileMetadata, StoredFile, TagsReply, WorkflowJob
from .sources import Source
from .storage import DEFAULT, Storage

T = TypeVar("T")

USER_AGENT = "django-filestack-tags"

# Callers limit their concurrency. Each call has a connection, which is kept for the next one.
_LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=None)

_POOLS = 8
"""Calls alternate between pools, because a pool inspects all its connections for each call."""

# InvalidURL and StreamError are not subclasses of HTTPError.
_HTTP_ERRORS = (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError)


class _HideSignedURLs(logging.Filter):
    """Shorten signed URLs to their host in the HTTP library's log of requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                f"{arg.scheme}://{arg.host}/[hidden]" if isinstance(arg, httpx2.URL) else arg
                for arg in record.args
            )
        return True


_HIDE_SIGNED_URLS = _HideSignedURLs()


def hide_urls() -> None:
    """Make the HTTP library log only the host of each request: URLs contain signatures and more."""
    logging.getLogger("httpx2").addFilter(_HIDE_SIGNED_URLS)


class _Client:
    """The shared part of both clients: configuration and errors."""

    def __init__(
        self,
        *,
        api_key: str = "",
        app_secret: str,
        cdn_url: str = CDN_URL,
        api_url: str = API_URL,
        connect_timeout: float = 10,
        read_timeout: float = 60,
        policy_expiry: int = 300,
        storage: Storage = DEFAULT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._calls = Calls(
            api_key=api_key,
            app_secret=app_secret,
            cdn_url=cdn_url,
            api_url=api_url,
            policy_expiry=policy_expiry,
            storage=storage,
            clock=clock,
        )
        self._clock = clock
        self._connect_timeout = connect_timeout
        self._longest = connect_timeout + read_timeout
        self._timeout = httpx2.Timeout(read_timeout, connect=connect_timeout)
        # Adding the same filter again has no effect.
        hide_urls()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"

    def _longest_of(self, call: Call[Any]) -> float:
        return self._longest if call.timeout is None else call.timeout


def _failure(error: Exception, call: Call[Any]) -> FilestackTagsError:
    """Convert an exception of the HTTP library to ours, without the signed URL in it."""
    host = urlsplit(call.url).hostname or ""
    if isinstance(error, (httpx2.InvalidURL, httpx2.UnsupportedProtocol)):
        return ConfigurationError(
            "FILESTACK_TAGS['CDN_URL'] and ['API_URL'] must be http or https URLs; "
            f"{call.name} could not be sent."
        )
    if isinstance(error, (httpx2.TimeoutException, TimeoutError)):
        return ConnectionFailed(f"{host} did not respond to {call.name} in time.")
    reason = call.secrets.hide(str(error)) if isinstance(error, httpx2.ConnectError) else ""
    return ConnectionFailed(
        f"The connection to {host} failed during {call.name}: {reason or type(error).__name__}."
    )


def _reply(response: httpx2.Response, content: bytearray) -> Reply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status_code, bytes(content), headers)


class FilestackClient(_Client):
    """A blocking client for Filestack; safe to share between threads, reuses connections.

    Args:
        api_key: the app's API key; needed for URLs, alias paths, uploads, deletes and the status of
            workflow jobs.
        app_secret: the app's secret; every call is signed.
        cdn_url: where tasks are sent.
        api_url: where files are stored, described and deleted.
        connect_timeout: seconds to resolve the name, connect and start TLS.
        read_timeout: seconds for the rest. A call ends ``connect_timeout + read_timeout`` seconds
            after it began, even while a file or a reply is still being transferred.
        policy_expiry: seconds each signed policy stays valid.
        storage: where :meth:`store_url` and :meth:`store_bytes` store files.
        transport: an ``httpx2`` transport, such as ``httpx2.WSGITransport(emulator)``; ``None`` for
            the network.
        clock: returns unix seconds.

    Every method makes one request and retries nothing. Redirects are not followed, because the
    responding server chooses their target.

    Raises:
        ConfigurationError: without ``app_secret``, or without ``api_key`` if it is needed.
        FilestackError: the subclass says what happened, and whether a retry can help.
        InvalidReference: when a handle, URL or id is invalid; nothing is sent.
    """

    def __init__(
        self, *, transport: httpx2.BaseTransport | None = None, **options: Unpack[Options]
    ) -> None:
        super().__init__(**options)
        # Loading them is slow, and a custom transport needs none.
        certificates = True if transport else httpx2.create_ssl_context()
        # Not one transport that chooses: with a custom transport, the environment's proxies are
        # ignored.
        self._clients = [
            bounded(
                httpx2.Client(
                    transport=transport,
                    timeout=self._timeout,
                    limits=_LIMITS,
                    verify=certificates,
                    follow_redirects=False,
                    headers={"User-Agent": USER_AGENT},
                )
            )
            for _ in range(1 if transport else _POOLS)
        ]
        self._turns = cycle(self._clients)

    @classmethod
    def from_settings(cls, transport: httpx2.BaseTransport | None = None) -> Self:
        """Return a client configured from the current ``FILESTACK_TAGS``."""
        return cls(transport=transport, **configured())

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def tags(
        self,
        source: Source,
        *,
        before: Sequence[str] = (),
        version: int | None = None,
        fresh: bool = False,
    ) -> TagsReply:
        """Tag ``source``; see :meth:`Calls.tags`."""
        return self._send(self._calls.tags(source, before=before, version=version, fresh=fresh))

    def run_workflow(self, workflow_id: str, source: Source) -> WorkflowJob:
        """Start a workflow on ``source``; the job's ``job_id`` is never ``None``."""
        return self._send(self._calls.run_workflow(workflow_id, source))

    def workflow_status(self, job_id: str) -> WorkflowJob:
        """Return the state of a workflow job. Filestack keeps results 48 hours."""
        return self._send(self._calls.workflow_status(job_id))

    def store_url(
        self,
        url: str,
        *,
        filename: str | None = None,
        upload_tags: Mapping[str, str] | None = None,
        workflows: Iterable[str] = (),
    ) -> StoredFile:
        """Let Filestack fetch and store ``url``. Not idempotent. See :meth:`Calls.store_url`."""
        return self._send(
            self._calls.store_url(
                url, filename=filename, upload_tags=upload_tags, workflows=workflows
            )
        )

    def store_bytes(self, data: bytes, *, filename: str, mimetype: str) -> StoredFile:
        """Store ``data`` as a file. Not idempotent: each call stores another one."""
        return self._send(self._calls.store_bytes(data, filename=filename, mimetype=mimetype))

    def metadata(self, handle: str, *, timeout: float | None = None) -> FileMetadata:
        """Return the metadata of a stored file, without its tags; see :meth:`Calls.metadata`."""
        return self._send(self._calls.metadata(handle, timeout=timeout))

    def delete(self, handle: str) -> None:
        """Delete a stored file, from storage too. Deleting twice raises ``FileNotFound``."""
        self._send(self._calls.delete(handle))

    def download(
        self,
        source: Source,
        *,
        max_bytes: int,
        before: Sequence[str] = (),
        fresh: bool = False,
        timeout: float | None = None,
    ) -> bytes:
        """Return the file, or the result of the tasks ``before``; see :meth:`Calls.download`.

        Raises ``RequestRejected`` beyond ``max_bytes``.
        """
        return self._send(
            self._calls.download(
                source, max_bytes=max_bytes, before=before, fresh=fresh, timeout=timeout
            )
        )

    def _send(self, call: Call[T]) -> T:
        try:
            return call.result(self._receive(call), self._clock())
        except _HTTP_ERRORS as error:
            failure = _failure(error, call)
        # Raised here: the library's exception contains the request with its signed URL.
        raise failure

    def _receive(self, call: Call[Any]) -> Reply:
        content = bytearray()
        longest = self._longest_of(call)
        connect = min(longest, self._connect_timeout)
        with next(self._turns).stream(
            call.method,
            call.url,
            params=call.params,
            headers=call.headers,
            content=call.content,
            extensions=timeouts(Deadline(longest), Deadline(connect)),
        ) as response:
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > call.longest(response.status_code):
                    raise call.too_large()
            return _reply(response, content)


class AsyncFilestackClient(_Client):
    """:class:`FilestackClient` with the same methods, awaited; many concurrent calls in one task.

    ``transport`` is an asynchronous ``httpx2`` transport.
    """

    def __init__(
        self, *, transport: httpx2.AsyncBaseTransport | None = None, **options: Unpack[Options]
    ) -> None:
        super().__init__(**options)
        # Loading them is slow, and a custom transport needs none.
        certificates = True if transport else httpx2.create_ssl_context()
        # Not one transport that chooses: with a custom transport, the environment's proxies are
        # ignored.
        self._clients = [
            httpx2.AsyncClient(
                transport=transport,
                timeout=self._timeout,
                limits=_LIMITS,
                verify=certificates,
                follow_redirects=False,
                headers={"User-Agent": USER_AGENT},
            )
            for _ in range(1 if transport else _POOLS)
        ]
        self._turns = cycle(self._clients)

    @classmethod
    def from_settings(cls, transport: httpx2.AsyncBaseTransport | None = None) -> Self:
        """Return a client configured from the current ``FILESTACK_TAGS``."""
        return cls(transport=transport, **configured())

    async def aclose(self) -> None:
        """Close the connections."""
        for client in self._clients:
            await client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def tags(
        self,
        source: Source,
        *,
        before: Sequence[str] = (),
        version: int | None = None,
        fresh: bool = False,
    ) -> TagsReply:
        """See :meth:`FilestackClient.tags`."""
        return await self._send(
            self._calls.tags(source, before=before, version=version, fresh=fresh)
        )

    async def run_workflow(self, workflow_id: str, source: Source) -> WorkflowJob:
        """See :meth:`FilestackClient.run_workflow`."""
        return await self._send(self._calls.run_workflow(workflow_id, source))

    async def workflow_status(self, job_id: str) -> WorkflowJob:
        """See :meth:`FilestackClient.workflow_status`."""
        return await self._send(self._calls.workflow_status(job_id))

    async def store_url(
        self,
        url: str,
        *,
        filename: str | None = None,
        upload_tags: Mapping[str, str] | None = None,
        workflows: Iterable[str] = (),
    ) -> StoredFile:
        """See :meth:`FilestackClient.store_url`."""
        return await self._send(
            self._calls.store_url(
                url, filename=filename, upload_tags=upload_tags, workflows=workflows
            )
        )

    async def store_bytes(self, data: bytes, *, filename: str, mimetype: str) -> StoredFile:
        """See :meth:`FilestackClient.store_bytes`."""
        return await self._send(
            self._calls.store_bytes(data, filename=filename, mimetype=mimetype)
        )

    async def metadata(self, handle: str, *, timeout: float | None = None) -> FileMetadata:
        """See :meth:`FilestackClient.metadata`."""
        return await self._send(self._calls.metadata(handle, timeout=timeout))

    async def delete(self, handle: str) -> None:
        """See :meth:`FilestackClient.delete`."""
        await self._send(self._calls.delete(handle))

    async def download(
        self,
        source: Source,
        *,
        max_bytes: int,
        before: Sequence[str] = (),
        fresh: bool = False,
        timeout: float | None = None,
    ) -> bytes:
        """See :meth:`FilestackClient.download`."""
        return await self._send(
            self._calls.download(
                source, max_bytes=max_bytes, before=before, fresh=fresh, timeout=timeout
            )
        )

    async def _send(self, call: Call[T]) -> T:
        try:
            async with asyncio.timeout(self._longest_of(call)):
                reply = await self._receive(call)
            return call.result(reply, self._clock())
        except (*_HTTP_ERRORS, TimeoutError) as error:
            failure = _failure(error, call)
        raise failure  # here, for the reason given in FilestackClient._send

    async def _receive(self, call: Call[Any]) -> Reply:
        content = bytearray()
        async with next(self._turns).stream(
            call.method,
            call.url,
            params=call.params,
            headers=call.headers,
            content=call.content,
        ) as response:
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > call.longest(response.status_code):
                    raise call.too_large()
            return _reply(response, content)
