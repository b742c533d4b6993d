"""Simulated users who keep deciding about tags, and record their decisions.

The last record for a file and a tag must match the table at the end. The users also re-tag assets,
tag files with a workflow, start bulk jobs, merge tags, and save photos in a host model.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial

import django
from django.db import Error, close_old_connections

from .canned import LABELS
from .crashing import append

PAUSE = 0.12
"""Seconds between two acts, on average."""

RECEIVER = "CHAOS_RECEIVER"
"""Environment variable: the URL of the endpoint for outbound webhooks."""

OWN = "merge "
"""How the names of tags begin that are only there to be merged."""


def main() -> None:
    django.setup()
    dice = random.Random(f"people {sys.argv[1]}")
    # On SIGTERM they finish first, so that no record is lost after a commit.
    asked_to_end: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked_to_end.append(number))
    act: Callable[[], None] | None = add_endpoint
    while not asked_to_end:
        time.sleep(dice.uniform(0, 2 * PAUSE))
        while True:
            # An error may mean that the commit succeeded and its response was lost. Repeat the same
            # decision, which is idempotent, until its result is known.
            try:
                act = act or drawn(dice)
                act()
                act = None
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
    newest = [pk for pk, _ in ids[:5]]
    kinds = ("decide", "again", "workflow", "bulk", "merge", "photo")
    what = dice.choices(kinds, (80, 8, 4, 3, 2, 3))[0]
    if what in ("again", "workflow"):
        return partial(tag_again, asset_id, tagger="workflow" if what == "workflow" else "")
    if what == "bulk":
        return partial(start_job, dice.choice(("export", "retag")), newest)
    if what == "merge":
        return partial(merge, f"{OWN}{dice.randrange(10**9)}", newest)
    if what == "photo":
        return partial(save_photo, uuid.UUID(int=dice.getrandbits(128)).hex)
    act = dice.choices(("accept", "reject", "add", "withdraw"), (4, 4, 3, 1))[0]
    if act == "add":
        name, confidence = f"label {dice.randrange(LABELS):02}", dice.randrange(101)
        return partial(add, asset_id, handle, name, confidence)
    rows = AssetTag.objects.filter(asset=asset_id).exclude(tag__key__startswith=OWN)
    rows = rows.order_by("tag_id")
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


def add_endpoint() -> None:
    """Register the receiver of outbound webhooks."""
    from filestack_tags.models import OutboundEndpoint, OutboundMessage

    Event = OutboundMessage.Event
    events = {"events": [Event.TAGGED.value, Event.FAILED.value]}
    OutboundEndpoint.objects.get_or_create(url=os.environ[RECEIVER], defaults=events)


def start_job(action: str, asset_ids: Sequence[int]) -> None:
    """Export all assets and the newest, or re-tag the newest."""
    from filestack_tags.curation.bulk import BulkRequest
    from filestack_tags.tasks import start_bulk_job

    newest = tuple(asset_ids)
    if action == "retag":
        start_bulk_job(BulkRequest(action, asset_ids=newest), user=None)
        return
    for ids in (None, newest):
        start_bulk_job(BulkRequest(action, asset_ids=ids, format="jsonl"), user=None)


def merge(name: str, asset_ids: Sequence[int]) -> None:
    """Add two new tags to some assets, and merge them."""
    from filestack_tags import curation, tasks
    from filestack_tags.models import TagMerge

    source, target = f"{name} source", f"{name} target"
    if TagMerge.objects.filter(source_name=source).exists():
        return  # committed, but the response was lost
    for asset_id in asset_ids:
        curation.add(asset_id, source, user=None)
    curation.add(asset_ids[0], target, user=None)
    tasks.merge(source, target, user=None)


def save_photo(name: str) -> None:
    """Save a file in a host model, which becomes an asset."""
    from django.core.files.base import ContentFile

    from tests.hosts.shop.models import Photo

    Photo.objects.create(title=name, file=ContentFile(name.encode(), f"{name}.jpg"))


if __name__ == "__main__":
    main()
