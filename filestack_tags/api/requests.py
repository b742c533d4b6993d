"""Parse requests and negotiate responses: JSON in UTF-8, whatever the host's settings are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

MAX_BODY = 256 * 1024
"""Largest request body, in bytes: far more than the longest reference and ten upload tags."""


class JSONBody(BaseParser):
    """Parse a JSON body: UTF-8 only (RFC 8259), bounded, at worst a 4xx for odd input."""

    media_type = "application/json"

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        body = stream.read(MAX_BODY + 1)
        if len(body) > MAX_BODY:
            raise RequestDataTooBig
        try:
            value = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
            if b"\\u" in body:
                # Escapes can encode half of a surrogate pair. Errors repeat values of the request,
                # and could not be rendered then.
                json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ParseError(
                _("The body contains an escaped surrogate without its other half.")
            ) from error
        # Arrays nested thousands deep exhaust the decoder's stack.
        except (ValueError, RecursionError) as error:
            raise ParseError(_("The body is not valid JSON.")) from error
        return value


class AlwaysJSON(BaseContentNegotiation):
    """Answer JSON whatever the client accepts."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> Any:
        content_type = (request.content_type or "").partition(";")[0].strip().lower()
        return next((item for item in parsers if item.media_type == content_type), None)

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, str(renderer.media_type)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
