"""Normalize text before it is stored or compared. No Django.

Databases differ in what they accept (PostgreSQL rejects NUL, every driver rejects lone surrogates),
so text from outside passes through :func:`sanitize_text` once, where it enters.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from filestack_tags.exceptions import InvalidLabel
from filestack_tags.translation import gettext_noop as _

MAX_LABEL_LENGTH = 200
"""Longest tag, in characters, before and after normalization."""

_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Unicode's ``Default_Ignorable_Code_Point``: invisible characters, such as zero-width spaces, soft
hyphens and variation selectors.
"""

_BLANK = frozenset("\u2800\U0001d159")
"""Symbols that are blank in every font."""

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"})

_DOTTED_I = re.compile("(i[\u0316-\u0319\u031c-\u0320\u0323-\u0326\u0329-\u0333]*)\u0307")
"""An i and a dot above it, with combining marks below in between."""

_MAX_KEPT = 2 * MAX_LABEL_LENGTH
"""Longest text that is cached as received: white space in it does not count against a limit."""

MAX_INTEGER = 2**63 - 1
"""Largest integer that is stored as a number."""

MAX_REFERENCE_LENGTH = 4096
"""Longest handle, URL or alias path, in characters."""


def sanitize_text(text: str, max_length: int | None = None) -> str:
    """Return ``text`` in a form every database stores: no NUL, no lone surrogate.

    Both become U+FFFD. With ``max_length`` the text is cut to that many characters.
    """
    if text.isascii():
        clean = text.replace("\x00", "�")
    else:
        clean = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        clean = clean.replace("\x00", "�")
    return clean if max_length is None else clean[:max_length]


def sanitize_json(value: Any) -> Any:
    """Return ``value`` (decoded JSON) in a form every database stores and every client reads.

    Strings are made :func:`sanitize_text`. Integers beyond 64 bits become strings.
    """
    if isinstance(value, str):
        return sanitize_text(value)
    if isinstance(value, int) and not -MAX_INTEGER - 1 <= value <= MAX_INTEGER:
        return str(value)
    if isinstance(value, Mapping):
        return {sanitize_text(str(key)): sanitize_json(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [sanitize_json(item) for item in value]
    return value


def label_name(text: str) -> str:
    """Return a label as it is shown: white space collapsed, otherwise as received.

    Double quotes around the whole label are syntax, as in a search, and not part of it.

    Raises:
        InvalidLabel: when it has no visible character, is longer than
            :data:`MAX_LABEL_LENGTH`, or contains control characters.
    """
    name = " ".join(text.split())
    while len(name) > 1 and name[0] == name[-1] == '"':
        name = name[1:-1].strip()
    if not name:
        raise InvalidLabel(_("A tag cannot be empty."))
    if len(name) > MAX_LABEL_LENGTH:
        raise InvalidLabel(
            _("A tag has at most %(limit)s characters; this one has %(length)s."),
            limit=MAX_LABEL_LENGTH,
            length=len(name),
        )
    if not name.isprintable() and any(
        unicodedata.category(char) in ("Cc", "Cs") for char in name
    ):
        raise InvalidLabel(_("A tag cannot contain control characters."))
    if not is_visible(name):
        raise InvalidLabel(_("A tag needs a visible character."))
    return name


def is_visible(text: str) -> bool:
    """Whether ``text`` has a visible character: no space, control or ignorable character."""
    if text.isascii():
        return any(char > " " for char in text)
    return any(
        char not in _BLANK and unicodedata.category(char) not in _INVISIBLE
        for char in _IGNORABLE.sub("", text)
    )


def without_ignorable(text: str) -> str:
    """Return ``text`` without invisible characters; see :data:`_IGNORABLE`."""
    return text if text.isascii() else _IGNORABLE.sub("", text)


def label_key(text: str) -> str:
    """Return the key under which a label is stored and searched.

    Normalized as Unicode's ``toNFKC_Casefold`` (compatibility forms, case, ignorable characters),
    with ``İ`` as ``i``, and white space collapsed. Idempotent.

    Raises:
        InvalidLabel: as :func:`label_name`, or when normalization makes it too long.
    """
    return _label_key(text if len(text) <= _MAX_KEPT else " ".join(text.split()))


@lru_cache(maxsize=10_000)
def _label_key(text: str) -> str:
    # Cached: each label of a reply is needed four times. Without it, 20 labels take 0.3 ms each
    # time, and a reply 1 ms more.
    return label_name(fold(label_name(text)))


def fold(text: str) -> str:
    """Normalize as :func:`label_key`, without its checks."""
    if text.isascii():
        return " ".join(text.lower().split())
    previous = None
    while text != previous:  # twice, except for a few characters whose parts fold further
        previous = text
        folded = unicodedata.normalize("NFKC", _IGNORABLE.sub("", text)).casefold()
        text = unicodedata.normalize("NFKC", _without_dot(_IGNORABLE.sub("", folded)))
    return " ".join(text.split())


def _without_dot(text: str) -> str:
    """Return ``text`` without the dot above an ``i``, which İ has in lowercase."""
    if "\u0307" not in text:
        return text
    return unicodedata.normalize(
        "NFC", _DOTTED_I.sub(r"\1", unicodedata.normalize("NFD", text))
    )


def reference_digest(kind: str, reference: str) -> str:
    """Return the unique key of a file: SHA-256 of kind and reference, in hex.

    References are longer than any database can index, and must compare byte by byte.
    """
    return hashlib.sha256(f"{kind}:{reference}".encode()).hexdigest()
