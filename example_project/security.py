"""A strict Content-Security-Policy, which every page here, and the admin, works under."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse


class ContentSecurityPolicy:
    """Allow scripts and styles from this site only, pictures also from Filestack."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        cdn = urlsplit(settings.FILESTACK_CDN_URL)
        self.policy = (
            f"default-src 'self'; img-src 'self' data: {cdn.scheme}://{cdn.netloc}; "
            "object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
        )

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", self.policy)
        return response
