"""Convert an unexpected reply to one of the package's exceptions.

Filestack sends errors as JSON, as plain text, and sometimes with status 200, so a valid reply is
recognized by its shape, and everything else is handled here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from filestack_tags.db.text import sanitize_text
from filestack_tags.error_codes import ErrorCode
from filestack_tags.exceptions import (
    AccessDenied,
    FileNotFound,
    FilestackError,
    InvalidApplication,
    PayloadError,
    PolicyRejected,
    RateLimited,
    RequestRejected,
    ServerError,
    UnexpectedReply,
)

from .payloads.reading import decode, first_text, mapping
from .payloads.timestamps import parse_unix

About = Literal["file", "job", "upload"]

LIMIT_HEADER = "filestack-limit"
RESET_HEADER = "filestack-reset"
REMAINING_HEADER = "filestack-remaining"
LONGEST_WAIT = timedelta(days=32)
"""Plan quotas are monthly; a ``Filestack-Reset`` further away is ignored."""

MAX_REFUSAL = 1000
"""Longest body, in bytes, that is checked for an error message in place of a file."""

MAX_RAW = 20_000
MAX_MESSAGE = 200

_COUNT = re.compile(r"[0-9]{1,9}")
_POLICY_WORDS = re.compile(r"polic(y|ies)\b|\bsignature\b|proper credentials", re.IGNORECASE)
_APPLICATION_WORDS = re.compile(r"\binvalid (application|api ?key)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Reply:
    """A response: the names in ``headers`` are lowercase, ``content`` is decompressed."""

    status: int
    content: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def text(self) -> str:
        return sanitize_text(self.content.decode("utf-8", "replace"))


def error(reply: Reply) -> str:
    """Return the error message in the reply, on one line, or ``""``.

    Recognizes ``{"error": "…"}``, ``{"error": {"msg": "…"}}`` and short plain text.
    """
    try:
        payload, _ = decode(reply.content)
    except PayloadError:
        text = reply.text.strip()
        # An HTML page or truncated JSON is no help to a user.
        message = " ".join(text.split())[:MAX_MESSAGE]
        readable = message.isprintable() and "\ufffd" not in message
        return message if readable and message[:1] not in ("<", "{", "[") else ""
    error = mapping(payload.get("error"))
    message = (
        first_text("error", payload) or first_text("msg", error) or first_text("message", error)
    )
    return " ".join(message.split())[:MAX_MESSAGE]


def refusal(message: str) -> type[AccessDenied] | None:
    """Return the error that a message means whatever the status is, or ``None``."""
    if _APPLICATION_WORDS.search(message):
        return InvalidApplication
    return PolicyRejected if _POLICY_WORDS.search(message) else None


def check_not_refused(reply: Reply) -> None:
    """Raise :class:`PayloadError` if an error message was sent instead of a file or of nothing.

    A file that merely looks like one is recognized by its size.
    """
    if len(reply.content) > MAX_REFUSAL:
        return
    try:
        refused = "error" in decode(reply.content)[0]
    except PayloadError:
        refused = refusal(error(reply)) is not None
    if refused:
        raise PayloadError("The reply is an error message.")


def error_for(
    reply: Reply,
    *,
    call: str,
    about: About,
    allows: Sequence[str],
    hide: Callable[[str], str],
    now: datetime,
    problem: str = "",
    retryable: bool = False,
) -> FilestackError:
    """Return the exception for an unexpected reply to ``call``.

    Args:
        reply: the response.
        call: Filestack's name of the call.
        about: what a 404 means is missing.
        allows: the calls that the policy we sent allows.
        hide: removes secrets from a text.
        now: the time that limits ``Filestack-Reset`` (aware).
        problem: what is wrong with a 2xx reply.
        retryable: whether a 2xx reply may be complete the next time.
    """
    text = error(reply)
    kind = _kind(reply.status, text, about)
    message = hide(text).rstrip(".")
    if kind is UnexpectedReply:
        return UnexpectedReply(
            _unexpected(call, reply.status, problem),
            fix="" if retryable else ErrorCode.UNEXPECTED_REPLY.english_fix,
            retryable=retryable,
            status=reply.status,
            raw_reply=hide(reply.text)[:MAX_RAW],
        )
    return kind(
        f"Filestack refused {call} (HTTP {reply.status}){f': {message}' if message else ''}."
        if kind is not ServerError
        else f"Filestack failed at {call} (HTTP {reply.status}).",
        fix=_fix(kind, message, about, allows) or _rate_fix(kind, reply),
        retry_at=_reset(reply, now) if kind in (RateLimited, ServerError) else None,
        status=reply.status,
        raw_reply=hide(reply.text)[:MAX_RAW],
    )


def _kind(status: int, message: str, about: About) -> type[FilestackError]:
    """Return the kind of error (statuses: filestack-claude-plugin's error table)."""
    if status == 429 or (status == 503 and about == "upload"):
        return RateLimited
    if status >= 500:
        return ServerError
    if status < 300 or 400 <= status < 500:
        words = refusal(message)
        if words is not None:
            return words
    if status < 400:
        return UnexpectedReply if status >= 300 or not message else RequestRejected
    if status in (401, 403):
        return AccessDenied
    if status in (404, 410) and about == "file":
        return FileNotFound
    return RequestRejected


def _unexpected(call: str, status: int, problem: str) -> str:
    if 300 <= status < 400:
        return (
            f"Filestack answered {call} with a redirect (HTTP {status}), which is not followed."
        )
    return f"Filestack answered {call} in another format. {problem}".strip()


def _fix(kind: type[FilestackError], message: str, about: About, allows: Sequence[str]) -> str:
    if kind is PolicyRejected:
        if "expired" in message.lower():
            return (
                "The policy had expired on arrival: correct this machine's clock, or raise "
                "POLICY_EXPIRY."
            )
        return f"{PolicyRejected.fix} The policy allows these calls: {', '.join(allows)}."
    if kind is RequestRejected and about == "job":
        return "Check the workflow id and the job id; results are kept 48 hours."
    return ""


def _rate_fix(kind: type[FilestackError], reply: Reply) -> str:
    """Return the fix for a rate limit whose number Filestack sent.

    ``Filestack-Limit`` is a number of calls; its period is documented nowhere, so no pacing is
    based on it.
    """
    limit = reply.headers.get(LIMIT_HEADER, "").strip()
    if kind is not RateLimited or not _COUNT.fullmatch(limit):
        return ""
    return f"Filestack allows {int(limit):,} calls at a time (Filestack-Limit): set RATE_LIMIT."


def resumes_at(reply: Reply, now: datetime) -> datetime | None:
    """Return when further calls are accepted, if this was the last one allowed for now.

    From ``Filestack-Remaining`` and ``Filestack-Reset`` (filestack-claude-plugin's error table).
    """
    if reply.headers.get(REMAINING_HEADER, "").strip() != "0":
        return None
    return _reset(reply, now)


def _reset(reply: Reply, now: datetime) -> datetime | None:
    reset = parse_unix(reply.headers.get(RESET_HEADER, "").strip())
    return reset if reset is not None and now <= reset <= now + LONGEST_WAIT else None
