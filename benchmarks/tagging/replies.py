"""Filestack's replies: twenty labels a picture, frequent and rare ones."""

from __future__ import annotations

import json
from functools import cache
from itertools import accumulate
from random import Random
from zlib import crc32

LABELS = 2_000
LABELS_EACH = 20
REPLIES = 997
"""Number of different replies."""


@cache
def labels() -> tuple[dict[str, int], ...]:
    """Return the replies, as label → confidence; deterministic."""
    dice = Random(2026)
    names = [f"label {number}" for number in range(LABELS)]
    weights = list(accumulate(1 / (number + 3) for number in range(LABELS)))
    replies = []
    for _ in range(REPLIES):
        chosen: dict[str, int] = {}
        while len(chosen) < LABELS_EACH:
            (name,) = dice.choices(names, cum_weights=weights)
            chosen[name] = dice.randint(40, 99)
        replies.append(chosen)
    return tuple(replies)


def of(content: bytes) -> dict[str, int]:
    """Return the reply for some bytes; pictures are not analyzed."""
    return labels()[crc32(content) % REPLIES]


@cache
def responses() -> tuple[bytes, ...]:
    """Return all replies as HTTP responses on a persistent connection."""
    return tuple(_response(chosen) for chosen in labels())


def response(handle: bytes) -> bytes:
    """Return the response for a handle."""
    return responses()[crc32(handle) % REPLIES]


def _response(chosen: dict[str, int]) -> bytes:
    body = json.dumps({"tags": {"auto": chosen, "user": None}}).encode()
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
