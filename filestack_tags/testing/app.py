"""The emulator as a WSGI app: every Filestack host behind one address."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from http import HTTPMethod
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from . import wire
from .access import Access
from .cache import Cache
from .config import EmulatorConfig
from .control import CONTROL, Control
from .faults import ANSWER_FAULTS, INSTEAD, Fault, Faults, answer_instead, used_up
from .files import Files
from .grammar import Source
from .pictures import Eye
from .policies import Wanted
from .processing import Processing, operation
from .store import Database, Store
from .uploads import Uploads
from .webhooks import Webhooks
from .wire import Dropped, Refused, Reply, Request, json_reply
from .workflows import Workflows

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

DROP = "filestack_tags.testing.drop"
"""WSGI environ key of a function that cuts the connection; set by the server."""

REQUESTS_KEPT = 1000
_FILE = re.compile(r"/api/file/([A-Za-z0-9_-]{1,64})(/metadata)?")
_BYTES = re.compile(r"/multipart/bytes/([0-9a-f]{32})/(\d+)/(\d+)")
_STORE = re.compile(r"/api/store/([A-Za-z0-9]+)")
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag",
}
PREFLIGHT = {
    **CORS,
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
    "Access-Control-Allow-Headers": (
        "Content-Type, Filestack-Source, Filestack-Trace-Id, Filestack-Trace-Span, "
        "Filestack-Upload-Region, Authorization, Content-MD5, x-amz-content-sha256, x-amz-date"
    ),
}

Handler = Callable[[], Reply]


class EmulatorApp:
    """A local Filestack account, as a WSGI app.

    Serve it with :class:`~filestack_tags.testing.server.EmulatorServer`, or pass it to an HTTP
    client with WSGI support: ``httpx2.WSGITransport(app=EmulatorApp())`` needs no socket. Close it,
    or use it as a context manager.

    Attributes:
        config: its configuration.
        faults: faults to inject.
        files, workflows, webhooks: its state.
        requests: operation and status of the last 1000 calls, the oldest first.
    """

    def __init__(self, config: EmulatorConfig | None = None) -> None:
        self.config = config or EmulatorConfig()
        account = self.config.account
        self.faults = Faults(self.config.seed)
        self._database = Database(self.config.directory)
        self.store = Store(self._database)
        self.webhooks = Webhooks(self.config, self._database, self.faults)
        eye = Eye(self.config.tagger, self.config.unsafe_labels)
        cache = Cache(self._database)
        self.files = Files(account, self.store, self.webhooks, cache)
        self.workflows = Workflows(
            self.config, self._database, self.faults, self.webhooks, eye, self.files.read
        )
        self._access = Access(account)
        self._processing = Processing(
            self._access,
            self.files,
            self.workflows,
            eye,
            cache if self.config.cdn_cache else None,
        )
        self._uploads = Uploads(self._access, self.files, self.store, self.workflows)
        self._control = Control(self.faults, self.store, self.webhooks)
        self.requests: deque[tuple[str, int]] = deque(maxlen=REQUESTS_KEPT)
        if self.config.background and self._database.shared:
            # Work that an earlier process left in the directory.
            self.workflows.worker.wake()
            self.webhooks.worker.wake()

    def __enter__(self) -> EmulatorApp:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the threads and close the store. In-memory data is lost."""
        self.workflows.worker.stop()
        self.webhooks.worker.stop()
        self._database.close()

    def run_due(self) -> int:
        """Run every job and delivery that is due, in this thread; return how many there were."""
        done = 0
        while self.workflows.run_next() or self.webhooks.deliver_next():
            done += 1
        return done

    def wait_idle(self, timeout: float = 10.0) -> bool:
        """Wait until every job has ended and every event was delivered, has failed or was dropped.

        Returns whether that happened within ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while self.workflows.pending() or self.webhooks.pending():
            if time.monotonic() > deadline:
                return False
            if not self.config.background:
                self.run_due()
            time.sleep(0.005)
        return True

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer one request."""
        try:
            reply = self._answer(environ)
        except Dropped:
            cut = environ.get(DROP)
            if cut is None:
                raise
            cut()
            return []
        headers = [
            ("Content-Type", reply.content_type),
            ("Content-Length", str(len(reply.body))),
            *reply.headers.items(),
        ]
        start_response(reply.status_line, headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else reply.body]

    def _answer(self, environ: WSGIEnvironment) -> Reply:
        try:
            request = _request(environ, self.config.max_body)
        except Refused as err:
            return err.reply
        if request.path.startswith(CONTROL):
            return self._control.answer(request, environ.get("REMOTE_ADDR", ""))
        if request.method == HTTPMethod.OPTIONS:
            return Reply(204, headers=PREFLIGHT)
        name = "unreadable"
        try:
            name, handler = self._route(request)
            reply = self._with_faults(name, handler)
        except Refused as err:
            reply = err.reply
            if err.reason:
                reason = quote(err.reason, safe=" '():,;=/{}[]|&.-_–").replace("–", "-")
                reply = replace(reply, headers={**reply.headers, wire.REASON_HEADER: reason})
        self.requests.append((name, reply.status))
        return replace(reply, headers={**CORS, **reply.headers})

    def _with_faults(self, name: str, handler: Handler) -> Reply:
        fault = self.faults.draw(name, ANSWER_FAULTS.keys())
        if fault is None:
            return handler()
        if fault.kind in INSTEAD:
            return answer_instead(fault)
        return _spoil(fault, handler)

    def _route(self, request: Request) -> tuple[str, Handler]:
        method, path = request.method, request.path
        uploads: dict[str, Callable[[Request], Reply]] = {
            "start": self._uploads.start,
            "upload": self._uploads.part,
            "commit": self._uploads.commit,
            "complete": self._uploads.complete,
        }
        step = path.removeprefix("/multipart/")
        if method == HTTPMethod.POST and path.startswith("/multipart/") and step in uploads:
            return f"multipart.{step}", lambda: uploads[step](request)
        if method == HTTPMethod.PUT and (match := _BYTES.fullmatch(path)):
            upload_id, part, start = match[1], int(match[2]), int(match[3])
            return "multipart.bytes", lambda: self._uploads.put(request, upload_id, part, start)
        if method == HTTPMethod.POST and path == "/prefetch":
            return "prefetch", lambda: self._uploads.prefetch(request)
        if method == HTTPMethod.POST and path == "/process":
            call = self._processing.read_process(request)
            name = operation(call)
            return name, lambda: self._processing.answer_process(call, request)
        if method == HTTPMethod.POST and (match := _STORE.fullmatch(path)):
            location = match[1]
            return "store", lambda: self._uploads.store(request, location)
        if match := _FILE.fullmatch(path):
            return self._route_file(request, match[1], metadata=match[2] is not None)
        if method not in {HTTPMethod.GET, HTTPMethod.HEAD, HTTPMethod.POST}:
            raise wire.task_error("Method not allowed", 405)
        call = self._processing.read(request)
        return operation(call), lambda: self._processing.answer(call, request)

    def _route_file(
        self, request: Request, handle: str, *, metadata: bool
    ) -> tuple[str, Handler]:
        source = Source("handle", handle)
        if request.method == HTTPMethod.GET and metadata:
            return "metadata", lambda: self._metadata(request, source)
        if request.method in {HTTPMethod.GET, HTTPMethod.HEAD} and not metadata:
            return "file", lambda: self._download(request, source)
        if request.method in {HTTPMethod.POST, HTTPMethod.PUT} and not metadata:
            return "overwrite", lambda: self._uploads.overwrite(request, handle)
        if request.method == HTTPMethod.DELETE and not metadata:
            return "delete", lambda: self._delete(request, handle)
        raise wire.task_error("Method not allowed", 405)

    def _metadata(self, request: Request, source: Source) -> Reply:
        self._access.file_api(request, Wanted("stat", handle=source.reference))
        return json_reply(self.files.metadata(source, request.query))

    def _download(self, request: Request, source: Source) -> Reply:
        self._access.file_api(request, Wanted("read", handle=source.reference))
        content, mimetype, _ = self.files.read(source)
        return Reply(200, content, mimetype, {"X-Content-Type-Options": "nosniff"})

    def _delete(self, request: Request, handle: str) -> Reply:
        self._access.key(request.query.get("key"))
        self._access.file_api(request, Wanted("remove", handle=handle))
        self.files.delete(handle, base_url=request.base_url)
        return json_reply({"success": True})


