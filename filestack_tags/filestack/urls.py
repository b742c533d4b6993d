"""Normalize external URLs: one spelling for URLs that make the same request. No Django."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import quote, urlsplit

import idna

from filestack_tags.exceptions import InvalidReference

PORTS: Final = {"http": 80, "https": 443}

_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ALLOWED = "%!$&'()*+,;=:@/?[]"
"""Characters allowed in a path or query (RFC 3986), and ``[]``, which browsers keep too."""

_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})?")
_HOST = re.compile(r"(?=.{1,254}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")


def normalized(url: str) -> str:
    """Return an ``http`` or ``https`` URL in normal form.

    Scheme and host are lowercase, the host is ASCII (IDNA), the default port and the fragment are
    removed, dot segments are resolved, and characters that a URL cannot contain are
    percent-encoded. Escapes are uppercase, and unreserved characters are not escaped (RFC 3986,
    section 6.2.2). Nothing else is changed: ``a%2Fb`` and ``a/b``, ``?`` and no query are different
    requests. Idempotent.

    Raises:
        InvalidReference: when the host or port is invalid, or there is no host.
    """
    try:
        parts = urlsplit(url)
        name, port = parts.hostname, parts.port
    except ValueError:
        raise InvalidReference("The URL's host or port cannot be read.") from None
    scheme = parts.scheme.lower()
    if not name:
        raise InvalidReference("The URL names no host.")
    place = host(name)
    if port is not None and port != PORTS.get(scheme):
        place = f"{place}:{port}"
    path = _without_dots(_escaped(parts.path)) or "/"
    # urlsplit() does not distinguish an empty query from a missing one.
    has_query = "?" in url.partition("#")[0]
    query = f"?{_escaped(parts.query)}" if has_query else ""
    return f"{scheme}://{place}{path}{query}"


def host(name: str) -> str:
    """Return a host in the form that is sent: lowercase ASCII, an IPv6 address in brackets.

    A trailing dot is kept, and so are numbers that some clients interpret as IPv4 addresses.

    Raises:
        InvalidReference: when it is neither a name nor an address.
    """
    if ":" in name:
        try:
            address = IPv6Address(name)
        except ValueError:
            address = None
        if address is None or address.scope_id is not None:
            raise InvalidReference("The URL's host or port cannot be read.")
        if address.ipv4_mapped is not None:  # Python versions format these differently
            low = int(address) & 0xFFFFFFFF
            return f"[::ffff:{low >> 16:x}:{low & 0xFFFF:x}]"
        return f"[{address.compressed}]"
    text = name
    if not name.isascii():
        try:
            text = idna.encode(name, uts46=True).decode("ascii")
        except UnicodeError:
            raise InvalidReference("The URL's host or port cannot be read.") from None
    text = text.lower()
    if not _HOST.fullmatch(text):
        raise InvalidReference("The URL's host or port cannot be read.")
    return text


def _escaped(text: str) -> str:
    return _ESCAPE.sub(_escape, quote(text, safe=_ALLOWED))


def _escape(match: re.Match[str]) -> str:
    digits = match[1]
    if digits is None:  # a percent sign that escapes nothing
        return "%25"
    char = chr(int(digits, 16))
    return char if char in _UNRESERVED else f"%{digits.upper()}"


def _without_dots(path: str) -> str:
    """Resolve ``.`` and ``..`` (RFC 3986, section 5.2.4)."""
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            if len(kept) > 1:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/".join(kept)
