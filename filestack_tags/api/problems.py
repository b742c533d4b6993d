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
    _("The search cannot be read"),
    ("parameter", "position", "found", "expected", "suggestion"),
)
SEARCH_TIMEOUT = Problem(
    "search-timeout", 400, _("The search took too long"), ("parameter", "terms", "suggestion")
)
UNKNOWN_PARAMETER = Problem(
    "unknown-parameter", 400, _("A parameter is not known"), ("unknown", "known")
)
INVALID_PARAMETER = Problem(
    "invalid-parameter", 400, _("A parameter cannot be used"), ("parameter",)
)
INVALID_VALUES = Problem("invalid-values", 400, _("Some values cannot be used"), ("errors",))
MALFORMED_BODY = Problem("malformed-body", 400, _("The body is not JSON"))
MALFORMED_REQUEST = Problem("malformed-request", 400, _("The request cannot be read"))
NOT_AUTHENTICATED = Problem("not-authenticated", 401, _("Who asks is not known"))
AUTHENTICATION_FAILED = Problem(
    "authentication-failed", 401, _("The credentials are not accepted")
)
PERMISSION_DENIED = Problem("permission-denied", 403, _("This is not permitted"))
NOT_FOUND = Problem("not-found", 404, _("There is nothing here"))
METHOD_NOT_ALLOWED = Problem("method-not-allowed", 405, _("The method is not offered here"))
NOT_ACCEPTABLE = Problem("not-acceptable", 406, _("There is no such form of it"))
CONFLICT = Problem("conflict", 409, _("Something stands against it"))
KEY_REUSED = Problem("idempotency-key-reused", 422, _("The key was used for something else"))
PRECONDITION_FAILED = Problem("precondition-failed", 412, _("Precondition failed"))
TOO_LARGE = Problem("too-large", 413, _("The request is too large"))
UNSUPPORTED_MEDIA_TYPE = Problem("unsupported-media-type", 415, _("The body has to be JSON"))
THROTTLED = Problem("throttled", 429, _("Too many requests"))
UNAVAILABLE = Problem("unavailable", 503, _("Filestack is not available"))
NOT_CONFIGURED = Problem("not-configured", 503, _("This is not set up here"))

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
