"""Preconditions of writes: ``If-Match``, ``If-None-Match`` and ``If-Unmodified-Since``.

The ETag of a URL is that of a ``GET`` with the same parameters. It is weak, because it is made from
the content and not from the bytes, and ``If-Match`` uses weak comparison.
"""

from __future__ import annotations

import re
from datetime import datetime

from django.http import HttpRequest
from django.utils.http import parse_http_date_safe
from django.utils.translation import gettext as _
from rest_framework.request import Request

from .problems import PRECONDITION_FAILED, ParameterError, ProblemError

HEADERS = ("If-Match", "If-None-Match", "If-Unmodified-Since")

_ETAG = r'(?:W/)?"[!#-~\u0080-\u00ff]*"'
ETAGS = rf"^[ \t]*(?:\*[ \t]*|(?:{_ETAG}[ \t]*)?(?:,[ \t]*(?:{_ETAG}[ \t]*)?)*)$"
"""``If-Match`` and ``If-None-Match``: ``*`` or a list of ETags, which may be empty (RFC 9110,
5.6.1.2 and 13.1). Also the pattern in the OpenAPI schema."""


def are_given(request: HttpRequest | Request) -> bool:
    """Whether the request has a precondition."""
    return any(name in request.headers for name in HEADERS)


def check(request: Request, etag: str | None, modified_at: datetime | None) -> None:
    """Check the preconditions of a write in the order of RFC 9110, 13.2.2.

    Args:
        etag: of the current content; None if the address has no content to read.
        modified_at: when that changed last; None if that is not recorded.

    Raises:
        ParameterError: if a list of ETags is malformed.
        ProblemError: if a precondition is false.
    """
    for name in ("If-Match", "If-None-Match"):
        if re.fullmatch(ETAGS, request.headers.get(name, "")) is None:
            raise ParameterError(
                _("%(header)s must be * or a list of ETags in double quotes.")
                % {"header": name},
                parameter=name,
            )
    if "If-Match" in request.headers:
        if not _has(request.headers["If-Match"], etag):
            raise _false("If-Match")
    elif "If-Unmodified-Since" in request.headers and modified_at is not None:
        since = parse_http_date_safe(request.headers["If-Unmodified-Since"])
        if since is not None and int(modified_at.timestamp()) > since:
            raise _false("If-Unmodified-Since")
    if "If-None-Match" in request.headers and _has(request.headers["If-None-Match"], etag):
        raise _false("If-None-Match")


def _has(header: str, etag: str | None) -> bool:
    if etag is None:
        return False
    if header.strip() == "*":
        return True
    return etag.removeprefix("W/") in {
        found.removeprefix("W/") for found in re.findall(_ETAG, header)
    }


def _false(header: str) -> ProblemError:
    detail = _(
        "The precondition %(header)s is false. "
        "Get the current content, then send the request again."
    )
    return ProblemError(PRECONDITION_FAILED, detail % {"header": header})
