"""Which hosts an external URL may name when users register files. No Django.

Filestack fetches external URLs, and nothing here does; but a fetcher should not be directed to
machines that only insiders can reach. Names are not resolved, because they may resolve to something
else later. Requests from here, such as outbound webhooks, check each resolved address with
:func:`is_public`.
"""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from filestack_tags.exceptions import InvalidReference

from .urls import normalized

LOCAL_NAMES = frozenset(
    {
        # Special use: RFC 6761, 6762, 7686, 9476; IANA's registry lists several under .arpa, and
        # none of those names is a public web site. ``.example`` is not here: RFC 6761 requires
        # software to treat it like any other name.
        *("localhost", "local", "test", "invalid", "onion", "alt", "arpa"),
        # Reserved by ICANN for private use, or never delegated because of widespread private use.
        *("internal", "home", "corp", "mail"),
        # Never delegated, and common in private networks and clusters (RFC 6762, appendix G).
        *("intranet", "intra", "private", "lan", "localdomain", "domain", "workgroup"),
        *("svc", "consul"),
    }
)
"""Suffixes of names of local machines or networks."""

_NAT64 = IPv6Network("64:ff9b::/96")
_6TO4_RELAYS = IPv4Network("192.88.99.0/24")
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NOT_PUBLIC = (
    IPv6Network("2001::/23"),  # IETF protocols: Teredo, benchmarks, ORCHID
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network(
        "2002::/16"
    ),  # 6to4, which RFC 7526 deprecated; Python up to 3.12 considers it public
    IPv6Network("3fff::/20"),  # documentation
)
_ISATAP = (0x00005EFE, 0x02005EFE)
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")


def require_public(url: str) -> None:
    """Reject an ``http`` or ``https`` URL with a private host, in any notation.

    Raises:
        InvalidReference: when its host is a private, loopback, link-local or reserved address, a
            name without a dot, or one that ends in one of :data:`LOCAL_NAMES`.
    """
    host = (urlsplit(normalized(url)).hostname or "").removesuffix(".")
    address = _address(host)
    if address is not None:
        if not is_public(address):
            raise InvalidReference("The URL names an address that is not public.")
    elif "." not in host or host.rpartition(".")[2] in LOCAL_NAMES:
        raise InvalidReference("The URL names a host that is not public.")


def is_loopback(url: str) -> bool:
    """Return whether the host of a URL is this machine: ``localhost`` or a loopback address."""
    try:
        host = (urlsplit(url).hostname or "").casefold().removesuffix(".")
        address = _address(host)
    except ValueError:
        return False
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address of a host, if it is one; ``127.1`` and ``0x7f000001`` are, too."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    if not _NUMBER.fullmatch(host.rpartition(".")[2]):
        return None
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:  # a host that ends in a number is not a name either
        raise InvalidReference("The URL's host or port cannot be read.") from None


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is a public unicast address, including an address embedded in it.

    IPv6 addresses are public only in 2000::/3. Addresses that embed an IPv4 address (mapped, NAT64,
    ISATAP) are public if that one is.
    """
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and address not in _6TO4_RELAYS
    number = int(address)
    last = IPv4Address(number & 0xFFFFFFFF)
    if address.ipv4_mapped is not None or address in _NAT64:
        return is_public(last)
    if address not in _GLOBAL_UNICAST or any(address in network for network in _NOT_PUBLIC):
        return False
    if number >> 32 & 0xFFFFFFFF in _ISATAP and not is_public(last):
        return False
    return address.is_global
