"""The strictest Content-Security-Policy that the admin's pages must support."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse


class StrictPolicy:
    """Nothing inline and nothing from other sites, except uploads to Filestack."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        cdn = urlsplit(settings.FILESTACK_CDN_URL)
        filestack = f"{cdn.scheme}://{cdn.netloc}"
        self.policy = (
            "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; "
            f"img-src 'self' data:; connect-src 'self' {filestack}; "
            "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        )

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers["Content-Security-Policy"] = self.policy
        return response
