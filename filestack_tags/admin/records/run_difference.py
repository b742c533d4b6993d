"""The difference between two tagging runs: labels added and removed, confidences changed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from filestack_tags.db.text import label_key
from filestack_tags.exceptions import PayloadError
from filestack_tags.filestack.payloads import TagsReply, parse_job, parse_tags_reply
from filestack_tags.models import TaggingRun

MOVED = 10
"""Minimum change of a confidence that is reported, in points."""


@dataclass(frozen=True)
class Move:
    """A label with another confidence."""

    label: str
    before: int
    after: int

    @property
    def points(self) -> int:
        return self.after - self.before


@dataclass(frozen=True)
class Difference:
    """The changes in the later run. Labels and confidences, the highest first."""

    gained: tuple[tuple[str, int], ...]
    lost: tuple[tuple[str, int], ...]
    moved: tuple[Move, ...]
    small: int
    """Labels whose confidence changed by less than :data:`MOVED` points."""

    @property
    def is_empty(self) -> bool:
        """Whether both runs have the same labels with the same confidences."""
        return not (self.gained or self.lost or self.moved or self.small)


def labels_of(run: TaggingRun) -> dict[str, tuple[str, int]] | None:
    """Return ``{key: (label, confidence)}`` of the run's reply, or ``None`` if it has no valid one.

    Old replies are emptied, see ``filestack_tags_prune``; a run may have failed, or used a custom
    tagger that stores its reply in another format.
    """
    if not run.raw_reply:
        return None
    reply = _reply(run.raw_reply)
    if reply is None:
        return None
    best: dict[str, tuple[str, int]] = {}
    for label, confidence in (*reply.auto.items(), *reply.user.items()):
        key = label_key(label)
        if key not in best or best[key][1] < confidence:
            best[key] = (label, confidence)
    return best


def difference(
    before: dict[str, tuple[str, int]], after: dict[str, tuple[str, int]]
) -> Difference:
    """Compare the labels of two runs."""
    both = before.keys() & after.keys()
    moves = [Move(after[key][0], before[key][1], after[key][1]) for key in both]
    moved = [move for move in moves if abs(move.points) >= MOVED]
    small = [move for move in moves if 0 < abs(move.points) < MOVED]
    return Difference(
        gained=_sorted(after[key] for key in after.keys() - both),
        lost=_sorted(before[key] for key in before.keys() - both),
        moved=tuple(sorted(moved, key=lambda move: (-abs(move.points), move.label))),
        small=len(small),
    )


def _reply(raw: str) -> TagsReply | None:
    """Parse a stored reply: that of a call, or the results of a workflow's tasks."""
    with suppress(PayloadError):
        return parse_tags_reply(raw)
    with suppress(PayloadError, ValueError, RecursionError):
        return parse_job({"jobid": "stored", "results": json.loads(raw)}).merged_tags()
    return None


def _sorted(labels: Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(labels, key=lambda item: (-item[1], item[0])))
