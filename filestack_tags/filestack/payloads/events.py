"""A webhook body: its envelope and its event."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .event_keys import action_of, key_of, word
from .files import FileEvent, read_file_event
from .reading import decode, mapping
from .timestamps import parse_unix
from .workflows import WorkflowJob, read_job


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
    action = action_of(payload)
    enveloped = "action" in payload or "workflow" not in payload
    return Event(
        key=key_of(payload, action, body),
        action=action,
        id=word(payload.get("id")) if enveloped else "",
        timestamp=parse_unix(payload.get("timestamp")),
        text=mapping(payload.get("text")) if enveloped else payload,
        raw=raw,
        upload_tags=mapping(payload.get("upload_tags")) if enveloped else {},
    )
