"""Bytes from anywhere → an upright RGB picture of bounded size, or a clear error.

Everything a decoder may do with hostile bytes ends here: one exception, readable, with a limit.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from filestack_tags.exceptions import UnreadableImage

from .network import INPUT_SIZE

MAX_BYTES = 64 * 1024 * 1024
MAX_PIXELS = 80_000_000
"""Just below the size at which Pillow itself warns of a decompression bomb."""

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "MPO", "PNG", "TIFF", "WEBP")

WORKING_SIDE = 320
"""The shorter side is brought down to this; the network sees 224, colours fewer."""

CENTRAL_CROP = INPUT_SIZE / (INPUT_SIZE + 32)
"""Share of the shorter side that the network's own evaluation crops."""

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
"""What undoes each EXIF orientation."""


@dataclass(frozen=True)
class Picture:
    """An upright picture on white, and what its file says of how it was taken."""

    image: Image.Image
    """RGB, its shorter side at most :data:`WORKING_SIDE` pixels."""
    width: int
    """Of the original, in pixels, upright."""
    height: int
    transparent: bool = False
    flash: bool = False
    geotagged: bool = False
    exposure: float = 0.0
    """ISO times seconds; 0 when unknown."""


def open_picture(data: bytes) -> Picture:
    """Decode one picture; of an animation, the first frame.

    What Pillow warns of is left to the host's warning filters: a filter is global, and setting
    one here would race with other threads. Where warnings are errors, they refuse the picture.

    Raises:
        UnreadableImage: when there are more than :data:`MAX_BYTES` or :data:`MAX_PIXELS`, when
            the format is not one of :data:`FORMATS`, or when the bytes are broken or cut off.
    """
    if len(data) > MAX_BYTES:
        raise UnreadableImage(
            f"The file has {len(data)} bytes; the local tagger reads at most {MAX_BYTES}."
        )
    try:
        with Image.open(io.BytesIO(data), formats=_installed_formats()) as opened:
            _refuse_more_pixels(opened.width, opened.height)
            return _decoded(opened)
    except UnreadableImage:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImage(
            f"The bytes are not a picture in a format the local tagger reads: {_format_list()}."
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImage(
            f"The picture has more than {MAX_PIXELS} pixels, the most the local tagger reads."
        ) from error
    except Exception as error:  # decoders raise almost anything when they are fed broken bytes
        raise UnreadableImage(
            "The picture cannot be decoded: the file is broken or cut off."
        ) from error


def _installed_formats() -> list[str]:
    """Return :data:`FORMATS` without those this Pillow was built without."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _format_list() -> str:
    return ", ".join(_installed_formats())


def _refuse_more_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableImage(
            f"The picture has {width} x {height} pixels; the local tagger reads at most "
            f"{MAX_PIXELS} in all."
        )


def _decoded(opened: Image.Image) -> Picture:
    width, height = opened.size
    opened.draft("RGB", (WORKING_SIDE, WORKING_SIDE))  # JPEG: decode at a fraction of the size
    opened.load()
    exif = _exif(opened)
    transparent = False
    image = opened
    if opened.has_transparency_data:
        image = opened.convert("RGBA")
        lowest = image.getchannel("A").getextrema()[0]
        transparent = isinstance(lowest, int | float) and lowest < 250
    elif opened.mode in ("I", "F") or opened.mode.startswith("I;"):
        image = _eight_bit(opened)
    elif opened.mode != "RGB":
        image = opened.convert("RGB")
    image = _shrunk(image)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")
    turn = UPRIGHT.get(exif.orientation)
    if turn is not None:
        image = image.transpose(turn)
        if exif.orientation >= 5:  # lies on its side
            width, height = height, width
    return Picture(
        image=image,
        width=width,
        height=height,
        transparent=transparent,
        flash=exif.flash,
        geotagged=exif.geotagged,
        exposure=exif.exposure,
    )


def _eight_bit(image: Image.Image) -> Image.Image:
    """Bring grey levels of 16 bits or more down to 8."""
    levels = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(levels.min()), float(levels.max())
    if image.mode.startswith("I;16"):
        low, high = 0.0, 65535.0
    scaled = (levels - low) * (255 / (high - low) if high > low else 0.0)
    return Image.fromarray(scaled.round().astype(np.uint8))


def _shrunk(image: Image.Image) -> Image.Image:
    scale = WORKING_SIDE / min(image.size)
    if scale >= 1:
        return image
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)


@dataclass(frozen=True)
class _Exif:
    orientation: int = 1
    flash: bool = False
    geotagged: bool = False
    exposure: float = 0.0


def _exif(image: Image.Image) -> _Exif:
    """Return what the EXIF block says; a broken block says nothing."""
    try:
        block = image.getexif()
        camera = block.get_ifd(EXIF_IFD)
        return _Exif(
            orientation=_whole(block.get(ORIENTATION)),
            flash=bool(_whole(camera.get(FLASH)) & 1),  # bit 0: the flash fired
            geotagged=GPS_LATITUDE in block.get_ifd(GPS_IFD),
            exposure=_exposure(camera),
        )
    except Exception:  # noqa: BLE001  Pillow's parser raises almost anything on broken EXIF
        return _Exif()


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


def network_views(picture: Picture) -> NDArray[np.float32]:
    """Return the two views the network looks at: the central crop and the whole, squashed.

    float32 [2, 3, 224, 224]. The crop is what the network was evaluated with; the squashed
    view also sees what stands at the edges.
    """
    image = picture.image
    side = max(1, int(CENTRAL_CROP * min(image.size)))
    left, top = (image.width - side + 1) // 2, (image.height - side + 1) // 2
    size = (INPUT_SIZE, INPUT_SIZE)
    views = (
        image.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + side, top + side)),
        image.resize(size, Image.Resampling.BICUBIC),
    )
    pixels = np.stack([np.asarray(view, np.float32) for view in views])
    normalised = ((pixels - 127) / 128).astype(np.float32)
    return np.ascontiguousarray(normalised.transpose(0, 3, 1, 2))
