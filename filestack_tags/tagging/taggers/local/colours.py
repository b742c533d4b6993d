"""Tags from measurements: colors, shape of the frame, EXIF data. No network is used.

Every value is a measured share of the picture or a smooth step around a measured threshold.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .pictures import Picture

COLOURS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "gray": (128, 128, 128),
    "red": (200, 30, 35),
    "orange": (240, 130, 30),
    "yellow": (245, 215, 50),
    "green": (60, 150, 60),
    "teal": (30, 140, 140),
    "blue": (45, 90, 200),
    "sky blue": (135, 190, 235),
    "navy": (20, 30, 90),
    "purple": (120, 50, 150),
    "pink": (240, 150, 180),
    "brown": (115, 70, 40),
    "beige": (222, 203, 165),
}
NEUTRAL = ("black", "white", "gray")

COLOUR_SHARE = 0.15
"""A color is a tag when at least this share of the pixels is nearest to it."""

SAMPLE_SIDE = 160
NEUTRAL_CHROMA = 9.0
LIGHTNESS_WEIGHT = 0.7  # hue distinguishes colors better than lightness
MONOCHROME_CHROMA = 8.0
LOW_CONTRAST_DEVIATION = 12.0
NIGHT_LIGHTNESS = 30.0
NIGHT_EXPOSURE = 20.0  # ISO times seconds: typical for a camera in the dark


def visual_tags(picture: Picture) -> dict[str, float]:
    """Return ``{tag: share}``; the orientation is always included."""
    sample = picture.image.copy()
    sample.thumbnail((SAMPLE_SIDE, SAMPLE_SIDE), Image.Resampling.BOX)
    pixels = _cielab(np.asarray(sample).reshape(-1, 3))
    chroma = np.hypot(pixels[:, 1], pixels[:, 2])
    tags = _colour_shares(pixels, chroma)
    tags[_orientation(picture.width, picture.height)] = 1.0
    # Nearly all pixels: in a starry sky only a few have color.
    strongest = float(np.percentile(chroma, 99))
    if strongest < MONOCHROME_CHROMA:
        tags["black and white"] = _step((MONOCHROME_CHROMA - strongest) / 1.5)
    deviation = float(pixels[:, 0].std())
    if deviation < LOW_CONTRAST_DEVIATION:
        tags["low contrast"] = _step((LOW_CONTRAST_DEVIATION - deviation) / 2)
    if picture.transparent:
        tags["transparent background"] = 1.0
    if picture.flash:
        tags["flash"] = 1.0
    if picture.geotagged:
        tags["geotagged"] = 1.0
    dark = float(pixels[:, 0].mean()) < NIGHT_LIGHTNESS
    if dark and picture.exposure > NIGHT_EXPOSURE:
        tags["night"] = (
            0.9  # dark, and exposed for darkness: reliable, but not measured as a share
        )
    return tags


def _colour_shares(
    pixels: NDArray[np.float64], chroma: NDArray[np.float64]
) -> dict[str, float]:
    names = list(COLOURS)
    palette = _cielab(np.array(list(COLOURS.values())))
    weight = np.array([LIGHTNESS_WEIGHT, 1.0, 1.0])
    distance = (((pixels * weight)[:, None] - (palette * weight)[None]) ** 2).sum(axis=-1)
    # A gray pixel is never a pale brown, however near that is.
    hues = np.array([name not in NEUTRAL for name in names])
    distance[(chroma < NEUTRAL_CHROMA)[:, None] & hues[None]] = np.inf
    shares = np.bincount(distance.argmin(axis=1), minlength=len(names)) / len(pixels)
    return {
        name: float(share)
        for name, share in zip(names, shares, strict=True)
        if share >= COLOUR_SHARE
    }


def _orientation(width: int, height: int) -> str:
    ratio = width / height
    if ratio > 1.05:
        return "landscape orientation"
    if ratio < 0.95:
        return "portrait orientation"
    return "square"


def _step(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def _cielab(rgb: NDArray[np.generic]) -> NDArray[np.float64]:
    """Convert sRGB values (0–255, last axis 3) to CIELAB under D65."""
    linear = np.asarray(rgb, np.float64) / 255
    linear = np.where(linear > 0.04045, ((linear + 0.055) / 1.055) ** 2.4, linear / 12.92)
    to_xyz = np.array(
        [
            [0.4124564, 0.2126729, 0.0193339],
            [0.3575761, 0.7151522, 0.1191920],
            [0.1804375, 0.0721750, 0.9503041],
        ]
    )
    xyz = linear @ to_xyz / (0.95047, 1.0, 1.08883)
    scaled = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lightness = 116 * scaled[..., 1] - 16
    green_red = 500 * (scaled[..., 0] - scaled[..., 1])
    blue_yellow = 200 * (scaled[..., 1] - scaled[..., 2])
    return np.stack([lightness, green_red, blue_yellow], axis=-1)
