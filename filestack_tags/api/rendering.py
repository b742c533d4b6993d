"""How replies are written: JSON in UTF-8, by orjson where it is installed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

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
