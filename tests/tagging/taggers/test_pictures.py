"""Untrusted bytes become an upright picture, or a clear error."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from filestack_tags.exceptions import UnreadableImage
from filestack_tags.tagging.taggers.local.decoder_process import (
    MAX_PIXELS,
    UPRIGHT,
    WORKING_SIDE,
)
from filestack_tags.tagging.taggers.local.pictures import MAX_BYTES, network_views, open_picture

RED, BLUE = (220, 20, 20), (20, 20, 220)


def encoded(image: Image.Image, format_name: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_name, **options)
    return stream.getvalue()


def plain(
    mode: str = "RGB", size: tuple[int, int] = (60, 40), colour: object = RED
) -> Image.Image:
    return Image.new(mode, size, colour)


def centre(data: bytes) -> tuple[int, ...]:
    image = open_picture(data).image
    pixel = image.getpixel((image.width // 2, image.height // 2))
    assert isinstance(pixel, tuple)
    return pixel


@pytest.mark.parametrize("format_name", ["AVIF", "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP"])
def test_the_formats_of_the_web_are_read(format_name: str) -> None:
    if format_name == "AVIF" and not features.check("avif"):
        pytest.skip("Pillow has AVIF since 11.3, and not in every build")
    picture = open_picture(encoded(plain(), format_name))
    assert (picture.width, picture.height, picture.image.mode) == (60, 40, "RGB")
    assert centre(encoded(plain(), format_name)) == pytest.approx(RED, abs=8)


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 90, (90, 90, 90)),
        ("LA", (90, 0), (255, 255, 255)),
        ("RGBA", (*RED, 255), RED),
        ("RGBA", (*RED, 0), (255, 255, 255)),
        ("I;16", 0x8080, (128, 128, 128)),
        ("P", 0, (0, 0, 0)),
    ],
)
def test_every_way_to_store_pixels_ends_as_rgb_on_white(
    mode: str, colour: object, expected: tuple[int, ...]
) -> None:
    assert centre(encoded(plain(mode, colour=colour))) == expected


def test_cmyk_is_read() -> None:
    assert centre(encoded(plain("CMYK", colour=(0, 0, 0, 0)), "JPEG")) == (255, 255, 255)


def test_a_palette_with_a_transparent_entry_is_laid_on_white() -> None:
    image = plain("P", colour=0)
    image.putpalette([*RED] * 256)
    data = encoded(image, transparency=bytes([0] * 256))
    assert centre(data) == (255, 255, 255)
    assert open_picture(data).transparent


def test_an_opaque_alpha_channel_is_no_transparency() -> None:
    assert not open_picture(encoded(plain("RGBA", colour=(*RED, 255)))).transparent


@pytest.mark.parametrize("mode", ["I", "F"])
def test_levels_without_a_known_range_are_stretched(mode: str) -> None:
    levels = np.linspace(-5, 70_000, 60 * 40).reshape(40, 60)
    image = Image.fromarray(levels.astype(np.int32 if mode == "I" else np.float32))
    assert image.mode == mode
    grey = np.asarray(open_picture(encoded(image, "TIFF")).image)
    assert (grey.min(), grey.max()) == (0, 255)


def test_levels_that_are_no_numbers_are_read_as_darkness() -> None:
    levels = np.full((40, 60), np.nan, np.float32)
    levels[0, 0] = np.inf
    assert centre(encoded(Image.fromarray(levels), "TIFF")) == (0, 0, 0)


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [plain(colour=RED), plain(colour=BLUE)]
    for format_name in ("GIF", "WEBP"):
        data = encoded(frames[0], format_name, save_all=True, append_images=frames[1:])
        assert centre(data) == pytest.approx(RED, abs=8)


def test_a_phone_picture_with_a_second_picture_inside_is_read() -> None:
    data = encoded(plain(), "MPO", save_all=True, append_images=[plain(colour=BLUE)])
    assert centre(data) == pytest.approx(RED, abs=8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_upright(orientation: int) -> None:
    """The upper half is red once the camera's rotation is undone."""
    upright = plain(size=(60, 40), colour=BLUE)
    upright.paste(RED, (0, 0, 60, 20))
    undo = UPRIGHT.get(orientation)
    inverse = {Image.Transpose.ROTATE_90: 4, Image.Transpose.ROTATE_270: 2}
    stored = upright if undo is None else upright.transpose(inverse.get(undo, undo))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = open_picture(encoded(stored, "PNG", exif=exif))
    assert (picture.width, picture.height) == (60, 40)
    assert picture.image.getpixel((30, 5)) == RED
    assert picture.image.getpixel((30, 35)) == BLUE


