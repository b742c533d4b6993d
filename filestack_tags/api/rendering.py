"""Render responses: JSON in UTF-8, with orjson if it is installed; 304 if unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from importlib import import_module
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.utils.cache import patch_cache_control
from django.utils.http import parse_etags
from rest_framework.renderers import JSONRenderer
from rest_framework.utils.encoders import JSONEncoder

orjson: Any
try:
    orjson = import_module("orjson")
except ImportError:  # the extra "fast" is not installed
    orjson = None

_encoded = JSONEncoder().default


class JSON(JSONRenderer):
    """Return what :class:`JSONRenderer` would, faster, and whatever the host's settings are."""

    compact = True
    ensure_ascii = False
    strict = True

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        if orjson is not None and data is not None:
            # orjson rejects integers beyond 64 bits and keys that are not strings; json accepts
            # them.
            with suppress(TypeError):
                text: bytes = orjson.dumps(data, _encoded, orjson.OPT_UTC_Z)
                return text
        written: bytes = super().render(data, accepted_media_type, renderer_context)
        return written


def etag_of(content: bytes) -> str:
    """Return the weak ``ETag`` of content, which does not depend on compression."""
    return f'W/"{blake2b(content, digest_size=16).hexdigest()}"'


def unless_known(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Add an ``ETag`` to a rendered response; answer 304 if ``If-None-Match`` contains it.

    The tag is weak: it describes the content, whatever encoding is applied to the bytes. The query
    still runs, so a cached response is never out of date; an ETag saves bandwidth, not database
    work.
    """
    etag = response["ETag"] = etag_of(response.content)
    # Responses differ by user, and permissions change: clients must revalidate.
    patch_cache_control(response, private=True, no_cache=True)
    known = parse_etags(request.headers.get("If-None-Match", ""))
    if not {"*", etag, etag.removeprefix("W/")}.intersection(known):
        return response
    kept = ("ETag", "Cache-Control", "Vary")
    headers = {name: response[name] for name in kept if name in response}
    return HttpResponseNotModified(headers=headers)
