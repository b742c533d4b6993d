"""Which hosts an external URL may name."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filestack_tags.exceptions import InvalidReference
from filestack_tags.filestack.private_hosts import LOCAL_NAMES, is_public, require_public

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
    "0.0.0.0",  # noqa: S104  # not bound
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
    "[fec0::1]",
    "[feff::1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[64:ff9b:1:ffff::8.8.8.8]",
    "[2001::7f00:1]",
    "[2001:0:808:808:8000:0:f7f7:f7f7]",  # Teredo
    "[2002:c0a8:101::1]",
    "[2002:808:808::1]",  # 6to4
    "[2002:a9fe:a9fe::]",
    "[::127.0.0.1]",
    "[::7f00:1]",
    "[::8.8.8.8]",  # IPv4-compatible
    "[::ffff:0:127.0.0.1]",  # SIIT
    "[100::1]",
    "[2001:db8::1]",
    "[3fff::1]",
    "[5f00::1]",
    "[4000::1]",
    "[2606:4700::5efe:10.0.0.1]",  # ISATAP
    "[::1%25lo]",
    "[fe80::1%eth0]",
    "[2606:4700::1111%25eth0]",
    "192.88.99.1",
    "0300.0250.0.1",
    "0xc0a80001",
    "3232235521",
    "0x7F.0.0.01",
    "127.0.0.1。",
    "127.0.0.1｡",
    "127．0．0．1",
    "①②⑦.⓪.⓪.①",
    "127\u00ad.0.0.1",
    "loc\u00adalhost",
    "ｌｏｃａｌｈｏｓｔ",
    "ⓛocalhost.",
    "router.home",
    "mail.corp",
    "api.default.svc",
    "api.default.svc.cluster.local",
    "METADATA.INTERNAL.",
    "a.localhost.",
    "site.test",
    "x.invalid",
    "hidden.onion",
    "x.alt",
    "1.0.0.127.in-addr.arpa",
    "box.lan",
    "box.localdomain",
    "db.service.consul",
    "a..b.com",
    ".example.com",
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
        "home.example.com",
        "corp.de",
        "internal.example.com",
        "svc.io",
        "straße.de",
        "例え.テスト.example.com",
        "[2a00:1450:4001:81b::200e]",
        "[64:ff9b::8.8.8.8]",
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


def is_refused(host: str) -> bool:
    try:
        require_public(f"http://{host}/a.jpg")
    except InvalidReference:
        return True
    return False


IPV4 = st.ip_addresses(v=4) | st.integers(0, 2**16).map(lambda n: IPv4Address((127 << 24) + n))
IPV6 = (
    st.ip_addresses(v=6)
    | IPV4.map(lambda inner: IPv6Address((0xFFFF << 32) + int(inner)))
    | IPV4.map(lambda inner: IPv6Address((0x64FF9B << 96) + int(inner)))
    | IPV4.map(lambda inner: IPv6Address((0x64FF9B0001 << 80) + int(inner)))
    | IPV4.map(lambda inner: IPv6Address((0x2002 << 112) + (int(inner) << 80)))
    | IPV4.map(lambda inner: IPv6Address(int(inner)))
    | st.integers(0, 2**120 - 1).map(lambda n: IPv6Address((0x20 << 120) + n))
)


@given(IPV4)
def test_an_ipv4_address_is_judged_alike_in_every_notation(address: IPv4Address) -> None:
    number, parts = int(address), str(address).split(".")
    notations = [
        str(address),
        f"{address}.",
        str(number),
        hex(number),
        f"0{number:o}",
        ".".join(f"0x{int(part):x}" for part in parts),
        ".".join(f"0{int(part):o}" for part in parts),
        f"{parts[0]}.{number & 0xFFFFFF}",
        f"{parts[0]}.{parts[1]}.{number & 0xFFFF}",
        str(address).translate({ord("0") + n: ord("０") + n for n in range(10)}),
        str(address).replace(".", "。"),
        f"[::ffff:{address}]",
        f"[64:ff9b::{address}]",
    ]
    refused = {is_refused(text) for text in notations}
    assert refused == {not is_public(address)}
    if is_public(address):  # the standard library is the oracle
        assert address.is_global
    for kind in ("is_private", "is_loopback", "is_link_local", "is_multicast", "is_reserved"):
        assert not (getattr(address, kind) and is_public(address))


@given(IPV6)
@example(IPv6Address("fec0::1"))
def test_no_ipv6_address_that_is_or_carries_a_private_one_is_public(
    address: IPv6Address,
) -> None:
    public = is_public(address)
    assert is_refused(f"[{address}]") is is_refused(f"[{address.exploded}]") is (not public)
    carried = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if int(address) >> 32 in (0, 0x64FF9B << 64):
        carried.append(IPv4Address(int(address) & 0xFFFFFFFF))
    if public:
        assert all(is_public(each) for each in carried if each is not None)
        for kind in ("site_local", "link_local", "multicast", "loopback", "unspecified"):
            assert not getattr(address, f"is_{kind}")
        if address.ipv4_mapped is None and int(address) >> 32 != 0x64FF9B << 64:
            assert address.is_global


@given(
    st.sampled_from(sorted(LOCAL_NAMES)),
    st.from_regex(r"[a-z][a-z0-9-]{0,9}", fullmatch=True),
    st.sampled_from(["", "."]),
    st.sampled_from([str, str.upper, str.title]),
)
def test_a_local_name_is_refused_at_the_end_and_there_alone(
    end: str, label: str, dot: str, spell: object
) -> None:
    assert callable(spell)
    assert is_refused(spell(f"{label}.{end}{dot}"))
    assert is_refused(spell(f"{label}{dot}"))
    assert not is_refused(spell(f"{end}.example.com{dot}"))
