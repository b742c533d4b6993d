"""Sensitive labels: a tagger's guesses about people, such as age, gender and religion.

The list is shipped with the package and versioned; ``sensitive_labels.json`` documents its sources.
It is compared with the keys of tags. The settings add and remove labels, and control whether labels
on it are hidden until a user approves them: see :mod:`.sensitive`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from filestack_tags.conf import get_settings
from filestack_tags.db.text import fold

OWN = "own list"
"""The category of labels that the setting ``SENSITIVE_LABELS`` adds."""


def labels() -> Mapping[str, str]:
    """Return ``{key: category}`` of every sensitive label, with the settings applied."""
    settings = get_settings()
    return _labels(settings.SENSITIVE_LABELS, settings.SENSITIVE_LABELS_EXCLUDE)


def category_of(key: str) -> str:
    """Return the category of a tag's key, ``""`` when it is not sensitive."""
    return labels().get(key, "")


def version() -> int:
    """Return the version of the shipped list. It increases whenever the list changes."""
    return int(_shipped()["version"])


@lru_cache(maxsize=8)
def _labels(added: tuple[str, ...], removed: tuple[str, ...]) -> Mapping[str, str]:
    # Cached: reading the list takes 1 ms, and a page needs it once for each tag.
    found = {
        fold(label): category
        for category, labels in _shipped()["categories"].items()
        for label in labels
    }
    found |= {fold(label): OWN for label in added if fold(label) not in found}
    for label in removed:
        found.pop(fold(label), None)
    return found


def _shipped() -> dict[str, Any]:
    text = files(__package__).joinpath("sensitive_labels.json").read_text(encoding="utf-8")
    shipped: dict[str, Any] = json.loads(text)
    return shipped
