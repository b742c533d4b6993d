"""Parse a processing URL: ``[APIKEY/]task=option:value,…/…/SOURCE`` (docs: Processing API).

The ``security`` segment may be anywhere before the source: every SDK puts it elsewhere. An external
URL may be written raw, in double quotes (filestack-js), percent-encoded as a whole, or as
``b64://`` and base64url.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote, unquote, urlsplit

Value = str | list[str] | dict[str, str]
UploadTags = dict[str, str] | list[str]
"""An object, or filestack-go's list of texts."""

TASKS = frozenset(
    [
        "blackwhite",
        "cache",
        "caption",
        "crop",
        "flip",
        "flop",
        "metadata",
        "monochrome",
        "no_metadata",
        "output",
        "quality",
        "resize",
        "rotate",
        "run_workflow",
        "security",
        "sfw",
        "store",
        "tags",
        "workflow_status",
    ]
)
"""Tasks that are never interpreted as an API key or a handle."""

WITHOUT_SOURCE = frozenset({"workflow_status"})

_QUOTE = r'(?:"|%22)'
_SEGMENT = re.compile(rf"(?:{_QUOTE}.*?{_QUOTE}|[^/])*", re.IGNORECASE)
_SCHEME = re.compile(
    rf"{_QUOTE}?(?:https?|src|b64|wf)(?::|%3A)(?:/|%2F)(?:/|%2F)?", re.IGNORECASE
)
_WHOLLY_ENCODED = re.compile(r"[a-z0-9]+%3A%2F", re.IGNORECASE)
_HANDLE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OPTION = re.compile(r'(?:"[^"]*"|\[[^\]]*\]|[^,])+')
_ALIAS = re.compile(r"src://([^/]+)/(.+)")


class Unreadable(ValueError):
    """The URL does not follow the grammar; the message says where."""


@dataclass(frozen=True)
class Task:
    """One task and its options, by name as written; short names stay short."""

    name: str
    options: Mapping[str, Value] = field(default_factory=dict, repr=False)

    def text(self, *names: str) -> str | None:
        """Return the first option present among ``names`` (long and short form) as text."""
        for name in names:
            value = self.options.get(name)
            if isinstance(value, str):
                return value
        return None

    def texts(self, name: str) -> list[str]:
        """Return a list option; one value counts as a list of one."""
        value = self.options.get(name, [])
        return [value] if isinstance(value, str) else list(value)


@dataclass(frozen=True)
class Source:
    """The input of a call: a handle, an external URL, or ``ALIAS/PATH``."""

    kind: Literal["handle", "url", "alias", "workflow_file"]
    reference: str

    def __str__(self) -> str:
        return f"src://{self.reference}" if self.kind == "alias" else self.reference


@dataclass(frozen=True)
class Call:
    """A parsed processing URL."""

    api_key: str | None
    tasks: tuple[Task, ...]
    source: Source | None
    upload_tags: UploadTags | None = None
    """Upload tags of the file that ``/process`` stores; they are not an option of a task."""

    @property
    def security(self) -> tuple[str, str] | None:
        """Policy and signature of the ``security`` task, wherever it was."""
        for task in self.tasks:
            if task.name == "security":
                policy, signature = task.text("policy", "p"), task.text("signature", "s")
                return policy or "", signature or ""
        return None

    @property
    def work(self) -> tuple[Task, ...]:
        """The tasks that do something, in order."""
        return tuple(task for task in self.tasks if task.name not in {"security", "cache"})


def parse(path: str, query_string: str = "", *, encoded: bool = True) -> Call:
    """Parse a processing URL's path.

    Args:
        path: as sent (``encoded``), or decoded once by a gateway that keeps no raw path. A decoded
            path cannot be parsed exactly if a raw external URL contains ``%``.
        query_string: belongs to a raw external URL, because that is where a client's own ``?x=1``
            ends up.

    Raises:
        Unreadable: the path does not follow the grammar.
    """
    segments, source_text = _split(path.removeprefix("/"))
    decode = unquote if encoded else str
    source: Source | None = None
    if source_text:
        source = _external(source_text, query_string, encoded=encoded)
    elif segments[-1:] == ["metadata"]:
        # The CDN's /HANDLE/metadata is the task written behind its source.
        segments = [*segments[:-2], "metadata", *segments[-2:-1]]
    last_is_task = not segments or "=" in segments[-1] or segments[-1] in TASKS
    if source is None and not last_is_task:
        source = _handle(decode(segments.pop()))
    api_key = None
    if segments and "=" not in segments[0] and segments[0] not in TASKS | {"b64"}:
        api_key = segments.pop(0)
    tasks = _tasks([decode(segment) for segment in segments])
    if source is None and not any(task.name in WITHOUT_SOURCE for task in tasks):
        raise Unreadable("there is no source: a handle, URL or src://alias/path comes last")
    return Call(api_key, tasks, source)


