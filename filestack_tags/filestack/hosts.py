"""Which hosts an external URL may name where strangers register files. No Django.

Filestack fetches external URLs, nothing here does; but whatever fetches one should not be led to
machines that only insiders reach. Names are not resolved: they may lead elsewhere when they are.
"""

from __future__ import annotations

import re
import socket
import unicodedata
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from filestack_tags.exceptions import InvalidReference

LOCAL_NAMES = ("localhost", "localdomain", "local", "internal", "intranet", "lan", "home.arpa")
"""Ends of names that mean a machine or a network of one's own (RFC 6761, 6762, 8375)."""

_NAT64 = IPv6Network("64:ff9b::/96")
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_ODD = re.compile(r"[\s\\%/?#@<>^|{}\"`]")


def require_public(url: str) -> None:
    """Refuse an ``http`` or ``https`` URL that names a private host, in whatever notation.

    Raises:
        InvalidReference: when its host is a private, loopback, link-local or reserved address, a
            name without a dot, or one that ends in :data:`LOCAL_NAMES`.
    """
    host = unicodedata.normalize("NFKC", urlsplit(url).hostname or "").casefold()
    host = host.removesuffix(".")
    address = _address(host)
    if address is not None:
        if not is_public(address):
            raise InvalidReference("The URL names an address that is not public.")
    elif _ODD.search(host):
        raise InvalidReference("The URL's host or port cannot be read.")
    elif "." not in host or host.endswith(tuple(f".{name}" for name in LOCAL_NAMES)):
        raise InvalidReference("The URL names a host that is not public.")


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a host is: ``127.1`` and ``0x7f000001`` are ones, too."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    if not _NUMBER.fullmatch(host.rpartition(".")[2]):
        return None
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:  # what ends in a number is no name either
        raise InvalidReference("The URL's host or port cannot be read.") from None


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is one of the internet, also where another is written within it."""
    if isinstance(address, IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            inner.append(IPv4Address(int(address) & 0xFFFFFFFF))
        if not all(is_public(each) for each in inner if each is not None):
            return False
        if address.ipv4_mapped is not None:
            return True
    return address.is_global and not address.is_multicast
