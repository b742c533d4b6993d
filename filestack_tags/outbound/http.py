"""Posting: one HTTP request to a URL that a user entered, never to an internal machine.

The name is resolved once, every address it has must be public, and the connection uses the address
that was checked, so that DNS rebinding has no effect. Redirects and the proxies of the environment
are ignored. Only the status and ``Retry-After`` of the response are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from ipaddress import ip_address
from ssl import SSLContext
from urllib.parse import SplitResult, urlsplit

import httpx2

from filestack_tags.exceptions import EndpointError
from filestack_tags.filestack.client import hide_urls
from filestack_tags.filestack.deadline import Deadline, bounded, resolve, timeouts
from filestack_tags.filestack.private_hosts import is_public

MAX_URL = 2000


@dataclass(frozen=True)
class PostResult:
    """The result of a request: its status, or a short text that explains why it has none.

    Args:
        status: of the response.
        error: why there is no response.
        retry_after: seconds from the response's ``Retry-After``.
    """

    status: int | None = None
    error: str = ""
    retry_after: float | None = None

    @property
    def is_accepted(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def require_usable(url: str, *, insecure: bool) -> SplitResult:
    """Return the parts of a URL that can be posted to.

    Args:
        url: the URL.
        insecure: whether plain http and private addresses are allowed.

    Raises:
        EndpointError: when it is not an https URL, or contains a user name, a password or a
            fragment.
    """
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise EndpointError("This is not a URL.") from None
    schemes = ("https", "http") if insecure else ("https",)
    if parts.scheme not in schemes or not host or port == 0:
        raise EndpointError(f"The URL must begin with {schemes[0]}:// and name a host.")
    if "@" in parts.netloc or parts.fragment or len(url) > MAX_URL:
        raise EndpointError(
            f"The URL must hold no user, password or fragment, and at most {MAX_URL} characters."
        )
    if not url.isascii() or any(char.isspace() for char in url):
        raise EndpointError("The URL must be ASCII without spaces. Encode other characters.")
    return parts


def post(
    url: str, body: bytes, headers: Mapping[str, str], *, timeout: float, insecure: bool
) -> PostResult:
    """Post ``body``; never raises because of the other side.

    Args:
        url: as for :func:`require_usable`.
        body: the request body.
        headers: in addition to ``Host``.
        timeout: seconds for the whole exchange: resolving the name, connecting, TLS, sending, and
            the headers of the response.
        insecure: whether plain http and private addresses are allowed.
    """
    certificates = _certificates()
    deadline = Deadline(timeout)
    try:
        parts = require_usable(url, insecure=insecure)
        address = _address(parts, deadline, insecure=insecure)
    except EndpointError as error:
        return PostResult(error=str(error))
    except TimeoutError:
        return PostResult(error="The host's name was not resolved in time.")
    except OSError:
        return PostResult(error="The host's name cannot be resolved.")
    host = f"[{address}]" if ":" in address else address
    place = f"{host}:{parts.port}" if parts.port else host
    target = parts._replace(netloc=place).geturl()
    hide_urls()
    try:
        with (
            bounded(
                httpx2.Client(trust_env=False, follow_redirects=False, verify=certificates)
            ) as client,
            client.stream(
                "POST",
                target,
                content=body,
                headers={**headers, "Host": parts.netloc},
                extensions={"sni_hostname": parts.hostname, **timeouts(deadline)},
            ) as response,
        ):
            wait = retry_after(response.headers.get("Retry-After", ""))
            return PostResult(status=response.status_code, retry_after=wait)
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
        # No error text, which may contain the address.
        return PostResult(error=type(error).__name__)


@cache
def _certificates() -> SSLContext:
    """Return the certificates that verify receivers; loading them is slow."""
    return httpx2.create_ssl_context(trust_env=False)


def retry_after(text: str) -> float | None:
    """Return the seconds of a ``Retry-After`` header, None if it is invalid.

    It is a number of seconds or a date (RFC 9110, 10.2.3); a date in the past means 0.
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:  # asctime() names no zone, and means UTC
            moment = moment.replace(tzinfo=UTC)
        return max((moment - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, OverflowError):
        return None


def _address(parts: SplitResult, deadline: Deadline, *, insecure: bool) -> str:
    """Return the address to connect to.

    Raises:
        EndpointError: when one of the host's addresses is not public.
        OSError: when it has none, or the resolver does not answer in time.
    """
    port = parts.port or (443 if parts.scheme == "https" else 80)
    resolved = resolve(parts.hostname or "", port, deadline)
    addresses = [address.partition("%")[0] for address in resolved]
    if not insecure and not all(is_public(ip_address(address)) for address in addresses):
        raise EndpointError("The host has an address that is not public.")
    return addresses[0]
