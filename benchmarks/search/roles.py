"""The functions that a process of the concurrent measurements calls for each item."""

from __future__ import annotations

from collections.abc import Callable

from django.utils import timezone

from filestack_tags.search import Search
from filestack_tags.tagging import results
from filestack_tags.tagging.taggers import TaggerReply, TagScore

Tags = dict[str, int]


def search() -> Callable[[str], None]:
    """Answer a search with a page of assets."""

    def do(text: str) -> None:
        Search(text).page().assets()

    return do


def apply_reply() -> Callable[[tuple[int, TaggerReply]], None]:
    """Apply a tagger's reply to the asset of an open run."""

    def do(item: tuple[int, TaggerReply]) -> None:
        run_id, answer = item
        results.apply(run_id, answer, result_at=timezone.now())

    return do


def reply(tags: Tags) -> TaggerReply:
    """Return tags as a tagger's reply."""
    scores = tuple(TagScore(name, confidence) for name, confidence in tags.items())
    return TaggerReply(scores, raw='{"tags": {"auto": {}}}', status=200, version=2)
