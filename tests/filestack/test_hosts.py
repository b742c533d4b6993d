"""Which hosts an external URL may name."""

from __future__ import annotations

import pytest

from filestack_tags.exceptions import InvalidReference
from filestack_tags.filestack.hosts import require_public

PRIVATE = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "127.0.0.1.",
    "１２７。０。０。１",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",  # noqa: S104  # bound to by nobody
    "0",
    "255.255.255.255",
    "224.0.0.1",
    "198.18.0.1",
    "[::1]",
    "[::]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fd00::1]",
    "[ff02::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:a00:1]",
    "[2002:7f00:1::]",
    "[64:ff9b::127.0.0.1]",
    "localhost",
    "LOCALHOST.",
    "a.localhost",
    "printer",
    "printer.local",
    "db.internal",
    "router.home.arpa",
    "metadata.google.internal",
    "127.0.0.1%2f.example.com",
    "127.0.0.1\\.example.com",
    "%31%32%37.0.0.1",
    "999999999999",
    "1.2.3.4.5",
]


@pytest.mark.parametrize("host", PRIVATE)
def test_a_private_host_is_refused_in_whatever_notation(host: str) -> None:
    for port in ("", ":8080"):
        with pytest.raises(InvalidReference):
            require_public(f"http://{host}{port}/a.jpg")


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "example.com.",
        "Bücher.example",
        "xn--bcher-kva.example",
        "a_b.example.com",
        "localhost.example.com",
        "8.8.8.8",
        "[2606:4700::1111]",
        "[::ffff:8.8.8.8]",
        "3com.com",
        "0xcafe.example",
    ],
)
def test_a_public_host_is_taken(host: str) -> None:
    url = f"https://{host}:8443/a%20b.jpg?x=http://127.0.0.1/"
    assert require_public(url) is None  # type: ignore[func-returns-value]  # refused, it raises
