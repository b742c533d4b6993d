"""Assets to tag."""

from __future__ import annotations

from typing import Any

from filestack_tags.assets import registry
from filestack_tags.filestack.sources import Source
from filestack_tags.tagging import queue


def registered(number: int, **facts: Any) -> list[int]:
    return [
        registry.register(Source.handle(f"h{n}"), facts=registry.Facts(**facts))[0].pk
        for n in range(number)
    ]


def queued(number: int) -> list[int]:
    ids = registered(number)
    assert queue.request(ids) == ids
    return ids
