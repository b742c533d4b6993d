"""The errors of the API: each is a problem with a type, a status and members (RFC 9457).

A type is a stable URN, independent of the host and not a link. ``docs/api.md`` explains each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.core.exceptions import (
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.http import Http404
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from filestack_tags.exceptions import (
    CurationError,
    CursorError,
    LimitExceeded,
    SearchError,
    SearchTimeout,
)

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
    gettext_lazy("Invalid search"),
    ("parameter", "position", "found", "expected", "suggestion"),
)
SEARCH_TIMEOUT = Problem(
    "search-timeout",
    400,
    gettext_lazy("Search timed out"),
    ("parameter", "terms", "suggestion"),
)
UNKNOWN_PARAMETER = Problem(
    "unknown-parameter", 400, gettext_lazy("Unknown parameter"), ("unknown", "allowed")
)
INVALID_PARAMETER = Problem(
    "invalid-parameter", 400, gettext_lazy("Invalid parameter"), ("parameter",)
)
INVALID_VALUES = Problem("invalid-values", 400, gettext_lazy("Invalid values"), ("errors",))
MALFORMED_BODY = Problem("malformed-body", 400, gettext_lazy("Malformed body"))
MALFORMED_REQUEST = Problem("malformed-request", 400, gettext_lazy("Malformed request"))
NOT_AUTHENTICATED = Problem("not-authenticated", 401, gettext_lazy("Authentication required"))
AUTHENTICATION_FAILED = Problem(
    "authentication-failed", 401, gettext_lazy("Authentication failed")
)
PERMISSION_DENIED = Problem("permission-denied", 403, gettext_lazy("Permission denied"))
NOT_FOUND = Problem("not-found", 404, gettext_lazy("Not found"))
METHOD_NOT_ALLOWED = Problem("method-not-allowed", 405, gettext_lazy("Method not allowed"))
NOT_ACCEPTABLE = Problem("not-acceptable", 406, gettext_lazy("Not acceptable"))
CONFLICT = Problem("conflict", 409, gettext_lazy("Conflict"))
KEY_REUSED = Problem(
    "idempotency-key-reused", 422, gettext_lazy("Idempotency key already used")
)
PRECONDITION_FAILED = Problem("precondition-failed", 412, gettext_lazy("Precondition failed"))
TOO_LARGE = Problem("too-large", 413, gettext_lazy("Request too large"))
UNSUPPORTED_MEDIA_TYPE = Problem(
    "unsupported-media-type", 415, gettext_lazy("Unsupported media type")
)
THROTTLED = Problem("throttled", 429, gettext_lazy("Too many requests"))
UNAVAILABLE = Problem("unavailable", 503, gettext_lazy("Filestack unavailable"))
NOT_CONFIGURED = Problem("not-configured", 503, gettext_lazy("Not configured"))

PROBLEMS = tuple(value for value in vars().values() if isinstance(value, Problem))

RAISED: dict[type[exceptions.APIException], Problem] = {
    exceptions.ParseError: MALFORMED_BODY,
    exceptions.NotAuthenticated: NOT_AUTHENTICATED,
    exceptions.AuthenticationFailed: AUTHENTICATION_FAILED,
    exceptions.PermissionDenied: PERMISSION_DENIED,
    exceptions.NotFound: NOT_FOUND,
    exceptions.MethodNotAllowed: METHOD_NOT_ALLOWED,
    exceptions.NotAcceptable: NOT_ACCEPTABLE,
    exceptions.UnsupportedMediaType: UNSUPPORTED_MEDIA_TYPE,
    exceptions.Throttled: THROTTLED,
}
"""Exceptions that REST framework and the host's own authentication raise."""


class ProblemError(exceptions.APIException):
    """A request rejected with one of our problems; ``members`` are added to the response."""

    def __init__(self, problem: Problem, detail: str, **members: Any) -> None:
        super().__init__(detail, problem.name)
        self.status_code = problem.status
        self.problem = problem
        self.members = members


class ParameterError(ProblemError):
    """An invalid query parameter."""

    def __init__(self, detail: str, *, parameter: str) -> None:
        super().__init__(INVALID_PARAMETER, detail, parameter=parameter)


