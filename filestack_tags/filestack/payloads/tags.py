"""The reply of the ``tags`` task: labels with a confidence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from filestack_tags.exceptions import InvalidLabel, PayloadError
from filestack_tags.text import label_key, label_name

from .reading import decode, mapping, shown

USER_CONFIDENCE = 100
"""Confidence of a ``user`` label that comes without one. Our rule: nothing attests it."""


@dataclass(frozen=True)
class TagsReply:
    """What Filestack says a picture shows.

    ``auto`` and ``user`` map a label, white space collapsed, to its confidence (0–100); no two
    labels in one of them have the same :func:`~filestack_tags.text.label_key`. ``raw`` is the
    JSON text as received. ``http_status`` is set when a call brought it, ``resumes_at`` when
    that call was the last that Filestack allows until then.
    """

    auto: Mapping[str, int]
    user: Mapping[str, int]
    raw: str = ""
    http_status: int | None = None
    resumes_at: datetime | None = None


def parse_tags_reply(data: bytes | str | Mapping[str, Any]) -> TagsReply:
    """Read ``{"tags": {"auto": {label: confidence}, "user": …}}`` (docs: Image Tagging).

    ``auto`` must be an object. ``user`` was never seen filled; ``null``, an object and a single
    label as text are all read. A label that stands there twice, when spelled alike after
    normalisation, keeps its higher confidence. A confidence with decimals is rounded half up.

    Raises:
        PayloadError: when ``tags.auto`` is missing, a label is not a tag, or a confidence is
            not a number from 0 to 100. The message names the label and the value.
    """
    payload, raw = decode(data)
    tags = payload.get("tags")
    if not is_tags(tags):
        raise PayloadError("The reply has no tags.auto object, so it is not a tags reply.")
    return read_tags(mapping(tags), raw)


def is_tags(value: object) -> bool:
    """Whether ``value`` is shaped like the content of ``tags``."""
    return isinstance(mapping(value).get("auto"), dict)


def read_tags(tags: Mapping[str, Any], raw: str) -> TagsReply:
    """Read the content of ``tags``; see :func:`parse_tags_reply`."""
    return TagsReply(
        auto=_scores("tags.auto", tags["auto"].items()),
        user=_scores("tags.user", _user_scores(tags.get("user"))),
        raw=raw,
    )


def merge_tags(replies: Iterable[TagsReply], raw: str) -> TagsReply | None:
    """Return one reply in which each label has its highest confidence; ``None`` for none."""
    found = list(replies)
    if not found:
        return None
    return TagsReply(
        auto=_highest(pair for reply in found for pair in reply.auto.items()),
        user=_highest(pair for reply in found for pair in reply.user.items()),
        raw=raw,
    )


def _user_scores(user: object) -> Iterable[tuple[str, Any]]:
    if user is None:
        return ()
    if isinstance(user, str):
        return ((user, USER_CONFIDENCE),)
    if isinstance(user, dict):
        return (
            (label, USER_CONFIDENCE if score is None else score)
            for label, score in user.items()
        )
    raise PayloadError(f"tags.user must be null, an object or text, not {shown(user)}.")


def _scores(place: str, pairs: Iterable[tuple[str, Any]]) -> dict[str, int]:
    return _highest(
        (_label(place, label), _confidence(place, label, score)) for label, score in pairs
    )


def _highest(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    best: dict[str, tuple[str, int]] = {}
    for label, score in pairs:
        key = label_key(label)
        if key not in best or best[key][1] < score:
            best[key] = (label, score)
    return dict(best.values())


def _label(place: str, label: str) -> str:
    try:
        label_key(label)
        return label_name(label)
    except InvalidLabel as error:
        raise PayloadError(f"{place} holds {shown(label)}: {error}") from None


def _confidence(place: str, label: str, score: object) -> int:
    if isinstance(score, bool) or not isinstance(score, (int, float)) or not 0 <= score <= 100:
        raise PayloadError(
            f"{place} gives {shown(label)} the confidence {shown(score)}; "
            "it must be a number from 0 to 100."
        )
    return math.floor(score + 0.5)
