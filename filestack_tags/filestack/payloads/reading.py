"""Parse external JSON so that :class:`PayloadError` is the only possible exception."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from filestack_tags.db.text import MAX_INTEGER, sanitize_text
from filestack_tags.exceptions import PayloadError

MAX_DEPTH = 64
"""Maximum nesting; Filestack's own replies stay below 10."""


class NotJSON(PayloadError):
    """The bytes are not JSON at all: truncated, or sent by something else."""


def decode(data: bytes | str | Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the JSON object in ``data`` and the text it was parsed from.

    Raises:
        NotJSON: when it is not UTF-8 or not JSON (NaN and infinity are not JSON).
        PayloadError: when it is not an object, repeats a key, or is nested deeper than
            :data:`MAX_DEPTH`.
    """
    text = _text(data)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_float=_finite,
            parse_constant=_finite,
        )
    except PayloadError:
        raise
    except RecursionError:
        raise PayloadError(f"The JSON is nested deeper than {MAX_DEPTH} levels.") from None
    except ValueError as error:
        # The text around the error is left out: it may contain a policy.
        position = (
            f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        )
        raise NotJSON(f"This is not JSON: it cannot be read{position}.") from None
    if not isinstance(value, dict):
        raise PayloadError(f"A JSON object was expected, not {shown(value)}.")
    if (
        text.count("{") + text.count("[") > MAX_DEPTH
    ):  # with fewer it cannot be nested that deep
        _check_depth(value)
    return value, sanitize_text(text)


def decode_leniently(
    data: bytes | str | Mapping[str, Any], pairs_hook: Callable[[list[tuple[str, Any]]], Any]
) -> tuple[dict[str, Any], str]:
    """Like :func:`decode`, for a reply that cost money: one odd value does not discard the rest.

    Accepts numbers that are not finite or too long, bytes that are not UTF-8 (as lone surrogates)
    and deep nesting. ``pairs_hook`` makes each object from its pairs, which may repeat a key.

    Raises:
        PayloadError: when it is not JSON, or not an object.
    """
    text = data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else _text(data)
    try:
        value = json.loads(text, object_pairs_hook=pairs_hook, parse_int=_integer)
    except PayloadError:
        raise
    except (RecursionError, ValueError):
        raise NotJSON("This is not JSON: it cannot be read.") from None
    if not isinstance(value, dict):
        raise PayloadError(f"A JSON object was expected, not {shown(value)}.")
    return value, sanitize_text(text)


def _integer(digits: str) -> float:
    try:
        return int(digits)
    except ValueError:  # more digits than Python converts
        return math.inf


def _text(data: bytes | str | Mapping[str, Any]) -> str:
    if isinstance(data, str):
        return data
    if isinstance(data, Mapping):
        try:
            return json.dumps(dict(data))
        except (TypeError, ValueError, RecursionError):
            raise PayloadError("The mapping cannot be written as JSON.") from None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotJSON(f"This is not JSON: byte {error.start} is not UTF-8.") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise PayloadError("A JSON object repeats a key, so its meaning is uncertain.")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotJSON("This is not JSON: it holds a number that is not finite.")
    return number


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for item in level
            if isinstance(item, (dict, list))
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise PayloadError(f"The JSON is nested deeper than {MAX_DEPTH} levels.")


def shown(value: object) -> str:
    """Return ``value`` for use in a message: short, on one line, never failing."""
    if value is None:
        return "null"
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return "an integer beyond 64 bits"
    text = sanitize_text(repr(value))
    return text if len(text) <= 60 else f"{text[:57]}…"


def mapping(value: object) -> Mapping[str, Any]:
    """Return ``value`` when it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def first_text(key: str, *places: Mapping[str, Any]) -> str:
    """Return the first non-empty text found under ``key``, or ``""``."""
    for place in places:
        value = place.get(key)
        if isinstance(value, str) and value:
            return sanitize_text(value)
    return ""


def first_integer(key: str, *places: Mapping[str, Any]) -> int | None:
    """Return the first integer from 0 to 2^63-1 found under ``key``, or ``None``."""
    for place in places:
        value = place.get(key)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER:
            return value
    return None
