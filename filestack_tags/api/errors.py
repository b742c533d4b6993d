"""What a client is told when something is wrong: one JSON shape for every error.

``{"status": 400, "code": "invalid_query", "detail": "…", …}``: ``code`` is a stable word,
``detail`` a sentence for people, and further members depend on the code.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import (
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.http import Http404
from django.utils.translation import gettext as _
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.views import set_rollback

from filestack_tags.exceptions import TagQueryError


class ParameterError(exceptions.APIException):
    """A query parameter that is unknown or cannot be used. ``extra`` joins the reply."""

    status_code = status.HTTP_400_BAD_REQUEST
    default_code = "invalid_parameter"

    def __init__(self, detail: str, *, code: str = default_code, **extra: Any) -> None:
        super().__init__(detail, code)
        self.extra = extra


def unknown_parameters(unknown: Iterable[str], known: Iterable[str]) -> ParameterError:
    """Return the error for parameters that nobody would have looked at."""
    names, allowed = sorted(unknown), sorted(known)
    if not allowed:
        detail = _("Unknown parameter: %(names)s. None is known here.")
    else:
        detail = _("Unknown parameter: %(names)s. Known are %(known)s.")
    return ParameterError(
        detail % {"names": ", ".join(names), "known": ", ".join(allowed)},
        code="unknown_parameter",
        unknown=names,
        known=allowed,
    )


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """Answer what a client did wrong; leave faults of the server to Django."""
    if isinstance(exc, TagQueryError):
        set_rollback()
        return _reply(
            status.HTTP_400_BAD_REQUEST,
            "invalid_query",
            exc.message,
            parameter="q",
            position=exc.position,
            found=exc.found,
            expected=list(exc.expected),
            suggestion=exc.suggestion,
        )
    if isinstance(exc, SuspiciousOperation):
        too_big = isinstance(exc, RequestDataTooBig)
        set_rollback()
        return _reply(
            status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
            if too_big
            else status.HTTP_400_BAD_REQUEST,
            "too_large" if too_big else "bad_request",
            _("The request is too large.") if too_big else _("The request cannot be read."),
        )
    if isinstance(exc, Http404):
        exc = exceptions.NotFound()
    elif isinstance(exc, PermissionDenied):
        exc = exceptions.PermissionDenied()
    if not isinstance(exc, exceptions.APIException):
        return None
    set_rollback()
    response = _api_exception(exc)
    if getattr(exc, "auth_header", None):
        response["WWW-Authenticate"] = exc.auth_header  # type: ignore[attr-defined]  # set by DRF
    if getattr(exc, "wait", None):
        response["Retry-After"] = str(int(exc.wait))  # type: ignore[attr-defined]  # throttled
    return response


def _api_exception(exc: exceptions.APIException) -> Response:
    if isinstance(exc, exceptions.ValidationError):
        return _reply(
            exc.status_code,
            "invalid",
            _("Some values cannot be used; errors names them."),
            errors=exc.detail,
        )
    codes = exc.get_codes()
    return _reply(
        exc.status_code,
        codes if isinstance(codes, str) else exc.default_code,
        str(exc.detail),
        **getattr(exc, "extra", {}),
    )


def _reply(status_code: int, code: str, detail: str, **extra: Any) -> Response:
    body = {"status": status_code, "code": code, "detail": detail, **extra}
    return Response(body, status=status_code)
