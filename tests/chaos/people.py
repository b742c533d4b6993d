"""Simulated users who keep deciding about tags, and record their decisions.

The last record for a file and a tag must match the table at the end. The users also re-tag assets,
and tag files with a workflow.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import partial

import django
from django.db import Error, close_old_connections

from .canned import LABELS
from .crashing import append

PAUSE = 0.12
"""Seconds between two acts, on average."""


def main() -> None:
    django.setup()
    dice = random.Random(f"people {sys.argv[1]}")
    # On SIGTERM they finish first, so that no record is lost after a commit.
    asked_to_end: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked_to_end.append(number))
    while not asked_to_end:
        time.sleep(dice.uniform(0, 2 * PAUSE))
        act: Callable[[], None] | None = None
        while True:
            # An error may mean that the commit succeeded and its response was lost. Repeat the same
            # decision, which is idempotent, until its result is known.
            try:
                act = act or drawn(dice)
                act()
                break
            except Error:
                close_old_connections()
                time.sleep(0.3)


def drawn(dice: random.Random) -> Callable[[], None]:
    """Return an action, which is repeated if it fails."""
    from filestack_tags.models import Asset, AssetTag

    ids = list(Asset.objects.order_by("-id").values_list("id", "reference")[:200])
    if not ids:
        return lambda: None
    asset_id, handle = dice.choice(ids)
    what = dice.choices(("decide", "again", "workflow"), (85, 10, 5))[0]
    if what != "decide":
        return partial(tag_again, asset_id, tagger="workflow" if what == "workflow" else "")
    act = dice.choices(("accept", "reject", "add", "withdraw"), (4, 4, 3, 1))[0]
    if act == "add":
        name, confidence = f"label {dice.randrange(LABELS):02}", dice.randrange(101)
        return partial(add, asset_id, handle, name, confidence)
    rows = AssetTag.objects.filter(asset=asset_id).order_by("tag_id")
    tags = list(rows.values_list("tag_id", "tag__key"))
    return partial(decide, asset_id, handle, act, dice.choice(tags)) if tags else lambda: None


def add(asset_id: int, handle: str, name: str, confidence: int) -> None:
    """Add a tag to an asset by hand, and record the decision."""
    from filestack_tags import curation

    row = curation.add(asset_id, name, user=None, confidence=confidence)
    append("decisions.jsonl", json.dumps([handle, name, int(row.decision)]))


def decide(asset_id: int, handle: str, act: str, tag: tuple[int, str]) -> None:
    """Accept or reject a tag, or withdraw the decision; record it."""
    from filestack_tags import curation
    from filestack_tags.exceptions import CurationError

    decision = 0
    try:
        if act == "withdraw":
            curation.withdraw(asset_id, tag[0], user=None)
        else:
            change = curation.accept if act == "accept" else curation.reject
            decision = int(change(asset_id, tag[0], user=None).decision)
    except CurationError:
        return  # a reply has removed the tag meanwhile
    append("decisions.jsonl", json.dumps([handle, tag[1], decision]))


def tag_again(asset_id: int, *, tagger: str) -> None:
    """Re-tag an asset, as the admin's action does, or with a workflow."""
    from filestack_tags.tasks import request_tagging

    request_tagging([asset_id], force=True, trigger="admin", tagger=tagger)


if __name__ == "__main__":
    main()
