"""How text is normalised before it is stored or compared. No Django.

Databases differ in what they accept (PostgreSQL refuses NUL, every driver refuses lone
surrogates), so text from outside passes through :func:`storable` once, at the door.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from .exceptions import InvalidLabel

MAX_LABEL_LENGTH = 200

_MAX_KEPT = 2 * MAX_LABEL_LENGTH
"""Longest text that is remembered as it came: white space in it counts to no limit."""
"""Longest tag, in characters, before and after normalisation."""

MAX_INTEGER = 2**63 - 1
"""Largest whole number that is kept as a number."""

MAX_REFERENCE_LENGTH = 4096
"""Longest handle, URL or alias path, in characters."""


def storable(text: str, max_length: int | None = None) -> str:
    """Return ``text`` in a form every database stores: no NUL, no lone surrogate.

    Both become U+FFFD. With ``max_length`` the text is cut to that many characters.
    """
    if text.isascii():
        clean = text.replace("\x00", "�")
    else:
        clean = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        clean = clean.replace("\x00", "�")
    return clean if max_length is None else clean[:max_length]


def storable_json(value: Any) -> Any:
    """Return ``value`` (decoded JSON) in a form every database stores and every client reads.

    Texts are made :func:`storable`. Whole numbers beyond 64 bits become text.
    """
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, int) and not -MAX_INTEGER - 1 <= value <= MAX_INTEGER:
        return str(value)
    if isinstance(value, Mapping):
        return {storable(str(key)): storable_json(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [storable_json(item) for item in value]
    return value


def label_name(text: str) -> str:
    """Return a label as it is shown: white space collapsed, otherwise as received.

    Raises:
        InvalidLabel: when it is empty, longer than :data:`MAX_LABEL_LENGTH`, or holds
            control characters.
    """
    return _label_name(text if len(text) <= _MAX_KEPT else " ".join(text.split()))


@lru_cache(maxsize=10_000)
def _label_name(text: str) -> str:
    name = " ".join(text.split())
    if not name:
        raise InvalidLabel("A tag cannot be empty.")
    if len(name) > MAX_LABEL_LENGTH:
        raise InvalidLabel(
            f"A tag has at most {MAX_LABEL_LENGTH} characters; this one has {len(name)}."
        )
    if not name.isprintable() and any(
        unicodedata.category(char) in ("Cc", "Cs") for char in name
    ):
        raise InvalidLabel("A tag cannot hold control characters.")
    return name


def label_key(text: str) -> str:
    """Return the key under which a label is stored and searched.

    NFKC, case-folded, white space collapsed; applying it twice changes nothing.

    Raises:
        InvalidLabel: as :func:`label_name`, also when normalisation makes it too long.
    """
    return _label_key(label_name(text))


@lru_cache(maxsize=10_000)
def _label_key(name: str) -> str:
    return label_name(fold(name))


def fold(text: str) -> str:
    """NFKC, case-fold and collapse white space, without the checks of :func:`label_key`."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def reference_digest(kind: str, reference: str) -> str:
    """Return the unique key of a file: SHA-256 of kind and reference, in hex.

    References are longer than any database can index, and must compare byte by byte.
    """
    return hashlib.sha256(f"{kind}:{reference}".encode()).hexdigest()
