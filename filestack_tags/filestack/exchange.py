"""One request to Filestack, and the meaning of its reply. No HTTP here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, TypeVar
from urllib.parse import quote

from filestack_tags.error_codes import ErrorCode
from filestack_tags.exceptions import (
    FilestackError,
    PayloadError,
    RequestRejected,
    UnexpectedReply,
)

from .errors import About, Reply, error_for
from .payloads.reading import NotJSON

T = TypeVar("T")

MAX_REPLY = 4 * 1024 * 1024
"""Largest reply read, in bytes, for every call except a download."""


class Secrets:
    """The secrets behind one call: key, policy, signature and app secret."""

    def __init__(self, *values: str) -> None:
        # Filestack may echo them as sent in a path, or percent-encoded as in a query.
        self._written = [
            text for value in values if value for text in (value, quote(value, ""))
        ]

    def __repr__(self) -> str:
        return "Secrets(…)"

    def hide(self, text: str) -> str:
        """Return ``text`` without any of them, however it was encoded."""
        for written in self._written:
            text = text.replace(written, "[hidden]")
        return text


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and how its reply is parsed. Its repr does not show the URL, which is signed.

    ``read`` returns the result or raises :class:`PayloadError`. ``allows`` is what the signed
    policy allows, ``max_bytes`` the longest reply that is read, ``timeout`` the seconds for the
    whole call if the client's own are too many.
    """

    name: str
    method: str
    url: str = field(repr=False)
    read: Callable[[Reply], T] = field(repr=False)
    about: About
    allows: tuple[str, ...]
    secrets: Secrets
    params: Mapping[str, str] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: bytes | None = field(default=None, repr=False)
    max_bytes: int = MAX_REPLY
    timeout: float | None = None

    def result(self, reply: Reply, now: float) -> T:
        """Return the result in the reply.

        Raises:
            FilestackError: the matching subclass, when the reply is not valid. Texts such as
                ``Invalid Application`` count even with status 200.
        """
        problem, retryable = "", False
        if 200 <= reply.status < 300:
            try:
                return self.read(reply)
            except PayloadError as error:
                problem, retryable = self.secrets.hide(str(error)), isinstance(error, NotJSON)
        # Raised here, so that no exception context contains the unmasked text.
        raise error_for(
            reply,
            call=self.name,
            about=self.about,
            allows=self.allows,
            hide=self.secrets.hide,
            now=datetime.fromtimestamp(now, UTC),
            problem=problem,
            retryable=retryable,
        ) from (PayloadError(problem) if problem else None)

    def longest(self, status: int) -> int:
        """Return how many bytes to read; an error message may be longer than the file may."""
        return self.max_bytes if 200 <= status < 300 else MAX_REPLY

    def too_large(self) -> FilestackError:
        """Return the error for a reply longer than ``max_bytes``."""
        if self.name == "download":
            return RequestRejected(
                f"The file is larger than {self.max_bytes} bytes.",
                code=ErrorCode.FILE_TOO_LARGE,
                fix="Raise the limit, or resize the file first.",
            )
        return UnexpectedReply(
            f"Filestack answered {self.name} with more than {self.max_bytes} bytes."
        )
