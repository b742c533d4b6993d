"""A webhook body: its envelope, its identity, and its event."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from filestack_tags.exceptions import PayloadError

from .files import FileEvent, read_file_event
from .reading import decode, mapping
from .timestamps import parse_unix
from .workflows import WorkflowJob, read_job

WORKFLOW_ACTION = "fs.workflow"

_ACTION = re.compile(r"[A-Za-z0-9._-]{1,100}")
_WORD = re.compile(r"[A-Za-z0-9._-]{1,80}")


@dataclass(frozen=True)
class Event:
    """The content of one webhook delivery.

    ``key`` is the same for every delivery of the same event, at most 200 ASCII characters.
    ``action`` is Filestack's name for it, ``""`` when it has no valid one. ``id`` is ``""`` without
    envelope. ``timestamp`` is when it happened, not when it was sent.
    """

    key: str
    action: str
    id: str
    timestamp: datetime | None
    text: Mapping[str, Any]
    raw: str = field(default="", repr=False)
    upload_tags: Mapping[str, Any] = field(default_factory=dict)
    """Upload tags next to ``text``. Filestack does not document where a webhook has them."""

    def file(self) -> FileEvent:
        """Return the file of an ``fp.*`` event.

        Raises:
            PayloadError: when it names none.
        """
        return read_file_event(self.text, self.upload_tags)

    def workflow(self, file_hosts: Collection[str] = ()) -> WorkflowJob:
        """Return the job of an ``fs.workflow`` event.

        A source that is a link to a stored file counts as its handle: on Filestack's hosts, and on
        ``file_hosts`` (``host`` or ``host:port``).

        Raises:
            PayloadError: as :func:`~.workflows.parse_job`.
        """
        return read_job(self.text, self.raw, file_hosts)


def parse_event(body: bytes) -> Event:
    """Parse a webhook body: ``{id, action, timestamp, text}`` (docs: Webhooks).

    A workflow job without that envelope, which is sent to a webhook URL set on one workflow, is
    parsed as an ``fs.workflow`` event.

    Raises:
        PayloadError: when the body is not a JSON object.
    """
    payload, raw = decode(body)
    action = _action(payload)
    enveloped = "action" in payload or "workflow" not in payload
    return Event(
        key=_key(payload, action, body),
        action=action,
        id=_word(payload.get("id")) if enveloped else "",
        timestamp=parse_unix(payload.get("timestamp")),
        text=mapping(payload.get("text")) if enveloped else payload,
        raw=raw,
        upload_tags=mapping(payload.get("upload_tags")) if enveloped else {},
    )


def event_key(body: bytes) -> tuple[str, str]:
    """Return the key and action of a webhook body; never raises, whatever the bytes.

    Meant for storing a delivery before it is parsed. An invalid body is identified by its SHA-256
    and has the action ``""``.
    """
    try:
        payload, _ = decode(body)
    except PayloadError:
        return _digest(body), ""
    action = _action(payload)
    return _key(payload, action, body), action


def _action(payload: Mapping[str, Any]) -> str:
    if "action" not in payload and "workflow" in payload and "results" in payload:
        return WORKFLOW_ACTION
    action = payload.get("action")
    return action if isinstance(action, str) and _ACTION.fullmatch(action) else ""


def _key(payload: Mapping[str, Any], action: str, body: bytes) -> str:
    # A body without envelope has no event id: another file may have the same job and status.
    identity = _word(payload.get("id")) if "action" in payload else ""
    return f"{action}:{identity}" if action and identity else _digest(body)


def _word(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**30:
        return str(value)
    return value if isinstance(value, str) and _WORD.fullmatch(value) else ""


def _digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"
