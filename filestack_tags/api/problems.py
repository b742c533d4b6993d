"""Every problem of the API in one place: its type, status and members (RFC 9457).

A type is a stable URN, independent of the host and not a link: ``docs/api.md`` explains each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _

CONTENT_TYPE = "application/problem+json"
PREFIX = "urn:filestack-tags:problem:"


@dataclass(frozen=True, slots=True)
class Problem:
    """A kind of problem.

    Args:
        name: the end of its type.
        status: the HTTP status; that of a response may differ, depending on authentication.
        title: a summary, the same for each problem of this kind.
        members: the members of a response besides ``type``, ``title``, ``status`` and ``detail``.
    """

    name: str
    status: int
    title: Any
    members: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        return f"{PREFIX}{self.name}"

    def body(self, detail: str, *, status: int | None = None, **members: Any) -> dict[str, Any]:
        """Return the response body; ``detail`` is a sentence about this occurrence."""
        return {
            "type": self.type,
            "title": str(self.title),
            "status": status or self.status,
            "detail": detail,
            **members,
        }


INVALID_QUERY = Problem(
    "invalid-query",
    400,
    _("Invalid search"),
    ("parameter", "position", "found", "expected", "suggestion"),
)
SEARCH_TIMEOUT = Problem(
    "search-timeout", 400, _("Search timed out"), ("parameter", "terms", "suggestion")
)
UNKNOWN_PARAMETER = Problem(
    "unknown-parameter", 400, _("Unknown parameter"), ("unknown", "known")
)
INVALID_PARAMETER = Problem("invalid-parameter", 400, _("Invalid parameter"), ("parameter",))
INVALID_VALUES = Problem("invalid-values", 400, _("Invalid values"), ("errors",))
MALFORMED_BODY = Problem("malformed-body", 400, _("Malformed body"))
MALFORMED_REQUEST = Problem("malformed-request", 400, _("Malformed request"))
NOT_AUTHENTICATED = Problem("not-authenticated", 401, _("Authentication required"))
AUTHENTICATION_FAILED = Problem("authentication-failed", 401, _("Authentication failed"))
PERMISSION_DENIED = Problem("permission-denied", 403, _("Permission denied"))
NOT_FOUND = Problem("not-found", 404, _("Not found"))
METHOD_NOT_ALLOWED = Problem("method-not-allowed", 405, _("Method not allowed"))
NOT_ACCEPTABLE = Problem("not-acceptable", 406, _("Not acceptable"))
CONFLICT = Problem("conflict", 409, _("Conflict"))
KEY_REUSED = Problem("idempotency-key-reused", 422, _("Idempotency key already used"))
PRECONDITION_FAILED = Problem("precondition-failed", 412, _("Precondition failed"))
TOO_LARGE = Problem("too-large", 413, _("Request too large"))
UNSUPPORTED_MEDIA_TYPE = Problem("unsupported-media-type", 415, _("Unsupported media type"))
THROTTLED = Problem("throttled", 429, _("Too many requests"))
UNAVAILABLE = Problem("unavailable", 503, _("Filestack unavailable"))
NOT_CONFIGURED = Problem("not-configured", 503, _("Not configured"))

PROBLEMS = (
    INVALID_QUERY,
    SEARCH_TIMEOUT,
    UNKNOWN_PARAMETER,
    INVALID_PARAMETER,
    INVALID_VALUES,
    MALFORMED_BODY,
    MALFORMED_REQUEST,
    NOT_AUTHENTICATED,
    AUTHENTICATION_FAILED,
    PERMISSION_DENIED,
    NOT_FOUND,
    METHOD_NOT_ALLOWED,
    NOT_ACCEPTABLE,
    CONFLICT,
    KEY_REUSED,
    PRECONDITION_FAILED,
    TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    THROTTLED,
    UNAVAILABLE,
    NOT_CONFIGURED,
)