def test_the_camera_tells_of_flash_place_and_exposure() -> None:
    exif = Image.Exif()
    camera = exif.get_ifd(0x8769)
    camera[0x9209], camera[0x8827], camera[0x829A] = 0x19, 3200, 0.5
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    picture = open_picture(encoded(plain(), "JPEG", exif=exif))
    assert (picture.flash, picture.geotagged, picture.exposure) == (True, True, 1600.0)


def test_several_sensitivities_count_as_their_first() -> None:
    exif = Image.Exif()
    camera = exif.get_ifd(0x8769)
    camera[0x8827], camera[0x829A] = (400, 800), 0.5
    assert open_picture(encoded(plain(), "JPEG", exif=exif)).exposure == 200.0


def test_an_exposure_without_limit_counts_as_unknown() -> None:
    exif = Image.Exif()
    camera = exif.get_ifd(0x8769)
    camera[0x8827], camera[0x829A] = 400, (1, 0)
    assert open_picture(encoded(plain(), "TIFF", exif=exif)).exposure == 0.0


def test_an_empty_place_is_no_place() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8825)[0] = b"\2\3\0\0"
    assert not open_picture(encoded(plain(), "JPEG", exif=exif)).geotagged


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow warns, as it does for a host
def test_broken_exif_does_not_spoil_the_picture() -> None:
    data = encoded(plain(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    picture = open_picture(data)
    assert (picture.flash, picture.geotagged, picture.exposure) == (False, False, 0.0)


def test_exif_that_is_none_does_not_spoil_the_picture() -> None:
    assert centre(encoded(plain(), "PNG", exif=b"no EXIF at all")) == RED


def test_a_big_picture_is_brought_down_and_keeps_its_true_size() -> None:
    for format_name in ("JPEG", "PNG"):
        picture = open_picture(encoded(plain(size=(2000, 1000)), format_name))
        assert picture.image.size == (2 * WORKING_SIDE, WORKING_SIDE)
        assert (picture.width, picture.height) == (2000, 1000)


def test_the_views_show_the_centre_and_the_whole() -> None:
    """The blue ends of a wide red picture are only in the squashed view."""
    image = plain(size=(600, 200), colour=RED)
    image.paste(BLUE, (0, 0, 150, 200))
    image.paste(BLUE, (450, 0, 600, 200))
    crop, whole = network_views(open_picture(encoded(image)))
    assert crop.shape == whole.shape == (3, 224, 224)
    red, blue = (RED[0] - 127) / 128, (BLUE[0] - 127) / 128
    assert crop[0, 112, 5] == pytest.approx(red)
    assert whole[0, 112, 112] == pytest.approx(red)
    assert whole[0, 112, 5] == pytest.approx(blue)


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1)])
def test_the_thinnest_picture_has_views(size: tuple[int, int]) -> None:
    assert network_views(open_picture(encoded(plain(size=size)))).shape == (2, 3, 224, 224)


@pytest.mark.parametrize(
    "data",
    [b"", b"not a picture", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7\n"],
)
def test_bytes_of_no_known_format_are_refused_with_the_formats(data: bytes) -> None:
    with pytest.raises(UnreadableImage, match=r"not a picture .* BMP, GIF, JPEG"):
        open_picture(data)


def test_a_format_pillow_reads_but_we_do_not_is_refused() -> None:
    """PostScript would start Ghostscript."""
    with pytest.raises(UnreadableImage, match="not a picture"):
        open_picture(encoded(plain(), "EPS"))


@pytest.mark.parametrize("format_name", ["BMP", "JPEG", "PNG", "TIFF", "WEBP"])
def test_a_file_that_was_cut_off_is_refused(format_name: str, photos: Path) -> None:
    with Image.open(photos / "coffee.jpg") as image:
        data = encoded(image, format_name)
    with pytest.raises(UnreadableImage, match=r"broken or cut off|not a picture"):
        open_picture(data[: len(data) // 2])


def test_more_bytes_than_the_limit_are_not_looked_at() -> None:
    with pytest.raises(UnreadableImage, match=str(MAX_BYTES)):
        open_picture(bytes(MAX_BYTES + 1))


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


@pytest.mark.parametrize("height", [8_001, 9_500, 20_000])
@pytest.mark.parametrize("action", ["error", "ignore"])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(height: int, action: str) -> None:
    """Depending on the size, Pillow accepts, warns, or raises; the result is the same."""
    with warnings.catch_warnings():
        warnings.simplefilter(action)  # type: ignore[arg-type]
        with pytest.raises(UnreadableImage, match=str(MAX_PIXELS)):
            open_picture(png_claiming(10_000, height))


@given(st.data())
def test_whatever_the_bytes_only_unreadable_image_is_raised(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP"]))
    content = bytearray(encoded(plain(size=(20, 20)), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        picture = open_picture(bytes(content))
    except UnreadableImage:
        return
    assert picture.image.mode == "RGB"
