"""Decode untrusted bytes to an upright RGB picture of bounded size, or raise a clear error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from filestack_tags.error_codes import ErrorCode
from filestack_tags.exceptions import UnreadableImage

from .decoder_pool import decode
from .network import INPUT_SIZE

MAX_BYTES = 64 * 1024 * 1024

CENTRAL_CROP = INPUT_SIZE / (INPUT_SIZE + 32)
"""Share of the shorter side that the network's evaluation crops."""


@dataclass(frozen=True)
class Picture:
    """An upright picture on white, and its EXIF data."""

    image: Image.Image
    """RGB, its sides at most :data:`~.decoder_process.WORKING_SIDE` and
    :data:`~.decoder_process.LONGEST_SIDE`.
    """
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

    A separate process decodes it, with memory limited by the operating system.

    Raises:
        UnreadableImage: when there are more than :data:`MAX_BYTES` or
            :data:`~.decoder_process.MAX_PIXELS`, when decoding needs more memory than
            :data:`~.decoder_pool.MEMORY`, when the format is not one of
            :data:`~.decoder_process.FORMATS`, or when the bytes are broken or truncated.
        TaggerUnavailable: when the process cannot be started.
    """
    if len(data) > MAX_BYTES:
        raise UnreadableImage(
            f"The file has {len(data)} bytes; the local tagger reads at most {MAX_BYTES}.",
            code=ErrorCode.FILE_TOO_LARGE,
        )
    facts, pixels = decode(data)
    return Picture(image=Image.frombytes("RGB", facts.pop("size"), pixels), **facts)


def network_views(picture: Picture) -> NDArray[np.float32]:
    """Return the two views for the network: the central crop and the whole picture, squashed.

    float32 [2, 3, 224, 224]. The crop is what the network was evaluated with; the squashed view
    also includes the edges.
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
