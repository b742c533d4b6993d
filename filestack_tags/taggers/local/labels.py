"""From the shares of 1000 classes to a few useful tags.

Class names alone are poor tags: breeds and varieties. So classes are also summed into general
tags such as ``cat`` or ``vehicle``. The rules were chosen by looking at some sixty pictures;
see ``docs/local-tagger.md``.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

GENERAL_LIFT = 0.45
"""A general tag needs this share beyond what a flat answer would give its group: 398 of the
1000 classes are animals, so "no idea" alone would say ``animal`` with 0.40."""

GENERAL_STRONGEST = 0.08
"""...and one of its classes must reach this, or many tiny shares add up to a claim."""

SPECIFIC = 0.50
"""A class's own name needs this share: below it more names are wrong than right."""

SPECIFIC_IN_GROUP = 0.35
"""...or this one, when a general tag it belongs to was given and supports it."""


@cache
def class_names() -> tuple[str, ...]:
    """Return the names of the 1000 classes, in the network's order."""
    return tuple(_data("class_names.txt").splitlines())


@cache
def class_groups() -> dict[str, NDArray[np.intp]]:
    """Return the classes that each general tag stands for."""
    groups: dict[str, str] = json.loads(_data("class_groups.json"))
    return {name: _class_numbers(text) for name, text in groups.items()}


def _data(name: str) -> str:
    return (files(__package__) / "data" / name).read_text(encoding="utf-8")


def _class_numbers(text: str) -> NDArray[np.intp]:
    """Return the numbers that ``"0-2 7"`` stands for."""
    numbers: list[int] = []
    for part in text.split():
        first, _, last = part.partition("-")
        numbers.extend(range(int(first), int(last or first) + 1))
    return np.array(numbers, dtype=np.intp)


def content_tags(shares: NDArray[np.float32]) -> dict[str, float]:
    """Return ``{tag: share}`` for what the picture shows; empty when the network has no idea.

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