def parse_source(text: str) -> Source:
    """Parse a source from ``/process``, where nothing is encoded."""
    return _external(text, "", encoded=False) if "://" in text else _handle(text)


def _split(rest: str) -> tuple[list[str], str]:
    segments: list[str] = []
    while rest:
        if _SCHEME.match(rest):
            return segments, rest
        match = _SEGMENT.match(rest)
        segment = match[0] if match else ""
        segments.append(segment)
        rest = rest[len(segment) + 1 :]
    return segments, ""


def _external(text: str, query_string: str, *, encoded: bool) -> Source:
    opening = re.match(_QUOTE if encoded else '"', text)
    bare = text.removeprefix(opening[0]) if opening else text
    whole = encoded and _WHOLLY_ENCODED.match(bare) is not None
    if query_string and not whole:
        bare = f"{bare}?{query_string}"
    if opening:
        bare = re.sub(rf"{_QUOTE}$", "", bare)
    reference = unquote(bare) if whole else bare
    scheme = reference.partition(":")[0].lower()
    if scheme == "b64":
        return parse_source(_from_base64(reference.partition("://")[2]))
    if scheme == "wf":
        return Source("workflow_file", reference)
    if scheme == "src":
        match = _ALIAS.fullmatch(unquote(reference) if encoded and not whole else reference)
        if match is None:
            raise Unreadable("a storage alias is written src://ALIAS/PATH")
        return Source("alias", f"{match[1]}/{match[2]}")
    # Some proxies and clients merge the two slashes of a URL inside a path.
    reference = re.sub(r"^(https?):/+", r"\1://", reference, flags=re.IGNORECASE)
    try:
        host = urlsplit(reference).hostname
    except ValueError as err:
        raise Unreadable("the external URL cannot be read") from err
    if not host:
        raise Unreadable("the external URL has no host")
    return Source("url", quote(reference, safe="%/:?#[]@!$&'()*+,;=~"))


def _from_base64(text: str) -> str:
    bare = unquote(text).rstrip("=")
    try:
        padded = bare + "=" * (-len(bare) % 4)
        return base64.b64decode(padded, b"-_", validate=True).decode()
    except ValueError as err:
        raise Unreadable("the part after b64 is not base64url") from err


def _handle(text: str) -> Source:
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    if not _HANDLE.fullmatch(text):
        raise Unreadable("a handle is 1–64 letters, digits, - and _")
    return Source("handle", text)


def _tasks(segments: list[str]) -> tuple[Task, ...]:
    tasks: list[Task] = []
    rest = iter(segments)
    for segment in rest:
        if segment == "b64":
            tasks.extend(tasks_from_json(_json(_from_base64(next(rest, "")))))
        elif segment:
            tasks.append(_task(segment))
    return tuple(tasks)


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as err:
        raise Unreadable("the tasks after b64 are not JSON") from err


def tasks_from_json(value: object) -> list[Task]:
    """Parse ``[{"name": …, "params": {…}}, …]``, the format of tasks in ``/process`` and ``/b64/``.

    filestack-go writes the keys ``Name`` and ``Params``.

    Raises:
        Unreadable: anything else.
    """
    if not isinstance(value, list):
        raise Unreadable("tasks are a list")
    tasks = []
    for item in value:
        name = item.get("name", item.get("Name")) if isinstance(item, dict) else None
        if not isinstance(name, str):
            raise Unreadable("a task is an object with a name")
        params = item.get("params", item.get("Params")) or {}
        if not isinstance(params, dict):
            raise Unreadable("a task's params are an object")
        tasks.append(Task(name, {option: _value(raw) for option, raw in params.items()}))
    return tasks


def _value(raw: Any) -> Value:
    if isinstance(raw, list):
        # Workflows are ids or {"id": …}; both have been documented.
        return [str(item.get("id", "") if isinstance(item, dict) else item) for item in raw]
    if isinstance(raw, dict):
        return {str(key): str(value) for key, value in raw.items()}
    return str(raw).lower() if isinstance(raw, bool) else str(raw)


def _task(segment: str) -> Task:
    name, separator, written = segment.partition("=")
    options: dict[str, Value] = {}
    if segment == "cache=false":  # the one option without a name
        return Task(name, {"false": "true"})
    for option in _OPTION.findall(written) if separator else ():
        key, colon, value = option.partition(":")
        if not colon or not key:
            raise Unreadable(f"an option of {name} is not written name:value")
        options[key] = _option_value(value)
    return Task(name, options)


def _option_value(text: str) -> Value:
    if text.startswith("[") and text.endswith("]"):
        return [item.strip().strip('"') for item in text[1:-1].split(",") if item.strip()]
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
