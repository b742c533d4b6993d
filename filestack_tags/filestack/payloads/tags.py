"""The reply of the ``tags`` task: labels with a confidence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeGuard

from filestack_tags.db.text import label_key, label_name
from filestack_tags.exceptions import InvalidLabel, PayloadError

from .reading import decode, decode_leniently, mapping, shown

USER_CONFIDENCE = 100
"""Confidence of a ``user`` label that comes without one. Our own rule: Filestack documents none."""


@dataclass(frozen=True)
class TagsReply:
    """The tags that Filestack found in a picture.

    ``auto`` and ``user`` map a label, white space collapsed, to its confidence (0–100); no two
    labels in one of them have the same :func:`~filestack_tags.db.text.label_key`. ``raw`` is
    the JSON text as received. ``http_status`` is set if it is the reply of a call,
    ``resumes_at`` if that call was the last that Filestack allows until then. ``odd`` names the
    parts that were left out because they are invalid, with the reasons.
    """

    auto: Mapping[str, int]
    user: Mapping[str, int]
    raw: str = ""
    http_status: int | None = None
    resumes_at: datetime | None = None
    odd: tuple[str, ...] = ()


def parse_tags_reply(data: bytes | str | Mapping[str, Any]) -> TagsReply:
    """Parse ``{"tags": {"auto": {label: confidence}, "user": …}}`` (docs: Image Tagging).

    ``auto`` must be an object. ``user`` has never been observed with content; ``null``, an object
    and a single label as text are all accepted. A label that occurs twice, also with the same
    normalized spelling, keeps its higher confidence. A confidence with decimals is rounded half up.

    The reply cost money, so an invalid part does not discard the rest. Invalid labels, confidences
    that are not a number from 0 to 100, and ``user`` in another form are left out, see
    :attr:`TagsReply.odd`.

    Raises:
        PayloadError: when ``tags.auto`` is missing, or nothing in the reply is valid. The message
            names the label and the value.
    """
    try:
        payload, raw = decode(data)
    except PayloadError as error:
        payload, raw = _leniently(data, error)
    tags = payload.get("tags")
    if not is_tags(tags):
        raise PayloadError("The reply has no tags.auto object, so it is not a tags reply.")
    return read_tags(mapping(tags), raw)


def is_tags(value: object) -> bool:
    """Whether ``value`` is shaped like the content of ``tags``."""
    return isinstance(mapping(value).get("auto"), dict)


def read_tags(tags: Mapping[str, Any], raw: str) -> TagsReply:
    """Parse the content of ``tags``; see :func:`parse_tags_reply`."""
    odd: list[str] = []
    reply = TagsReply(
        auto=_scores("tags.auto", tags["auto"].items(), odd),
        user=_scores("tags.user", _user_scores(tags.get("user"), odd), odd),
        raw=raw,
        odd=tuple(odd),
    )
    if tags["auto"] and odd and not (reply.auto or reply.user):
        raise PayloadError(odd[0])
    return reply


def merge_tags(replies: Iterable[TagsReply], raw: str) -> TagsReply | None:
    """Return one reply in which each label has its highest confidence; ``None`` if there are no
    replies.
    """
    found = list(replies)
    if not found:
        return None
    return TagsReply(
        auto=_highest(pair for reply in found for pair in reply.auto.items()),
        user=_highest(pair for reply in found for pair in reply.user.items()),
        raw=raw,
        odd=tuple(part for reply in found for part in reply.odd),
    )


def _leniently(
    data: bytes | str | Mapping[str, Any], problem: PayloadError
) -> tuple[dict[str, Any], str]:
    """Parse a tags reply that the strict parser rejects because of an odd value."""
    try:
        payload, raw = decode_leniently(data, _object)
    except PayloadError:
        raise problem from None
    if not is_tags(payload.get("tags")):
        raise problem
    return payload, raw


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; for a label that occurs twice, with the higher confidence."""
    value: dict[str, Any] = {}
    for key, item in pairs:
        if key in value:
            if isinstance(item, (dict, list)) or isinstance(value[key], (dict, list)):
                raise PayloadError("A JSON object repeats a key, so its meaning is uncertain.")
            numbers = [score for score in (value[key], item) if _is_confidence(score)]
            item = max(numbers, default=item)
        value[key] = item
    return value


def _user_scores(user: object, odd: list[str]) -> Iterable[tuple[str, Any]]:
    if user is None:
        return ()
    if isinstance(user, str):
        return ((user, USER_CONFIDENCE),)
    if isinstance(user, dict):
        return (
            (label, USER_CONFIDENCE if score is None else score)
            for label, score in user.items()
        )
    odd.append(f"tags.user must be null, an object or text, not {shown(user)}.")
    return ()


def _scores(place: str, pairs: Iterable[tuple[str, Any]], odd: list[str]) -> dict[str, int]:
    """Return the valid labels; add to ``odd`` why others are invalid."""
    usable: list[tuple[str, int]] = []
    for label, score in pairs:
        try:
            usable.append((_label(place, label), _confidence(place, label, score)))
        except PayloadError as error:
            odd.append(str(error))
    return _highest(usable)


def _highest(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    best: dict[str, tuple[str, int]] = {}
    for label, score in pairs:
        key = label_key(label)
        if key not in best or best[key][1] < score:
            best[key] = (label, score)
    return dict(best.values())


def _label(place: str, label: str) -> str:
    if "\N{REPLACEMENT CHARACTER}" in label:
        raise PayloadError(f"{place} holds a label that is not UTF-8: {shown(label)}.")
    try:
        label_key(label)
        return label_name(label)
    except InvalidLabel as error:
        raise PayloadError(f"{place} holds {shown(label)}: {error}") from None


def _is_confidence(score: object) -> TypeGuard[float]:
    if isinstance(score, bool) or not isinstance(score, (int, float)):
        return False
    return 0 <= score <= 100


def _confidence(place: str, label: str, score: object) -> int:
    if not _is_confidence(score):
        raise PayloadError(
            f"{place} gives {shown(label)} the confidence {shown(score)}; "
            "it must be a number from 0 to 100."
        )
    return math.floor(score + 0.5)
