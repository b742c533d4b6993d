"""Thumbnails of assets, fetched by this server and passed on.

A link to Filestack would have to carry a policy with ``convert``. Filestack has no narrower
permission, so that policy would also allow paid tasks, and for a storage alias every file of the
app. The policy therefore never leaves the server.
"""

from __future__ import annotations

import time
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response

from filestack_tags.conf import get_settings
from filestack_tags.exceptions import ConfigurationError, ConnectionFailed, FilestackError
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset

MAX_AGE = 3600
"""Seconds for which a browser keeps a picture without asking again."""

CDN_SECONDS = 30 * 24 * 3600
"""Seconds for which Filestack's CDN keeps a conversion by default."""

MAX_BYTES = 2 * 1024 * 1024
"""Largest picture that is passed on."""

MAX_HEIGHT = 2000
"""Pixels."""

TIMEOUT = 3.0
"""Seconds for the whole call to Filestack, while the browser's request waits."""

FAILURES = 3
PAUSE = 30.0
"""After this many calls in a row without an answer, this process pauses calls for this many
seconds, so that a page full of pictures cannot block every thread of the server.
"""

SIGNATURES = (
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"GIF8", 0, "image/gif"),
    (b"WEBP", 8, "image/webp"),
)
"""Magic bytes, their offset, and the type they prove. SVG can contain scripts, so it is left out.
"""


class _Outage:
    """This process's record of Filestack outages; a race costs at most one call."""

    failures = 0
    paused_until = 0.0


_outage = _Outage()


def has_thumbnail(asset: Asset) -> bool:
    """Whether a thumbnail of the asset can be requested; reads settings, writes nothing.

    Archived assets and files that are not images have none, and nothing has one while
    ``APP_SECRET`` is empty, or ``API_KEY`` for an asset that is not a handle.
    """
    settings = get_settings()
    return bool(
        not asset.deleted_at
        and (asset.mimetype or "image/").startswith("image/")
        and settings.APP_SECRET
        and (asset.kind == Asset.Kind.HANDLE or settings.API_KEY)
    )


def thumbnail_response(request: HttpRequest, asset: Asset, *, height: int) -> HttpResponse:
    """Return the picture of an asset, scaled down by Filestack, as a response.

    The caller checks that the user may see the asset. Calls Filestack unless the browser has the
    picture already; writes nothing.

    Args:
        request: its ``If-None-Match`` is honored.
        asset: an asset that the user may see.
        height: of the picture in pixels, 1 to :data:`MAX_HEIGHT`. Each height is a conversion of
            its own, so do not let users choose it freely.

    Returns:
        200 with the picture, which only this user's browser may cache; 304; 404 when there is no
        picture; 503 with ``Retry-After`` when Filestack cannot be reached.

    Raises:
        ValueError: when ``height`` is out of range.
    """
    if not 1 <= height <= MAX_HEIGHT:
        raise ValueError(f"The height must be 1 to {MAX_HEIGHT} pixels, not {height}.")
    if not has_thumbnail(asset):
        return _nothing(HTTPStatus.NOT_FOUND)
    etag = f'"{asset.pk}-{asset.content_version}-{height}"'
    response = get_conditional_response(request, etag=etag)
    if response is None:
        response = _fetched(asset, height)
    if response.status_code in (HTTPStatus.OK, HTTPStatus.NOT_MODIFIED):
        response.headers["ETag"] = etag
        response.headers["Cache-Control"] = f"private, max-age={MAX_AGE}"
        response.headers["Vary"] = "Cookie"
    return response


def _fetched(asset: Asset, height: int) -> HttpResponse:
    from filestack_tags.filestack.shared_client import shared_client  # loads the HTTP client

    if time.monotonic() < _outage.paused_until:
        return _nothing(HTTPStatus.SERVICE_UNAVAILABLE)
    try:
        content = shared_client().download(
            Source.of(asset.kind, asset.reference),
            max_bytes=MAX_BYTES,
            # Very wide pictures are limited too.
            before=(
                # The number differs for each content version, so that the CDN caches each
                # separately.
                f"cache=expiry:{CDN_SECONDS - asset.content_version % CDN_SECONDS}",
                f"resize=w:{4 * height},h:{height}",
            ),
            timeout=TIMEOUT,
        )
    except ConnectionFailed:
        _outage.failures += 1
        if _outage.failures >= FAILURES:
            _outage.failures, _outage.paused_until = 0, time.monotonic() + PAUSE
        return _nothing(HTTPStatus.SERVICE_UNAVAILABLE)
    except FilestackError as error:
        return _nothing(
            HTTPStatus.SERVICE_UNAVAILABLE if error.retryable else HTTPStatus.NOT_FOUND
        )
    except ConfigurationError:  # a system check reports it
        return _nothing(HTTPStatus.NOT_FOUND)
    _outage.failures = 0
    for magic, offset, mimetype in SIGNATURES:
        if content[offset : offset + len(magic)] == magic:
            return HttpResponse(
                content,
                content_type=mimetype,
                headers={
                    "X-Content-Type-Options": "nosniff",
                    "Content-Security-Policy": "default-src 'none'; sandbox",
                },
            )
    return _nothing(HTTPStatus.NOT_FOUND)


def _nothing(status: HTTPStatus) -> HttpResponse:
    headers = {"Cache-Control": "private, no-store"}
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(int(PAUSE))
    return HttpResponse(status=status, content_type="text/plain", headers=headers)
