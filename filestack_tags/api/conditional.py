"""Conditional requests (RFC 9110, 13): ETags, 304, and the preconditions of writes.

The ETag of a URL is that of a ``GET`` with the same parameters. It is weak, because it is made from
the content and not from the bytes, and ``If-Match`` uses weak comparison.
"""

from __future__ import annotations

import re
from datetime import datetime
from hashlib import blake2b

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.utils.cache import patch_cache_control
from django.utils.http import parse_etags, parse_http_date_safe
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
        value.removeprefix("W/") for value in re.findall(_ETAG, header)
    }


def _false(header: str) -> ProblemError:
    detail = _(
        "The precondition %(header)s is false. "
        "Get the current content, then send the request again."
    )
    return ProblemError(PRECONDITION_FAILED, detail % {"header": header})


def etag_of(content: bytes) -> str:
    """Return the weak ``ETag`` of content, which does not depend on compression."""
    return f'W/"{blake2b(content, digest_size=16).hexdigest()}"'


def set_etag(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Add an ``ETag`` to a rendered response; answer 304 if ``If-None-Match`` contains it.

    The tag is weak: it describes the content, whatever encoding is applied to the bytes. The query
    still runs, so a cached response is never out of date; an ETag saves bandwidth, not database
    work.
    """
    etag = response["ETag"] = etag_of(response.content)
    # Responses differ by user, and permissions change: clients must revalidate.
    patch_cache_control(response, private=True, no_cache=True)
    etags = parse_etags(request.headers.get("If-None-Match", ""))
    if not {"*", etag, etag.removeprefix("W/")}.intersection(etags):
        return response
    names = ("ETag", "Cache-Control", "Vary")
    headers = {name: response[name] for name in names if name in response}
    return HttpResponseNotModified(headers=headers)
