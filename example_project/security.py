"""A strict Content-Security-Policy, which every page here, and the admin, supports."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse


def upload_hosts(url: str) -> tuple[str, ...]:
    """Return where a browser sends files: the emulator, or Filestack's regions and its storage."""
    if url.startswith("https://"):
        return ("https://*.filestackapi.com", "https://*.amazonaws.com")
    return (url,)


class ContentSecurityPolicy:
    """Allow scripts and styles from this site only, and uploads to Filestack too."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.policy = (
            "default-src 'self'; img-src 'self' data:; "
            f"connect-src 'self' {' '.join(upload_hosts(settings.FILESTACK_UPLOAD_URL))}; "
            "object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
        )

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", self.policy)
        return response
