"""The memory for one picture, measured by the operating system, whatever the picture is."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, features

from filestack_tags.exceptions import UnreadableImage
from filestack_tags.tagging.taggers.local import decoder_pool, tag_picture
from filestack_tags.tagging.taggers.local.decoder_pool import DECODERS, MEMORY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path("/proc/self/clear_refs").exists(), reason="Linux counts and limits the memory"
    ),
]

PROMISED = 300_000_000
"""The limit in docs/local-tagger.md, in bytes."""


def chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def png(width: int, height: int, bits: int = 8, kind: int = 2, *more: bytes) -> bytes:
    """A black PNG, made row by row; ``kind`` is 0 for gray, 2 for RGB, 6 for RGBA."""
    row = bytes(1 + width * {0: 1, 2: 3, 6: 4}[kind] * bits // 8)
    writer, rows = zlib.compressobj(1), max(1, (1 << 20) // len(row))
    pixels = b"".join(
        writer.compress(row * min(rows, height - top)) for top in range(0, height, rows)
    )
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    chunks = (chunk(b"IHDR", header), *more, chunk(b"IDAT", pixels + writer.flush()))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


def encoded(format_name: str, mode: str, side: int, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (side, side)).save(stream, format_name, **options)
    return stream.getvalue()


def frames(format_name: str, side: int) -> bytes:
    more = [Image.new("RGB", (side, side), color) for color in ("red", "blue", "green")]
    return encoded(format_name, "RGB", side, save_all=True, append_images=more)


def lying_avif() -> bytes:
    """An AVIF whose header says 100 x 100, and whose frame has 36 million pixels."""
    if not features.check("avif"):
        return b""
    said, true = struct.pack(">II", 100, 100), struct.pack(">II", 6000, 6000)
    return encoded("AVIF", "RGB", 6000, speed=10).replace(true, said)


def text_bomb() -> list[bytes]:
    """60 texts of a million characters; one beyond the BMP makes each take four bytes."""
    text = zlib.compress(("\N{GRINNING FACE}" + "a" * 1_000_000).encode())
    return [chunk(b"iTXt", b"k%d\0\1\0\0\0" % number + text) for number in range(60)]


def numbers_tiff() -> bytes:
    """A TIFF that lists the offsets of 8 million strips."""
    places = 8_000_000
    tags = [(256, 4, 1, 10), (257, 4, 1, 10), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, places, 200), (277, 3, 1, 1), (279, 4, places, 200)]
    written = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    directory = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + written
    return directory.ljust(200, b"\0") + b"\1\7\1\0" * places


SMALL = (50, 50, 8, 2)
BOMB = zlib.compress(bytes(200 << 20), 1)
READ, REFUSED, EITHER = {"read"}, {"refused"}, {"read", "refused"}
PICTURES: dict[str, tuple[Callable[[], bytes], set[str]]] = {
    "PNG, one pixel wide": (lambda: png(1, 79_000_000), REFUSED),
    "PNG, one pixel high": (lambda: png(79_000_000, 1), REFUSED),
    "PNG, narrow": (lambda: png(20, 400_000), READ),
    "PNG, 16 bits": (lambda: png(8940, 8940, 16, 0), READ),
    "PNG, 16 bits, RGBA": (lambda: png(8940, 8940, 16, 6), REFUSED),
    "PNG, text bomb": (lambda: png(*SMALL, *text_bomb()), EITHER),
    "PNG, zTXt bomb": (lambda: png(*SMALL, chunk(b"zTXt", b"k\0\0" + BOMB)), EITHER),
    "PNG, color profile bomb": (lambda: png(*SMALL, chunk(b"iCCP", b"k\0\0" + BOMB)), EITHER),
    "JPEG": (lambda: encoded("JPEG", "L", 8900), READ),
    "JPEG, progressive": (lambda: encoded("JPEG", "CMYK", 8000, progressive=True), REFUSED),
    "WebP": (lambda: encoded("WEBP", "RGB", 8900, lossless=True, method=0), REFUSED),
    "WebP, animation": (lambda: frames("WEBP", 3000), READ),
    "GIF, animation": (lambda: frames("GIF", 2000), READ),
    "TIFF, one strip": (
        lambda: encoded("TIFF", "RGB", 5000, compression="tiff_lzw", strip_size=1 << 30),
        READ,
    ),
    "TIFF, many strips": (numbers_tiff, REFUSED),
    "AVIF, another size than its header": (lying_avif, EITHER),
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Every picture, tagged one after the other in one process."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, (make, _) in enumerate(PICTURES.values()):
        (folder / f"{number:02}").write_bytes(make())
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.tagging.taggers.memory",
            *sorted(map(str, folder.iterdir())),
        ],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip(PICTURES, json.loads(result.stdout), strict=True))


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_takes_no_more_memory_than_promised(
    measured: dict[str, dict[str, Any]], kind: str
) -> None:
    answer = measured[kind]
    assert answer["bytes"] <= PROMISED
    if "tags" in answer:
        assert "read" in PICTURES[kind][1]
    else:
        assert "refused" in PICTURES[kind][1]
        assert answer["code"] in {"unreadable_image", "file_too_large"}
        assert answer["retryable"] is False


def test_after_a_picture_that_was_refused_the_next_one_is_tagged() -> None:
    with pytest.raises(UnreadableImage):
        tag_picture(png(1, 79_000_000))
    assert tag_picture(png(*SMALL))["square"] == 100


def test_a_decoder_that_was_killed_is_replaced() -> None:
    tag_picture(png(*SMALL))
    for decoder in decoder_pool._idle:
        decoder._process.kill()
    assert tag_picture(png(*SMALL))["square"] == 100


@pytest.fixture
def waiting() -> Iterator[list[threading.Thread]]:
    threads: list[threading.Thread] = []
    yield threads
    for thread in threads:
        thread.join()


def test_no_more_pictures_are_decoded_at_once_than_there_are_decoders(
    waiting: list[threading.Thread],
) -> None:
    done = threading.Event()

    def tag() -> None:
        tag_picture(png(*SMALL))
        done.set()

    for _ in range(DECODERS):
        decoder_pool.slots.acquire()
    waiting.append(threading.Thread(target=tag))
    waiting[0].start()
    assert not done.wait(0.2)
    for _ in range(DECODERS):
        decoder_pool.slots.release()
    assert done.wait(60)


def test_the_memory_promised_covers_what_the_decoder_may_use() -> None:
    assert MEMORY < PROMISED
