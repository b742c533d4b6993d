"""Analyzing pictures: with the real tagger, and without its packages."""

from __future__ import annotations

import sys

import httpx2
import pytest
from PIL import Image

from filestack_tags.exceptions import TaggerUnavailable
from filestack_tags.tagging.taggers.local import tag_picture
from filestack_tags.testing import EmulatorApp
from filestack_tags.testing.files import mimetype_of
from filestack_tags.testing.pictures import Eye, file_name, size, transform
from filestack_tags.testing.wire import Refused

from .surroundings import BASE, config, look, picture, raw_app, security


def test_by_default_the_local_tagger_looks() -> None:
    with EmulatorApp(config(tagger=None)) as app:
        file = app.files.add(
            picture("blue", (200, 100)), filename="a", mimetype="", options={}, base_url=BASE
        )
        with httpx2.Client(transport=raw_app(app), base_url=BASE) as http:
            reply = http.get(f"/{security('convert')}/tags/{file.handle}").json()

    assert reply["tags"]["auto"] == tag_picture(picture("blue", (200, 100)))
    assert "blue" in reply["tags"]["auto"]


def test_without_the_local_tagger_the_cure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "filestack_tags.tagging.taggers.local", None)

    with pytest.raises(Refused, match=r"django-filestack-tags\[local\]"):
        Eye(None, frozenset()).labels(picture())


def test_a_tagger_that_cannot_run_says_why() -> None:
    def unavailable(content: bytes) -> dict[str, int]:
        raise TaggerUnavailable("no model here")

    with pytest.raises(Refused, match="no model here") as caught:
        Eye(unavailable, frozenset()).labels(picture())
    assert caught.value.reply.status == 400


def test_without_pillow_pictures_are_tagged_but_not_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)

    assert Eye(lambda content: {"any": 1}, frozenset()).labels(b"x") == {"any": 1}
    assert size(picture_bytes) is None
    with pytest.raises(Refused, match="Pillow"):
        transform(picture_bytes, [])


picture_bytes = picture()


def test_a_picture_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filestack_tags.testing.pictures.MAX_PIXELS", 100)

    with pytest.raises(Refused, match="pixels"):
        transform(picture_bytes, [])


def test_a_decompression_bomb_is_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

    with pytest.raises(Refused, match="not a picture"):
        transform(picture_bytes, [])
    assert look(picture("red", (10, 10)))["red"] == 99


@pytest.mark.parametrize(
    ("content", "name", "claimed", "mimetype"),
    [
        (picture(format_name="PNG"), "a.jpg", "image/jpeg", "image/jpeg"),
        (picture(format_name="PNG"), "a.jpg", "", "image/png"),
        (picture(format_name="WEBP"), "a", "application/octet-stream", "image/webp"),
        (b"text", "a.txt", "application/octet-stream", "text/plain"),
        (b"", "", "", "application/octet-stream"),
    ],
)
def test_a_type_is_as_claimed_or_as_seen_or_as_named(
    content: bytes, name: str, claimed: str, mimetype: str
) -> None:
    assert mimetype_of(content, name, claimed) == mimetype


@pytest.mark.parametrize(
    ("name", "mimetype", "expected"),
    [
        ("a.jpeg", "image/jpeg", "a.jpeg"),
        ("a.gif", "image/png", "a.png"),
        ("", "image/png", "file.png"),
        ("../a.pdf", "application/pdf", "a.pdf"),
    ],
)
def test_a_converted_file_is_named_after_its_type(
    name: str, mimetype: str, expected: str
) -> None:
    assert file_name(name, mimetype) == expected
