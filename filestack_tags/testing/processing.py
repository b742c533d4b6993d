"""Answer processing URLs and ``POST /process`` (docs: Processing API)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from . import grammar, pictures, wire
from .access import Access, Credentials, credentials_in
from .cache import Cache
from .files import Files, check_upload_tags
from .grammar import Call, Source, Task, UploadTags
from .pictures import Eye
from .policies import Wanted
from .store import StoredFile
from .wire import Reply, Request, invalid_parameter, json_reply
from .workflows import Workflows

LOOKS = frozenset({"tags", "sfw", "caption"})
ENDS = LOOKS | {"store", "run_workflow", "workflow_status", "metadata"}
CALLS = {
    "file": "read",
    "metadata": "stat",
    "run_workflow": "runWorkflow",
    "workflow_status": "runWorkflow",
}
"""What a policy must allow, by operation; ``convert`` for all others (docs: Security policies)."""


class Gate(Protocol):
    """The check of one host: the CDN and ``/process`` use different error texts."""

    def __call__(
        self, credentials: Credentials | None, wanted: Wanted, *, always: bool = False
    ) -> None: ...


class Processing:
    """The CDN: tasks on sources."""

    def __init__(
        self,
        access: Access,
        files: Files,
        workflows: Workflows,
        eye: Eye,
        cache: Cache | None = None,
    ) -> None:
        self._access = access
        self._cache = cache
        self._files = files
        self._workflows = workflows
        self._eye = eye

    def read(self, request: Request) -> Call:
        """Parse a URL. Raises Refused (400)."""
        try:
            return grammar.parse(request.path, request.query_string, encoded=request.encoded)
        except grammar.Unreadable as err:
            raise invalid_parameter(str(err)) from err

    def read_process(self, request: Request) -> Call:
        """Parse ``POST /process``. Raises Refused (400)."""
        try:
            body = request.json()
            sources = body.get("sources")
            if not isinstance(sources, list) or len(sources) != 1:
                raise invalid_parameter("sources is a list of one source")
            raw = sources[0].get("source") if isinstance(sources[0], dict) else sources[0]
            tasks = tuple(grammar.tasks_from_json(body.get("tasks") or []))
            key = body.get("apikey") or body.get("apiKey")
            upload_tags = check_upload_tags(body.get("upload_tags"))
            return Call(str(key), tasks, grammar.parse_source(str(raw)), upload_tags)
        except ValueError as err:
            raise invalid_parameter(str(err)) from err

    def answer(self, call: Call, request: Request) -> Reply:
        """Answer a processing URL."""
        if call.api_key is not None or call.source is None or call.source.kind != "handle":
            self._access.key(call.api_key)
        credentials = call.security
        if credentials is None and operation(call) in {"file", "metadata"}:
            credentials = credentials_in(request.query)
        return self._do(call, credentials, self._access.cdn, request)

    def _cached(self, call: Call) -> Cache | None:
        """Return the cache if it may have the answer to this URL."""
        is_alias = call.source is not None and call.source.kind == "alias"
        if operation(call) in LOOKS | {"convert"} or (operation(call) == "file" and is_alias):
            return self._cache
        return None

    def answer_process(self, call: Call, request: Request) -> Reply:
        """Answer ``POST /process``; an unknown key is reported with status 200."""
        self._access.key(call.api_key, status=200)
        return self._do(call, call.security, self._access.process, request)

    def _do(
        self, call: Call, credentials: Credentials | None, gate: Gate, request: Request
    ) -> Reply:
        name = operation(call)
        needs_policy = any(task.name == "tags" for task in call.work)
        gate(credentials, _facts(name, call), always=needs_policy)
        if name == "store" and len(call.work) > 1 and call.work[0].name != "store":
            gate(credentials, _facts("convert", call))
        if name == "workflow_status":
            return json_reply(self._workflows.status(_needed(call.work[-1], "job_id")))
        source = call.source
        if source is None:
            raise invalid_parameter("there is no source")
        if name == "run_workflow":
            workflow_id = _needed(call.work[-1], "id")
            if source.kind == "handle":
                self._files.get(source.reference)
            return json_reply(self._workflows.run(workflow_id, source))
        if name == "metadata":
            if source.kind != "handle":
                raise invalid_parameter("metadata needs a handle")
            return json_reply(self._files.metadata(source, request.query))
        cache = self._cached(call) if gate == self._access.cdn else None
        reply = cache.get(call) if cache else None
        if reply is None:
            reply = self._look_or_change(name, call, source, credentials, gate, request)
            if cache:
                cache.put(call, reply)
        return reply

    def _look_or_change(
        self,
        name: str,
        call: Call,
        source: Source,
        credentials: Credentials | None,
        gate: Gate,
        request: Request,
    ) -> Reply:
        changes = [task for task in call.work if task.name not in ENDS]
        endings = [task for task in call.work if task.name in ENDS]
        if call.work[len(changes) :] != tuple(endings):
            raise wire.task_error("Unsupported conversion", reason=f"{name} comes last")
        kinds = {task.name for task in endings}
        if not (kinds <= LOOKS or kinds == {"store"}):
            raise wire.task_error("Unsupported conversion", reason="these do not go together")
        content, mimetype, filename = self._files.read(source)
        for task in endings:
            if task.name == "tags":
                _check_version(task)
        if changes:
            content = pictures.transform(content, changes)
            mimetype = pictures.sniff(content) or mimetype
            filename = pictures.file_name(filename, mimetype)
            self._files.converted(
                call, content, filename=filename, mimetype=mimetype, base_url=request.base_url
            )
        if name in LOOKS:
            answer: dict[str, Any] = {}
            for task in endings:
                answer |= self._eye.answer(task.name, content)
            return json_reply(answer)
        if name == "store":
            gate(credentials, _facts("store", call, size=len(content)))
            return self._store(endings, call.upload_tags, content, mimetype, filename, request)
        headers = {"X-File-Name": filename, "X-Content-Type-Options": "nosniff"}
        if not filename.isascii() or not filename.isprintable():
            del headers["X-File-Name"]
        return Reply(200, content, mimetype, headers)

    def _store(
        self,
        tasks: list[Task],
        upload_tags: UploadTags | None,
        content: bytes,
        mimetype: str,
        filename: str,
        request: Request,
    ) -> Reply:
        # filestack-js writes the workflows into a second store task.
        options: dict[str, Any] = {}
        for task in tasks:
            options |= task.options
        workflows = [item for task in tasks for item in task.texts("workflows")]
        self._workflows.check(workflows)
        file = self._files.add(
            content,
            filename=filename,
            mimetype=mimetype,
            options=options,
            base_url=request.base_url,
            upload_tags=upload_tags,
        )
        reply = stored(file, request.base_url)
        if upload_tags:
            reply["upload_tags"] = upload_tags
        if workflows:
            source = Source("handle", file.handle)
            reply["workflows"] = self._workflows.run_all(workflows, source)
        return json_reply(reply)


def operation(call: Call) -> str:
    """Return the name of a call's operation, which faults refer to."""
    names = [task.name for task in call.work]
    for name in reversed(names):
        if name in ENDS:
            return name
    return "convert" if names else "file"


def stored(file: StoredFile, base_url: str) -> dict[str, Any]:
    """Return the reply of a store task."""
    return {
        "container": file.container,
        "filename": file.filename,
        "handle": file.handle,
        "key": file.key,
        "size": file.size,
        "type": file.mimetype,
        "url": f"{base_url}/{file.handle}",
    }


def _facts(name: str, call: Call, *, size: int | None = None) -> Wanted:
    wanted = Wanted(CALLS.get(name, "store" if name == "store" else "convert"), size=size)
    if name == "store":
        stores = [task for task in call.work if task.name == "store"]
        path, container = (
            next((text for task in stores if (text := task.text(option))), "")
            for option in ("path", "container")
        )
        wanted = replace(wanted, path=path, container=container)
    if call.source is None:
        return wanted
    if call.source.kind == "handle":
        return replace(wanted, handle=call.source.reference)
    return replace(wanted, url=str(call.source))


def _needed(task: Task, option: str) -> str:
    value = task.text(option)
    if not value:
        raise invalid_parameter(f"{task.name} needs {option}")
    return value


def _check_version(task: Task) -> None:
    version = task.text("version", "v")
    if version not in {None, "1", "2"}:
        raise invalid_parameter("tags: version is 1 or 2")