def invalid_search(error: SearchError, parameter: str) -> ProblemError:
    """Return the error for a search that cannot be parsed, or took too long.

    Args:
        error: the error in the search.
        parameter: the query parameter or the body field that contains the search.
    """
    if isinstance(error, SearchTimeout):
        return ProblemError(
            SEARCH_TIMEOUT,
            error.message,
            parameter=parameter,
            terms=list(error.terms),
            suggestion=error.suggestion,
        )
    return ProblemError(
        INVALID_QUERY,
        error.message,
        parameter=parameter,
        position=error.position,
        found=error.found,
        expected=list(error.expected),
        suggestion=error.suggestion,
    )


def unknown_parameters(unknown: Iterable[str], allowed: Iterable[str]) -> ProblemError:
    """Return the error for unknown parameters, which would otherwise be ignored."""
    names, allowed = sorted(unknown), sorted(allowed)
    if not allowed:
        detail = _("Unknown parameter %(names)s. This URL accepts no parameters.")
    else:
        detail = _("Unknown parameter %(names)s. Allowed parameters: %(allowed)s.")
    return ProblemError(
        UNKNOWN_PARAMETER,
        detail
        % {"names": ", ".join(f'"{name}"' for name in names), "allowed": ", ".join(allowed)},
        unknown=names,
        allowed=allowed,
    )


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """Convert client errors to problems; leave server errors to Django."""
    exc = _as_api_exception(exc)
    if not isinstance(exc, exceptions.APIException):
        return None
    set_rollback()
    response = _api_exception(exc)
    if getattr(exc, "auth_header", None):
        response["WWW-Authenticate"] = exc.auth_header  # type: ignore[attr-defined]  # set by DRF
    if getattr(exc, "wait", None):
        response["Retry-After"] = str(int(exc.wait))  # type: ignore[attr-defined]  # throttled
    return response


def _as_api_exception(exc: Exception) -> Exception:
    if isinstance(exc, SearchError):
        return invalid_search(exc, "q")
    if isinstance(exc, CursorError):
        return ParameterError(str(exc), parameter="cursor")
    if isinstance(exc, LimitExceeded):
        return exceptions.Throttled(exc.wait, str(exc))
    if isinstance(exc, CurationError):
        return ProblemError(CONFLICT, str(exc))
    if isinstance(exc, RequestDataTooBig):
        return ProblemError(TOO_LARGE, _("The request is too large."))
    if isinstance(exc, SuspiciousOperation):
        return ProblemError(MALFORMED_REQUEST, _("The request is malformed."))
    if isinstance(exc, Http404):
        return exceptions.NotFound()
    if isinstance(exc, PermissionDenied):
        return exceptions.PermissionDenied()
    return exc


def _api_exception(exc: exceptions.APIException) -> Response:
    if isinstance(exc, ProblemError):
        return _reply(exc.problem.body(str(exc.detail), **exc.members))
    if isinstance(exc, exceptions.ValidationError):
        detail = _("Invalid values. See `errors`.")
        errors = [{"field": path, "detail": text} for path, text in _paths(exc.detail)]
        return _reply(INVALID_VALUES.body(detail, errors=errors))
    matches = (RAISED[kind] for kind in type(exc).__mro__ if kind in RAISED)
    if (problem := next(matches, None)) is not None:
        return _reply(problem.body(str(exc.detail), status=exc.status_code))
    # A host's own exception, which has no type here: RFC 9457, 4.2.1.
    title = HTTPStatus(exc.status_code).phrase
    body = {"type": "about:blank", "title": title, "status": exc.status_code}
    return _reply({**body, "detail": str(exc.detail)})


def _reply(body: dict[str, Any]) -> Response:
    return Response(body, status=body["status"], content_type=CONTENT_TYPE)


def _paths(errors: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield each message with the path of its field, such as ``upload_tags.id``; ``""`` for the
    whole body.
    """
    if isinstance(errors, Mapping):
        for name, inner in errors.items():
            own = "" if name == "non_field_errors" else str(name)
            yield from _paths(inner, f"{path}.{own}" if path and own else path or own)
    elif isinstance(errors, (list, tuple)):
        for inner in errors:
            yield from _paths(inner, path)
    else:
        yield path, str(errors)