def _spoil(fault: Fault, handler: Handler) -> Reply:
    if fault.kind == "slow":
        answers_at = time.monotonic() + fault.seconds
        reply = handler()
        time.sleep(max(answers_at - time.monotonic(), 0))
        return reply
    reply = handler()
    if fault.kind == "last_call":
        return replace(reply, headers={**reply.headers, **used_up(fault)})
    if fault.kind == "lost_reply":
        raise Dropped("the reply was lost on purpose")
    return replace(reply, body=reply.body[: len(reply.body) // 2])


def _request(environ: WSGIEnvironment, max_body: int) -> Request:
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        raise wire.task_error("Bad Content-Length") from None
    if length > max_body:
        raise wire.task_error("The request is too large", 413)
    path, query_string, encoded = _path(environ)
    headers: dict[str, Any] = {
        name[5:].replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    headers["content-type"] = environ.get("CONTENT_TYPE", "")
    host = headers.get("host") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    return Request(
        method=environ["REQUEST_METHOD"],
        path=path,
        encoded=encoded,
        query_string=query_string,
        headers=headers,
        body=environ["wsgi.input"].read(length) if length else b"",
        base_url=f"{environ['wsgi.url_scheme']}://{host}",
    )


def _path(environ: WSGIEnvironment) -> tuple[str, str, bool]:
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    if raw:
        # An absolute request target (RFC 9112 3.2.2) still starts with our own address.
        target = re.sub(r"^https?://[^/]+(?=/)", "", raw) if not raw.startswith("/") else raw
        path, _, query_string = target.partition("?")
        return path, query_string, True
    decoded = environ.get("PATH_INFO", "")
    with suppress(UnicodeError):
        # WSGI passes bytes as latin-1 text (PEP 3333); httpx2 passes the text itself.
        decoded = decoded.encode("latin-1").decode("utf-8")
    return decoded, environ.get("QUERY_STRING", ""), False
