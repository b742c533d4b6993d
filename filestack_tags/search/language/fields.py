"""The fields of the search language, and how their values are parsed. No Django."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import TypeVar

from filestack_tags.exceptions import SearchError
from filestack_tags.translation import gettext_noop as _

from .tree import MOMENTS, SIZE_UNITS, Comparison, Fact, HasTag, Leaf, Measure, Moment

SOURCES = ("auto", "user")
DECISIONS = ("none", "accepted", "rejected", "added")
KINDS = ("handle", "url", "alias")
STATUSES = ("new", "queued", "running", "tagged", "stale", "failed")

UNKNOWN = "unknown"
"""The value of ``type:`` that finds assets without a type."""

FAMILIES = frozenset({"application", "audio", "font", "image", "model", "text", "video"})
"""First parts of MIME types."""

MIME_TYPES = {
    "avif": "image/avif",
    "bmp": "image/bmp",
    "csv": "text/csv",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "html": "text/html",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "json": "application/json",
    "mov": "video/quicktime",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "pdf": "application/pdf",
    "png": "image/png",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "psd": "image/vnd.adobe.photoshop",
    "svg": "image/svg+xml",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "txt": "text/plain",
    "webm": "video/webm",
    "webp": "image/webp",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "zip": "application/zip",
}
"""Extensions that ``type:`` accepts for a MIME type: those with one type in common use."""


def mime_type(value: str) -> str:
    """Return the MIME type for a value of ``type:``."""
    return MIME_TYPES.get(value.removeprefix("."), value)


MAX_SIZE = 2**63 - 1
MAX_PIXELS = 2**31 - 1
MAX_RUN_VERSION = 32767

_CHOICES = {
    "source": SOURCES,
    "decision": DECISIONS,
    "status": STATUSES,
    "kind": KINDS,
    "include": ("hidden",),
}
_NUMBER = re.compile(r"[0-9]{1,19}")
_SIZE = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,6})?)(b|kb|mb|gb)?", re.IGNORECASE)
_CLOCK = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
PERIOD = (
    "(19[7-9][0-9]|2[0-9]{3})(?:-(0[1-9]|1[0-2])(?:-(0[1-9]|[12][0-9]|3[01])(?:"
    rf"T{_CLOCK}(?::[0-5][0-9](?:\.[0-9]{{1,6}})?)?(Z|[+-]{_CLOCK})?)?)?)?"
)
"""A day, a month or a year from 1970 to 2999, or a time of a day. A month may have fewer days."""
_PERIOD = re.compile(PERIOD)
_VERSION = re.compile(r"[vV]?([0-9]{1,5})")

Read = TypeVar("Read", int, str)


def read_fact(field: str, operator: str, value: str, position: int) -> Leaf:
    """Return the term ``field:operator value``; the caller handles ``include``.

    Args:
        field: one of :data:`~.tree.FIELDS`.
        operator: ``""`` or a comparison.
        value: the value as typed, without quotes.
        position: where the value starts, for the error.

    Raises:
        SearchError: when the field does not accept this operator or value.
    """
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in value):
        raise SearchError(
            _("The value of %(field)s: cannot contain control characters."),
            values={"field": field},
            position=position,
            found=value,
        )
    if field in ("size", "width", "height"):
        read = _read_size if field == "size" else _read_pixels
        return Measure(field, _comparison(field, operator, value, position, read))
    if field in MOMENTS:
        return Moment(field, _comparison(field, operator, value, position, _read_period))
    if operator not in ("", "="):
        raise SearchError(
            _("%(field)s: is not a quantity, so it takes no %(operator)s."),
            values={"field": field, "operator": operator},
            position=position,
            found=operator,
            expected=_CHOICES.get(field, (_("a value"),)),
            suggestion=str(Fact(field, value)),
        )
    if field in _CHOICES:
        value = _choice(field, value, position)
    if field == "source":
        return HasTag(source=value)
    if field == "decision":
        return HasTag(decision=value)
    return Fact(field, _read_text(field, value, position))


def _choice(field: str, value: str, position: int) -> str:
    lowered = value.lower()
    choices = _CHOICES[field]
    if lowered not in choices:
        raise SearchError(
            _("%(field)s: can be %(choices)s; “%(value)s” is none of them."),
            values={"field": field, "choices": ", ".join(choices), "value": value},
            position=position,
            found=value,
            expected=choices,
        )
    return lowered


def _read_text(field: str, value: str, position: int) -> str:
    if not value.strip():
        raise SearchError(
            _("%(field)s: needs a value."),
            values={"field": field},
            position=position,
            found=value,
            expected=(_("a value"),),
        )
    if field == "type":
        return value.lower()
    if field == "run":
        match = _VERSION.fullmatch(value)
        if match is None or int(match[1]) > MAX_RUN_VERSION:
            raise SearchError(
                _("run: takes the version of the tagging, such as v1 or v2."),
                position=position,
                found=value,
                expected=("v1", "v2"),
            )
        return f"v{int(match[1])}"
    return value


def _comparison(
    field: str, operator: str, value: str, position: int, read: Callable[[str], Read]
) -> Comparison[Read]:
    low, dots, high = value.partition("..")
    if dots and operator:
        raise SearchError(
            _("A range with .. takes no %(operator)s."),
            values={"operator": operator},
            position=position,
            found=value,
            suggestion=f"{field}:{value}",
        )
    try:
        if not dots:
            return Comparison(operator or "=", read(value))
        lower, upper = read(low), read(high)
    except ValueError as error:
        (wanted,) = error.args
        raise SearchError(
            _("“%(value)s” is not what %(field)s: takes; write %(wanted)s."),
            values={"value": value, "field": field, "wanted": wanted},
            position=position,
            found=value,
            expected=(wanted,),
        ) from None
    if _runs_backwards(lower, upper):
        raise SearchError(
            _("The range %(range)s ends before it starts."),
            values={"range": value},
            position=position,
            found=value,
            suggestion=f"{field}:{high}..{low}",
        )
    return Comparison("..", lower, upper)


def _runs_backwards(lower: int | str, upper: int | str) -> bool:
    if isinstance(lower, str) and isinstance(upper, str):
        # 2026-11..2026 is in order: it ends with the year.
        ends = [-len(_offset(each)) or None for each in (lower, upper)]
        shared = min(len(lower[: ends[0]]), len(upper[: ends[1]]))
        return _offset(lower) == _offset(upper) and lower[:shared] > upper[:shared]
    return int(lower) > int(upper)


def _read_pixels(text: str) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > MAX_PIXELS:
        raise ValueError(_("a whole number of pixels up to 2147483647"))
    return int(text)


def _read_size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match:
        unit = (match[2] or "b").lower()
        size = int(Decimal(match[1]) * dict(SIZE_UNITS).get(unit, 1))
        if size <= MAX_SIZE:
            return size
    raise ValueError(_("a size such as 500, 300kb, 2mb or 1.5gb, below 8 billion gb"))


def _read_period(text: str) -> str:
    expected = _(
        "a date such as 2026-11-30, 2026-11 or 2026, or a time such as 2026-11-30T14:05Z, "
        "from 1970 to 2999"
    )
    match = _PERIOD.fullmatch(text)
    if match is None:
        raise ValueError(expected)
    try:
        if "T" in text:
            datetime.fromisoformat(text)
        else:
            date(int(match[1]), int(match[2] or 1), int(match[3] or 1))
    except ValueError:
        raise ValueError(expected) from None
    return text


def _offset(period: str) -> str:
    """Return the UTC offset of a time, ``""`` if it has none."""
    match = _PERIOD.fullmatch(period)
    return (match and match[4]) or ""
