"""Convert the shares of 1000 classes to a few useful tags.

Class names alone are poor tags: breeds and varieties. So classes are also summed into general tags
such as ``cat`` or ``vehicle``. The rules were tuned on some sixty pictures; see
``docs/local-tagger.md``.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

GENERAL_LIFT = 0.45
"""A general tag must exceed the group's share in a uniform distribution by this much: 398 of the
1000 classes are animals, so an undecided network would give ``animal`` 0.40.
"""

GENERAL_STRONGEST = 0.08
"""...and one of its classes must reach this; otherwise many tiny shares add up to a tag."""

SPECIFIC = 0.50
"""A class's own name needs this share: below it more names are wrong than right."""

SPECIFIC_IN_GROUP = 0.35
"""...or this one, if a general tag that contains it was assigned."""


@cache
def class_names() -> tuple[str, ...]:
    """Return the names of the 1000 classes, in the network's order."""
    # Cached, as the groups: reading both takes 6 ms a picture.
    return tuple(_data("class_names.txt").splitlines())


@cache
def class_groups() -> dict[str, NDArray[np.intp]]:
    """Return the classes of each general tag."""
    groups: dict[str, str] = json.loads(_data("class_groups.json"))
    return {name: _class_numbers(text) for name, text in groups.items()}


def _data(name: str) -> str:
    return (files(__package__) / "data" / name).read_text(encoding="utf-8")


def _class_numbers(text: str) -> NDArray[np.intp]:
    """Return the numbers in a list of ranges such as ``"0-2 7"``."""
    numbers: list[int] = []
    for part in text.split():
        first, _, last = part.partition("-")
        numbers.extend(range(int(first), int(last or first) + 1))
    return np.array(numbers, dtype=np.intp)


def content_tags(shares: NDArray[np.float32]) -> dict[str, float]:
    """Return ``{tag: share}`` for the content of the picture; empty if the network is undecided.

    Args:
        shares: one share per class, adding up to 1.
    """
    tags: dict[str, float] = {}
    supported: set[int] = set()
    for name, members in class_groups().items():
        total = float(shares[members].sum())
        flat = len(members) / len(shares)
        lift = (total - flat) / (1 - flat)
        if lift >= GENERAL_LIFT and shares[members].max() >= GENERAL_STRONGEST:
            tags[name] = total
            supported.update(members.tolist())
    for index in np.flatnonzero(shares >= SPECIFIC_IN_GROUP).tolist():
        share = float(shares[index])
        if share >= SPECIFIC or index in supported:
            name = class_names()[index]
            tags[name] = max(share, tags.get(name, 0.0))
    return tags
