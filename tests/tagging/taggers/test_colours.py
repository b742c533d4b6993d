"""Tags from measurements, without a network."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from filestack_tags.tagging.taggers.local.colours import COLOURS, visual_tags
from filestack_tags.tagging.taggers.local.pictures import Picture


def painted(*colours: tuple[int, int, int], size: tuple[int, int] = (120, 100)) -> Image.Image:
    """Stripes of equal width, left to right."""
    image = Image.new("RGB", size)
    width = size[0] // len(colours)
    for index, colour in enumerate(colours):
        image.paste(colour, (index * width, 0, size[0], size[1]))
    return image


def tags_of(image: Image.Image, **facts: object) -> dict[str, float]:
    width, height = image.size
    return visual_tags(Picture(image, width, height, **facts))  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "rgb"), COLOURS.items())
def test_a_picture_of_one_colour_is_that_colour(name: str, rgb: tuple[int, int, int]) -> None:
    tags = tags_of(painted(rgb))
    assert {tag for tag in tags if tag in COLOURS} == {name}
    assert tags[name] == 1.0


def test_a_colour_is_as_sure_as_its_share_is_large() -> None:
    tags = tags_of(painted(COLOURS["red"], COLOURS["red"], COLOURS["blue"]))
    assert tags["red"] == pytest.approx(2 / 3, abs=0.02)
    assert tags["blue"] == pytest.approx(1 / 3, abs=0.02)


def test_a_small_share_of_a_colour_is_no_tag() -> None:
    assert "red" not in tags_of(painted(*[COLOURS["blue"]] * 9, COLOURS["red"]))


def test_a_grey_pixel_is_never_a_pale_hue() -> None:
    found = set(tags_of(painted((205, 205, 205)))) & set(COLOURS)
    assert found <= {"white", "gray"}


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((300, 200), "landscape orientation"),
        ((200, 300), "portrait orientation"),
        ((200, 200), "square"),
        ((200, 196), "square"),
    ],
)
def test_the_frame_has_an_orientation(size: tuple[int, int], expected: str) -> None:
    assert tags_of(painted(COLOURS["red"], size=size))[expected] == 1.0


def test_grey_levels_are_black_and_white_and_a_few_coloured_stars_are_not() -> None:
    sky = painted(COLOURS["black"])
    assert tags_of(sky)["black and white"] > 0.99
    sky.paste(COLOURS["orange"], (0, 0, 120, 3))
    assert "black and white" not in tags_of(sky)


def test_little_difference_in_lightness_is_low_contrast() -> None:
    assert tags_of(painted((120, 120, 120), (130, 130, 130)))["low contrast"] > 0.9
    assert "low contrast" not in tags_of(painted((0, 0, 0), (255, 255, 255)))


def test_what_the_file_says_becomes_a_tag() -> None:
    image = painted(COLOURS["red"])
    tags = tags_of(image, transparent=True, flash=True, geotagged=True)
    assert {"transparent background", "flash", "geotagged"} <= tags.keys()
    assert not {"transparent background", "flash", "geotagged"} & tags_of(image).keys()


def test_night_is_dark_and_exposed_for_the_dark() -> None:
    dark, light = painted((10, 12, 30)), painted((200, 210, 230))
    assert "night" in tags_of(dark, exposure=100.0)
    assert "night" not in tags_of(dark, exposure=1.0)
    assert "night" not in tags_of(light, exposure=100.0)


def test_the_original_size_decides_about_the_frame() -> None:
    image = Image.fromarray(np.zeros((10, 10, 3), np.uint8))
    assert "portrait orientation" in visual_tags(Picture(image, width=100, height=3000))
