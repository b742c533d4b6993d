"""Requests, replies, and the bodies of Filestack's errors."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

REASON_HEADER = "Filestack-Emulator-Reason"
"""Explains why the emulator rejected a call. Filestack sends no such header, so nothing may rely on
it; the bodies are Filestack's own and rarely show which of many reasons applied.
"""


@dataclass(frozen=True)
class Request:
    """One HTTP request.

    ``path`` is percent-encoded as it was sent when ``encoded``; WSGI gateways that keep no raw
    path (``httpx2.WSGITransport``) give it decoded.
    """

    method: str
    path: str
    encoded: bool = True
    query_string: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    base_url: str = "https://cdn.filestackcontent.com"

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters, the last of each name."""
        return dict(parse_qsl(self.query_string, keep_blank_values=True))

    def json(self) -> dict[str, Any]:
        """Return the body's JSON object.

        Raises:
            ValueError: the body is not a JSON object.
        """
        value = json.loads(self.body)
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")  # noqa: TRY004 - wrong input, not a wrong type
        return value


@dataclass(frozen=True)
class Reply:
    """One HTTP reply."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def status_line(self) -> str:
        """Status and phrase, as WSGI expects them."""
        return f"{self.status} {HTTPStatus(self.status).phrase}"


def json_reply(
    value: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Reply:
    """Return a JSON reply."""
    return Reply(status, json.dumps(value).encode(), headers=headers or {})


def text_reply(text: str, status: int = 200) -> Reply:
    """Return a plain text reply: Filestack does not always answer in JSON."""
    return Reply(status, text.encode(), "text/plain; charset=utf-8")


class Refused(Exception):
    """The call is rejected with ``reply``; ``reason`` explains it to the developer."""

    def __init__(self, reply: Reply, reason: str = "") -> None:
        super().__init__(reason or f"status {reply.status}")
        self.reply = reply
        self.reason = reason


class Dropped(ConnectionResetError):
    """The connection is closed without an answer, on purpose."""


def task_error(message: str, status: int = 400, reason: str = "") -> Refused:
    """A task failed: ``{"error": "…"}``."""
    return Refused(json_reply({"error": message}, status), reason)


def invalid_parameter(reason: str) -> Refused:
    """An option of a task is wrong."""
    return task_error("Invalid parameter", reason=reason)


def not_found(what: str) -> Refused:
    """A file or job does not exist. The body is ours: Filestack's is not documented."""
    return task_error(f"{what} not found", 404)


def policy_refused_by_cdn(reason: str) -> Refused:
    """The CDN's answer to a missing or wrong policy (filestack-php's tests)."""
    text = "policy error: proper credentials were not provided"
    return Refused(text_reply(text, 403), reason)


def policy_not_base64(reason: str) -> Refused:
    """The CDN's answer to a policy that its strict decoder rejects."""
    return Refused(text_reply("policy was not properly url-safe base64 encoded", 403), reason)


def policy_refused_by_process(policy: str, signature: str, reason: str) -> Refused:
    """``/process`` repeats the credentials that were sent (filestack-js #198)."""
    text = (
        "application [1] policy error: proper credentials were not provided: "
        f'(signature: "{signature}"; policy "{policy}")'
    )
    return Refused(text_reply(text, 403), reason)


def policy_refused_by_file_api(reason: str) -> Refused:
    """The File API's answer to a missing or wrong policy (old API docs)."""
    error = {"result": "error", "error": {"code": 403, "msg": "Policy required"}}
    return Refused(json_reply(error, 403), reason)


def refused_by_upload(message: str, status: int, reason: str) -> Refused:
    """The upload host's errors: message, correlation id, instance, unix seconds."""
    error = {
        "error": message,
        "c": str(uuid.uuid4()),
        "i": "UPL-eu-w-1-10",
        "t": int(time.time()),
    }
    return Refused(json_reply(error, status), reason)


def unknown_application(status: int) -> Refused:
    """The API key is unknown. Uploads report it with status 200 (filestack-python #71)."""
    return Refused(
        text_reply("Invalid Application", status), "the API key is not this account's"
    )
