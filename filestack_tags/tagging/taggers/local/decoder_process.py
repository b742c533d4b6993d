"""The program of a decoder process: reads the bytes of a picture, returns a small upright picture.

It runs as a script and imports nothing of this package, so it starts quickly and stays small. The
operating system limits its memory (``RLIMIT_AS``): no format, header or metadata can make a picture
use more. :mod:`.decoder_pool` starts it and communicates with it.

A request is :data:`REQUEST` and the bytes of the picture; a reply is :data:`REPLY`, a JSON object
and the pixels. One byte signals that the process is ready.
"""

from __future__ import annotations

import io
import json
import math
import struct
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]  # a module on other systems

READY = b"r"
REQUEST = struct.Struct(">QQ")
"""Length of the picture, and the memory that may be used for it; both in bytes."""
REPLY = struct.Struct(">QQ")
"""Length of the JSON object, and of the pixels (RGB, row by row); both in bytes."""

MAX_PIXELS = 80_000_000
"""Just below the size at which Pillow itself warns of a decompression bomb."""

MANY_PIXELS = 10_000_000
"""Above this, a decoding error may be caused by the memory limit."""

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "MPO", "PNG", "TIFF", "WEBP")

WORKING_SIDE = 320
"""The shorter side is reduced to this; the network needs 224, colors fewer."""

LONGEST_SIDE = 8 * WORKING_SIDE
"""The longer side is reduced to this, so that a narrow picture stays small, too."""

BLOCK = 1 << 20
"""Pixels that are converted at once."""

MAX_EXIF = 1 << 20
"""Maximum bytes of EXIF that are read. In a JPEG it has at most 64 KiB."""

MAX_KEPT = 16 << 20
"""Bytes that may stay in use after a picture; above this, a new process decodes the next one."""

