"""External URLs: one spelling for one request, and never one for two."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filestack_tags.db.text import reference_digest
from filestack_tags.exceptions import InvalidReference
from filestack_tags.filestack.sources import Source, handle_in_link
from filestack_tags.filestack.urls import normalized

SAME = [
    ["https://h.com/a b.jpg", "https://h.com/a%20b.jpg", "https://h.com/%61%20b.jpg"],
    [
        "https://h.com",
        "https://h.com/",
        "HTTPS://H.COM:443",
        "https://h.com:/",
        "https://h.com#x",
    ],
    ["http://h.com:80/x", "http://h.com/x", "http://h.com:0080/x"],
    [
        "https://h.com/b",
        "https://h.com/a/../b",
        "https://h.com/./a/%2e%2E/b",
        "https://h.com/../b",
    ],
    ["https://h.com/a/", "https://h.com/a/.", "https://h.com/a/b/.."],
    ["https://h.com/%C3%BC", "https://h.com/ü", "https://h.com/%c3%bc"],
    ["https://h.com/~a-b_c", "https://h.com/%7Ea%2db%5Fc"],
    ["https://h.com/?q=%C3%BC%20", "https://h.com/?q=ü ", "https://h.com?q=%c3%BC%20#f"],
    ["https://h.com/%zz%", "https://h.com/%25zz%25"],
    ["https://bücher.de/a", "https://xn--bcher-kva.de/a", "https://BÜCHER.de/a"],
    ["https://[2A00:1450::0:1]/a", "https://[2a00:1450::1]/a"],
    ["https://[::ffff:8.8.8.8]/a", "https://[::FFFF:808:808]/a"],
    ['https://h.com/"<>`{}|\\^', "https://h.com/%22%3C%3E%60%7B%7D%7C%5C%5E"],
]

DIFFERENT = [
    "https://h.com/a",
    "http://h.com/a",
    "https://h.com:8443/a",
    "http://h.com:443/a",
    "https://www.h.com/a",
    "https://h.com./a",
    "https://h.com/A",
    "https://h.com/a/",
    "https://h.com//a",
    "https://h.com/a?",
    "https://h.com/a?b",
    "https://h.com/a%3Fb",
    "https://h.com/a?b=1&c=2",
    "https://h.com/a?c=2&b=1",
    "https://h.com/a?b=1%26c=2",
    "https://h.com/a/b",
    "https://h.com/a%2Fb",
    "https://h.com/a+b",
    "https://h.com/a%2Bb",
    "https://h.com/a%20b",
    "https://h.com/a?x=+",
    "https://h.com/a?x=%20",
    "https://h.com/a%23b",
    "https://h.com/a%25b",
    "https://h.com/a%2520b",
    "https://h.com/%C3%BC",
    "https://h.com/u%CC%88",
    "https://h.com/%FC",
    "https://h.com/a?x=..",
    "https://h.com/a?x=/../",
    "https://h.com/a?x=/b/../",
    "https://h.com/a/.../b",
    "https://h.com/a;b",
    "https://h.com/a%3Bb",
]


@pytest.mark.parametrize("spellings", SAME)
def test_urls_that_make_the_same_request_are_one(spellings: list[str]) -> None:
    assert len({normalized(url) for url in spellings}) == 1
    assert len({Source.url(url) for url in spellings}) == 1


def test_urls_that_make_different_requests_are_different() -> None:
    digests = {reference_digest("url", Source.url(url).reference) for url in DIFFERENT}
    assert len(digests) == len(DIFFERENT)


RESERVED = "!$&'()*+,;=:@/?[]"
UNRESERVED = "abzAZ09-._~"
piece = st.one_of(
    st.sampled_from([*RESERVED, *UNRESERVED, " ", "ü", "日", "%", "|", "\\", '"']),
    st.integers(0, 255).map(lambda byte: f"%{byte:02X}"),
    st.integers(0, 255).map(lambda byte: f"%{byte:02x}"),
    st.sampled_from(["/../", "/./", "/..", "%2e", "/%2E%2e/", "//"]),
)
tails = st.lists(piece, max_size=8).map("".join)


def request(tail: str) -> tuple[object, ...]:
    """Return the request for ``/`` and this tail: written token by token according to RFC 3986, and
    independent of the package.
    """
    path, has_query, query = f"/{tail}".partition("?")
    segments: list[tuple[tuple[str, int], ...]] = []
    raw = path.split("/")[1:]
    dots = {".": 1, "..": 2}
    for number, text in enumerate(raw):
        tokens = tuple(read(text))
        plain = "".join(chr(byte) for kind, byte in tokens if kind == "plain")
        count = dots.get(plain, 0) if len(plain) == len(tokens) else 0
        if count == 2 and segments:
            segments.pop()
        if count and number == len(raw) - 1:
            segments.append(())
        if not count:
            segments.append(tokens)
    return tuple(segments), bool(has_query), tuple(read(query))


def read(text: str) -> list[tuple[str, int]]:
    tokens: list[tuple[str, int]] = []
    rest = text
    hexadecimal = set("0123456789abcdefABCDEF")
    while rest:
        if rest[0] == "%" and len(rest) > 2 and set(rest[1:3]) <= hexadecimal:
            char, rest = chr(int(rest[1:3], 16)), rest[3:]
            is_plain = char.isascii() and (char.isalnum() or char in "-._~")
            tokens.append(("plain" if is_plain else "escaped", ord(char)))
            continue
        char, rest = rest[0], rest[1:]
        if char in RESERVED:
            tokens.append(("reserved", ord(char)))
        elif char.isascii() and (char.isalnum() or char in "-._~"):
            tokens.append(("plain", ord(char)))
        else:
            tokens += [("escaped", byte) for byte in char.encode()]
    return tokens


@given(tails, tails)
@example("a/../b", "b")
@example("a//../b", "a/b")
@example("..", "")
@example("a/%2e%2e", "")
@example("%", "%25")
def test_the_same_key_is_given_to_the_same_request_and_to_no_other(
    left: str, right: str
) -> None:
    first, second = (normalized(f"https://h.com/{tail}") for tail in (left, right))
    assert (first == second) is (request(left) == request(right))


@given(tails, st.sampled_from(["h.com", "BÜCHER.de", "[2a00::1]", "1.2.3.4", "h.com.:8080"]))
def test_normalizing_twice_changes_nothing_and_a_client_sends_it_as_it_is(
    tail: str, place: str
) -> None:
    url = normalized(f"HTTPS://{place}/{tail}#fragment")
    assert normalized(url) == url
    assert url.isascii()
    assert not set(url) & set(' "<>\\^`{|}#')
    parts = urlsplit(url)
    sent = httpx2.URL(url)
    assert sent.raw_path.decode() == url.removeprefix(f"https://{parts.netloc}")


@pytest.mark.parametrize(
    "url",
    [
        "https://h.com:x/",
        "https://[::1%25eth0]/",
        "https://[::1%eth0]/",
        "https://a b.com/",
        "https://a..b.com/",
        "https://-ü-.com/",
        "https://" + "a" * 64 + ".com/",
        "https://a%41.com/",
        "https://h.com\\.example.com/",
    ],
)
def test_a_host_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidReference, match="host or port"):
        Source.url(url)


HANDLE = "bfTNCigRLq0QMI6lrlBT"
OURS = ("cdn.photos.example", "127.0.0.1:8901")


@pytest.mark.parametrize(
    "link",
    [
        f"https://cdn.filestackcontent.com/{HANDLE}",
        f"https://cdn.filestackcontent.com/{HANDLE}?policy=p&signature=s",
        f"https://CDN.filestackcontent.com:443/AKEY/{HANDLE}#x",
        f"https://cdn.filestackcontent.com/security=p:eyJ9==,s:abc/{HANDLE}",
        f"https://cdn.filestackcontent.com/AKEY/security=p:eyJ9==,s:abc/resize=w:10,h:20/tags/{HANDLE}",
        f"https://cdn.filestackcontent.com/cache=false/output=format:jpg/{HANDLE}/",
        f"https://cdn.filestackcontent.com/{HANDLE}/metadata?size=true",
        f"https://process.filestackapi.com/AKEY/{HANDLE}",
        f"https://www.filestackapi.com/api/file/{HANDLE}",
        f"https://www.filestackapi.com/api/file/{HANDLE}/metadata",
        f"https://cdn.photos.example/sfw/{HANDLE}",
        f"http://127.0.0.1:8901/{HANDLE}",
    ],
)
def test_a_link_to_a_stored_file_is_its_handle(link: str) -> None:
    assert handle_in_link(link, OURS) == HANDLE


@pytest.mark.parametrize(
    "link",
    [
        f"https://example.com/{HANDLE}",
        f"https://photos.example/{HANDLE}",
        f"http://127.0.0.1:8902/{HANDLE}",
        f"https://cdn.filestackcontent.com.example.com/{HANDLE}",
        f"https://cdn.filestackcontent.com/AKEY/tags/https://example.com/{HANDLE}",
        f"https://cdn.filestackcontent.com/AKEY/tags/https%3A%2F%2Fexample.com%2F{HANDLE}",
        f'https://cdn.filestackcontent.com/AKEY/tags/"https://example.com/{HANDLE}"',
        f"https://cdn.filestackcontent.com/AKEY/src://shop/{HANDLE}",
        f"https://cdn.filestackcontent.com/AKEY/wf://{HANDLE}/{HANDLE}/{HANDLE}",
        f"https://cdn.filestackcontent.com/[{HANDLE},{HANDLE}]",
        "https://cdn.filestackcontent.com/",
        "https://cdn.filestackcontent.com/a.jpg",
        "https://cdn.filestackcontent.com/metadata",
        f"https://[bad/{HANDLE}",
    ],
)
def test_other_links_lead_to_no_handle(link: str) -> None:
    assert handle_in_link(link, OURS) is None
