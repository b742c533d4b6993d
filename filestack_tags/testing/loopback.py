"""The only network that the emulator uses: this machine."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

SEND_TIMEOUT = 30.0
"""Seconds Filestack waits for the response to a webhook (PLUGIN; the docs name none)."""


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is ``localhost`` or a loopback address; names are not resolved."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_loopback_url(url: str) -> bool:
    """Return whether ``url`` is an http URL whose host is this machine."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme == "http" and is_loopback(parts.hostname or "")


def fetch(url: str) -> tuple[int, str, bytes]:
    """GET a loopback URL; return status, content type and body. Redirects are not followed.

    Raises:
        OSError: no answer, or one that is not HTTP.
    """
    status, content_type, body = _exchange("GET", url, None, {}, 60.0)
    return status, content_type, body


def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """POST to a loopback URL and return the status.

    Raises:
        OSError: no answer within :data:`SEND_TIMEOUT`, or one that is not HTTP.
    """
    return _exchange("POST", url, body, headers, SEND_TIMEOUT)[0]


def _exchange(
    method: str, url: str, body: bytes | None, headers: Mapping[str, str], timeout: float
) -> tuple[int, str, bytes]:
    if not is_loopback_url(url):
        raise OSError("The emulator talks to loopback addresses over http only.")
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port or 80, timeout=timeout)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(method, target, body=body, headers=dict(headers))
        response = connection.getresponse()
        return response.status, response.headers.get("Content-Type", ""), response.read()
    except (HTTPException, ValueError) as err:
        raise OSError(f"No usable HTTP answer: {type(err).__name__}") from err
    finally:
        connection.close()