# Tag numbers of the EXIF standard (CIPA DC-008)
ORIENTATION, EXIF_IFD, GPS_IFD = 0x0112, 0x8769, 0x8825
GPS_LATITUDE = 0x0002
EXPOSURE_TIME, ISO, FLASH = 0x829A, 0x8827, 0x9209

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transposition that undoes each EXIF orientation."""


class Refused(Exception):
    """The picture is rejected; ``code`` is the error code of the tagging run."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def decode(data: bytes) -> tuple[dict[str, Any], Image.Image]:
    """Return the facts and the pixels of one picture; of an animation, of its first frame.

    The facts are the arguments of :class:`~.pictures.Picture` except the image.

    Raises:
        Refused: when the picture is not in one of :data:`FORMATS`, has more than
            :data:`MAX_PIXELS`, needs too much memory, or is broken.
    """
    pixels = 0
    try:
        with Image.open(io.BytesIO(data), formats=installed_formats()) as opened:
            pixels = opened.width * opened.height
            _check_size(opened.width, opened.height)
            return _decoded(opened)
    except (Refused, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise Refused(
            "unreadable_image",
            "The bytes are not a picture in a format the local tagger reads: "
            f"{', '.join(installed_formats())}.",
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Refused(
            "file_too_large",
            f"The picture has more than {MAX_PIXELS} pixels, the most the local tagger reads.",
        ) from error
    except Exception as error:
        # Decoders raise almost any exception for broken bytes, sometimes the same one as when
        # memory runs out.
        message = "The picture cannot be decoded: the file is broken or cut off"
        if pixels > MANY_PIXELS:
            message += f", or its {pixels} pixels need too much memory in this format"
        raise Refused("unreadable_image", f"{message}.") from error


def installed_formats() -> list[str]:
    """Return those of :data:`FORMATS` that this Pillow supports."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise Refused(
            "file_too_large",
            f"The picture has {width} x {height} pixels; the local tagger reads at most "
            f"{MAX_PIXELS} in all.",
        )


def _decoded(opened: Image.Image) -> tuple[dict[str, Any], Image.Image]:
    width, height = opened.size
    target = _target(width, height)
    opened.draft("RGB", target)  # JPEG: decode at a fraction of the size
    opened.load()
    exif = _exif(opened)
    image, transparent = _reduced(opened, target)
    image = image.resize(target, Image.Resampling.BICUBIC)
    turn = UPRIGHT.get(exif["orientation"])
    if turn is not None:
        image = image.transpose(turn)
        if exif["orientation"] >= 5:  # lies on its side
            width, height = height, width
    del exif["orientation"]
    return {"width": width, "height": height, "transparent": transparent, **exif}, image


def _target(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, WORKING_SIDE / min(width, height), LONGEST_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _reduced(opened: Image.Image, target: tuple[int, int]) -> tuple[Image.Image, bool]:
    """Return an RGB picture on white at least as large as ``target``, and whether it has
    transparency.

    It is converted and averaged block by block, so that there is never a full-size copy.
    """
    factors = tuple(
        max(1, side // (3 * small)) for side, small in zip(opened.size, target, strict=True)
    )
    size = tuple(-(-side // factor) for side, factor in zip(opened.size, factors, strict=True))
    reduced = Image.new("RGB", (size[0], size[1]))
    has_alpha = opened.has_transparency_data
    levels = _levels(opened)
    lowest = 255
    for left, top, box in _blocks(opened.size, (factors[0], factors[1])):
        block = opened.crop(box)
        if levels is not None:
            block = _eight_bit(block, *levels)
        elif has_alpha:
            block = block.convert("RGBA")
            lowest = min(lowest, _darkest(block.getchannel("A")))
            block = Image.alpha_composite(Image.new("RGBA", block.size, "white"), block)
        block = block.convert("RGB").reduce((factors[0], factors[1]))
        reduced.paste(block, (left, top))
    return reduced, lowest < 250


def _blocks(
    size: tuple[int, int], factors: tuple[int, int]
) -> Iterator[tuple[int, int, tuple[int, int, int, int]]]:
    """Yield the position of each block in the reduced picture, and its box in the original."""
    columns = max(1, BLOCK // factors[1] // factors[0])  # one row of reduced pixels
    wide = min(columns, -(-size[0] // factors[0]))
    tall = max(1, BLOCK // (wide * factors[0] * factors[1]))
    width, height = wide * factors[0], tall * factors[1]
    for row, top in enumerate(range(0, size[1], height)):
        for column, left in enumerate(range(0, size[0], width)):
            box = (left, top, min(left + width, size[0]), min(top + height, size[1]))
            yield column * wide, row * tall, box


def _darkest(channel: Image.Image) -> int:
    lowest = channel.getextrema()[0]
    return int(lowest) if isinstance(lowest, int | float) else 0


def _levels(image: Image.Image) -> tuple[float, float] | None:
    """Return the lowest and highest gray level of a picture of 16 bits or more."""
    if image.mode.startswith("I;16"):
        return 0.0, 65535.0
    if image.mode not in ("I", "F"):
        return None
    low, high = math.inf, -math.inf
    for _left, _top, box in _blocks(image.size, (1, 1)):
        levels = _numbers(image.crop(box))
        low, high = min(low, float(levels.min())), max(high, float(levels.max()))
    return low, high


def _numbers(image: Image.Image) -> NDArray[np.float64]:
    levels = np.asarray(image).astype(np.float64)
    return np.nan_to_num(levels, copy=False, posinf=0.0, neginf=0.0)


def _eight_bit(image: Image.Image, low: float, high: float) -> Image.Image:
    scaled = (_numbers(image) - low) * (255 / (high - low) if high > low else 0.0)
    return Image.fromarray(scaled.round().astype(np.uint8))


def _exif(image: Image.Image) -> dict[str, Any]:
    """Return the values of the EXIF block; nothing if it is broken or huge."""
    facts: dict[str, Any] = {
        "orientation": 1,
        "flash": False,
        "geotagged": False,
        "exposure": 0.0,
    }
    written = image.info.get("exif", b"")
    if isinstance(written, bytes) and len(written) > MAX_EXIF:
        return facts
    # Pillow's parser raises almost any exception for broken EXIF.
    with suppress(Exception):
        block = image.getexif()
        camera = block.get_ifd(EXIF_IFD)
        facts |= {
            "orientation": _whole(block.get(ORIENTATION)),
            "flash": bool(_whole(camera.get(FLASH)) & 1),  # bit 0: the flash fired
            "geotagged": GPS_LATITUDE in block.get_ifd(GPS_IFD),
            "exposure": _exposure(camera),
        }
    return facts


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _exposure(camera: Mapping[int, Any]) -> float:
    iso, seconds = camera.get(ISO), camera.get(EXPOSURE_TIME)
    if isinstance(iso, tuple):  # the standard allows several; the first is the sensitivity
        iso = next(iter(iso), None)
    if not iso or not seconds:
        return 0.0
    exposure = float(iso) * float(seconds)
    return exposure if math.isfinite(exposure) else 0.0


def answer(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the reply to one request: facts and pixels, or a code and a message."""
    try:
        facts, image = decode(data)
        return {**facts, "size": image.size}, image.tobytes()
    except Refused as error:
        return {"code": error.code, "message": str(error)}, b""
    except MemoryError:
        message = "The picture needs more memory than the local tagger uses for one picture."
        return {"code": "file_too_large", "message": message}, b""


def memory_used() -> int:
    """Return the size of this process's address space in bytes; 0 if Linux's /proc is missing."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    except OSError:
        return 0
    return pages * resource.getpagesize()


def limit_memory(more: int) -> None:
    """Allow this process ``more`` bytes than it uses now. No effect outside Linux."""
    if used := memory_used():
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = used + more if hard == resource.RLIM_INFINITY else min(used + more, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until the input ends, or until one left memory in use.

    The last reply of a process is marked ``last``.
    """
    installed_formats()  # loads Pillow's plugins before memory is limited
    with suppress(ImportError):
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # each thread would use additional memory
    replies.write(READY)
    replies.flush()
    at_first = memory_used()
    while header := requests.read(REQUEST.size):
        length, memory = REQUEST.unpack(header)
        limit_memory(memory)
        reply, pixels = answer(requests.read(length))
        reply["last"] = memory_used() > at_first + MAX_KEPT
        text = json.dumps(reply).encode()
        replies.write(REPLY.pack(len(text), len(pixels)) + text + pixels)
        replies.flush()
        if reply["last"]:
            return


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    serve(sys.stdin.buffer, sys.stdout.buffer)
