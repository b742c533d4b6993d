"""How replies are written: JSON in UTF-8, by orjson where it is installed, or not at all."""

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
except ImportError:  # the extra "fast" was not asked for
    orjson = None

_encoded = JSONEncoder().default


class JSON(JSONRenderer):
    """Say what :class:`JSONRenderer` would, sooner, and whatever the host's settings are."""

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
            # It refuses numbers beyond 64 bits and keys that are no text; json takes them.
            with suppress(TypeError):
                text: bytes = orjson.dumps(data, _encoded, orjson.OPT_UTC_Z)
                return text
        written: bytes = super().render(data, accepted_media_type, renderer_context)
        return written


def etag_of(content: bytes) -> str:
    """Return the ``ETag`` of content: weak, because it says nothing of compression."""
    return f'W/"{blake2b(content, digest_size=16).hexdigest()}"'


def unless_known(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Give a reply that is written an ``ETag``; answer 304 where ``If-None-Match`` has it.

    The tag is weak: it speaks of the content, whatever is done to the bytes on their way. What
    is asked of the database is asked all the same, so a reply that is kept is never out of date.
    """
    etag = response["ETag"] = etag_of(response.content)
    # Each user has another answer, and permissions change: it has to be asked for again.
    patch_cache_control(response, private=True, no_cache=True)
    known = parse_etags(request.headers.get("If-None-Match", ""))
    if not {"*", etag, etag.removeprefix("W/")}.intersection(known):
        return response
    kept = ("ETag", "Cache-Control", "Vary")
    headers = {name: response[name] for name in kept if name in response}
    return HttpResponseNotModified(headers=headers)
