"""Errors of the API: every error is a problem of :mod:`.problems`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from django.core.exceptions import (
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import Resolver404, resolve
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from filestack_tags.exceptions import (
    CurationError,
    LimitExceeded,
    SearchError,
    SearchTimeout,
)

from . import problems
from .problems import Problem
from .rendering import JSON

RAISED: dict[type[exceptions.APIException], Problem] = {
    exceptions.ParseError: problems.MALFORMED_BODY,
    exceptions.NotAuthenticated: problems.NOT_AUTHENTICATED,
    exceptions.AuthenticationFailed: problems.AUTHENTICATION_FAILED,
    exceptions.PermissionDenied: problems.PERMISSION_DENIED,
    exceptions.NotFound: problems.NOT_FOUND,
    exceptions.MethodNotAllowed: problems.METHOD_NOT_ALLOWED,
    exceptions.NotAcceptable: problems.NOT_ACCEPTABLE,
    exceptions.UnsupportedMediaType: problems.UNSUPPORTED_MEDIA_TYPE,
    exceptions.Throttled: problems.THROTTLED,
}
"""Exceptions that REST framework and the host's own authentication raise."""


class Refused(exceptions.APIException):
    """A request rejected with one of our problems; ``members`` are added to the response."""

    def __init__(self, problem: Problem, detail: str, **members: Any) -> None:
        super().__init__(detail, problem.name)
        self.status_code = problem.status
        self.problem = problem
        self.members = members


class ParameterError(Refused):
    """An invalid query parameter."""

    def __init__(self, detail: str, *, parameter: str) -> None:
        super().__init__(problems.INVALID_PARAMETER, detail, parameter=parameter)


def refused_search(error: SearchError, parameter: str) -> Refused:
    """Return the error for a search that cannot be parsed, or took too long.

    Args:
        error: the error in the search.
        parameter: the query parameter or the body field that contains the search.
    """
    if isinstance(error, SearchTimeout):
        return Refused(
            problems.SEARCH_TIMEOUT,
            error.message,
            parameter=parameter,
            terms=list(error.terms),
            suggestion=error.suggestion,
        )
    return Refused(
        problems.INVALID_QUERY,
        error.message,
        parameter=parameter,
        position=error.position,
        found=error.found,
        expected=list(error.expected),
        suggestion=error.suggestion,
    )


def unknown_parameters(unknown: Iterable[str], known: Iterable[str]) -> Refused:
    """Return the error for unknown parameters, which would otherwise be ignored."""
    names, allowed = sorted(unknown), sorted(known)
    if not allowed:
        detail = _("Unknown parameter %(names)s. This URL accepts no parameters.")
    else:
        detail = _("Unknown parameter %(names)s. Allowed parameters: %(allowed)s.")
    return Refused(
        problems.UNKNOWN_PARAMETER,
        detail
        % {"names": ", ".join(f'"{name}"' for name in names), "allowed": ", ".join(allowed)},
        unknown=names,
        known=allowed,
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


@csrf_exempt  # does nothing, and a POST to a wrong URL should get this message
def nowhere(request: HttpRequest) -> HttpResponse:
    """Answer 404 for unknown URLs below ours."""
    detail = _("Not found.")
    path = f"{request.path}/"
    if not request.path_info.endswith("/") and _leads_somewhere(f"{request.path_info}/"):
        detail = _("Not found. Did you mean %(path)s?") % {"path": path}
    body = problems.NOT_FOUND.body(detail)
    return HttpResponse(
        JSON().render(body),
        status=body["status"],
        content_type=problems.CONTENT_TYPE,
        headers={"X-Frame-Options": "DENY"},
    )


def _leads_somewhere(path: str) -> bool:
    try:
        return resolve(path).func is not nowhere
    except Resolver404:
        return False


def _as_api_exception(exc: Exception) -> Exception:
    if isinstance(exc, SearchError):
        return refused_search(exc, "q")
    if isinstance(exc, LimitExceeded):
        return exceptions.Throttled(exc.wait, str(exc))
    if isinstance(exc, CurationError):
        return Refused(problems.CONFLICT, str(exc))
    if isinstance(exc, RequestDataTooBig):
        return Refused(problems.TOO_LARGE, _("The request is too large."))
    if isinstance(exc, SuspiciousOperation):
        return Refused(problems.MALFORMED_REQUEST, _("The request is malformed."))
    if isinstance(exc, Http404):
        return exceptions.NotFound()
    if isinstance(exc, PermissionDenied):
        return exceptions.PermissionDenied()
    return exc


def _api_exception(exc: exceptions.APIException) -> Response:
    if isinstance(exc, Refused):
        return _reply(exc.problem.body(str(exc.detail), **exc.members))
    if isinstance(exc, exceptions.ValidationError):
        detail = _("Invalid values. See `errors`.")
        errors = [{"field": path, "detail": text} for path, text in _paths(exc.detail)]
        return _reply(problems.INVALID_VALUES.body(detail, errors=errors))
    known = (RAISED[kind] for kind in type(exc).__mro__ if kind in RAISED)
    if (problem := next(known, None)) is not None:
        return _reply(problem.body(str(exc.detail), status=exc.status_code))
    # A host's own exception, which has no type here: RFC 9457, 4.2.1.
    title = HTTPStatus(exc.status_code).phrase
    body = {"type": "about:blank", "title": title, "status": exc.status_code}
    return _reply({**body, "detail": str(exc.detail)})


def _reply(body: dict[str, Any]) -> Response:
    return Response(body, status=body["status"], content_type=problems.CONTENT_TYPE)


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
