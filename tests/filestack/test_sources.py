"""The kinds of source that Filestack can read, and their form in a URL."""

from __future__ import annotations

from urllib.parse import unquote, unquote_to_bytes

import httpx2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filestack_tags.db.text import MAX_REFERENCE_LENGTH
from filestack_tags.exceptions import InvalidReference
from filestack_tags.filestack.sources import Source, handle_from_url
from filestack_tags.filestack.urls import normalized

text = st.text(
    st.characters(exclude_categories=["Cc", "Cs"]),
    max_size=200,
)


def received(url: str) -> bytes:
    """Return the path and query as the HTTP library sends them."""
    seen: list[bytes] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.url.raw_path)
        return httpx2.Response(200)

    with httpx2.Client(transport=httpx2.MockTransport(answer)) as client:
        client.get(url)
    return seen[0]


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        ("bfTNCigRLq0QMI6lrlBT", "handle"),
        ("Yq31nO8kbj6ijRJGvTE", "handle"),  # 19 characters, as in one example of the docs
        ("a-_Z9", "handle"),
        ("https://example.com/a.jpg", "url"),
        ("http://example.com:8080/?q", "url"),
        ("src://bucket/holiday/1.jpg", "alias"),
    ],
)
def test_the_kind_is_told_from_the_text(reference, kind):
    source = Source.parse(f" {reference}\n")
    assert (source.kind, source.reference) == (kind, reference)
    assert Source.of(kind, reference) == source
    assert source.needs_api_key is (kind != "handle")


@pytest.mark.parametrize(
    ("kind", "reference", "reason"),
    [
        ("handle", "", "1 to 64"),
        ("handle", "a" * 65, "1 to 64"),
        ("handle", "a/b", "letters, digits"),
        ("handle", "zdjęcie", "letters, digits"),
        ("handle", "abc\n", "control"),
        ("url", "ftp://example.com/", "http:// or https://"),
        ("url", "javascript:alert(1)", "http:// or https://"),
        ("url", "https://", "no host"),
        ("url", "https:///path", "no host"),
        ("url", "https://me:pw@example.com/", "password"),
        ("url", "https://example.com:99999/", "port"),
        ("url", "https://[::1/", "host or port"),
        ("url", "https://example.com/\r\nX: y", "control"),
        ("url", "https://example.com/\ud800", "control"),
        ("url", "https://example.com/" + "a" * MAX_REFERENCE_LENGTH, "4096"),
        ("alias", "src://bucket", "src://ALIAS/PATH"),
        ("alias", "src://bucket/", "src://ALIAS/PATH"),
        ("alias", "src:///a.jpg", "src://ALIAS/PATH"),
        ("alias", "src://../a.jpg", "src://ALIAS/PATH"),
        ("alias", "bucket/a.jpg", "src://ALIAS/PATH"),
        ("alias", "src://bucket/a/../b.jpg", "'..'"),
        ("file", "a", "handle, url or alias"),
        ("handle", 7, "text, not int"),
    ],
)
def test_what_is_no_reference_is_refused_with_a_reason(kind, reference, reason):
    with pytest.raises(InvalidReference, match=reason.replace("(", r"\(")):
        Source.of(kind, reference)


def test_other_schemes_are_refused():
    with pytest.raises(InvalidReference, match="http, https and src://"):
        Source.parse("wf://1/2/3")


@pytest.mark.parametrize(
    ("source", "path"),
    [
        (Source.handle("abc_-1"), "abc_-1"),
        (
            Source.url("https://example.com/a b/ü.jpg?x=1&y=2#f"),
            "https%3A%2F%2Fexample.com%2Fa%2520b%2F%25C3%25BC.jpg%3Fx%3D1%26y%3D2",
        ),
        (Source.alias("bucket", "/a b/ü,1.jpg"), "src://bucket/a%20b/%C3%BC%2C1.jpg"),
        (Source.alias("bucket", "100%25?#.jpg"), "src://bucket/100%2525%3F%23.jpg"),
    ],
)
def test_each_kind_is_written_into_the_path(source, path):
    assert source.path == path


@given(text)
@example("/a%20b")
@example("/..//./%2e%2e/?a=https://b.com/?c#d")
@example("/%zz%")
def test_an_external_url_arrives_whole(tail):
    url = f"https://example.com/{tail}"
    source = Source.url(url)
    sent = received(f"https://cdn.test/KEY/tags/{source.path}")
    assert sent == f"/KEY/tags/{source.path}".encode()
    assert unquote_to_bytes(sent) == f"/KEY/tags/{normalized(url)}".encode()
    assert b"?" not in sent
    assert sent.count(b"/") == 3


@given(text.filter(lambda path: {".", ".."}.isdisjoint(path.split("/")) and path.strip("/")))
def test_an_alias_path_arrives_whole(path):
    source = Source.alias("bucket", path)
    sent = received(f"https://cdn.test/KEY/tags/{source.path}")
    assert unquote_to_bytes(sent) == f"/KEY/tags/{source.reference}".encode()


@given(
    st.text()
    | st.sampled_from(["https://", "src://"]).flatmap(lambda s: st.text().map(s.__add__))
)
def test_any_text_is_a_source_or_refused(reference):
    try:
        source = Source.parse(reference)
    except InvalidReference:
        return
    assert unquote(source.path) == source.reference
    assert source.path.isascii()


@pytest.mark.parametrize(
    ("url", "handle"),
    [
        ("https://cdn.filestackcontent.com/VJQTvCboRVivWJ2BpKgd", "VJQTvCboRVivWJ2BpKgd"),
        ("https://www.filestackapi.com/api/file/HANDLE", "HANDLE"),
        ("/CONVERSION_TASKS/HANDLE", "HANDLE"),
        ("https://cdn.filestackcontent.com/HANDLE/?x=/other", "HANDLE"),
        ("https://cdn.filestackcontent.com/", None),
        ("https://example.com", None),
        ("https://example.com/a.jpg", None),
        ("http://[bad/HANDLE", None),
        ("", None),
    ],
)
def test_the_handle_is_the_last_segment_of_a_file_url(url, handle):
    assert handle_from_url(url) == handle
