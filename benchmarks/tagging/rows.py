"""The assets of a measurement: create, queue and count them, and check their tags."""

from __future__ import annotations

import os
from collections.abc import Sequence
from random import Random

from django.db import connection
from redis import Redis

from filestack_tags import tasks
from filestack_tags.db.text import reference_digest
from filestack_tags.models import Asset, AssetTag, TaggingRun

from . import replies
from .peer.models import Picture
from .peer.tasks import tag_picture
from .surroundings import KEY, REDIS

CHECKED = 200
"""Assets whose tags are compared with the replies."""


class App:
    """The package: assets are queued as in a project."""

    name = "app"

    def fill(self, handles: Sequence[str]) -> None:
        _empty()
        Asset.objects.bulk_create(
            [
                Asset(
                    kind="handle",
                    reference=handle,
                    digest=reference_digest("handle", handle),
                    filename=f"{handle}.jpg",
                    mimetype="image/jpeg",
                    store_status="Stored",
                )
                for handle in handles
            ],
            batch_size=1000,
        )
        _settle()

    def queue(self) -> None:
        tasks.request_tagging(Asset.objects.order_by("id").values_list("id", flat=True))

    def done(self) -> int:
        return Asset.objects.filter(tagging_state=Asset.State.TAGGED).count()

    def faults(self, kind: str, handles: Sequence[str]) -> int:
        """Return how many assets failed, have two runs, or other tags than in their reply."""
        failed = Asset.objects.filter(tagging_state=Asset.State.FAILED).count()
        runs = TaggingRun.objects.filter(state=TaggingRun.State.SUCCEEDED).count()
        return failed + abs(runs - self.done()) + self._wrong(kind, handles)

    def _wrong(self, kind: str, handles: Sequence[str]) -> int:
        numbers = {handle: str(number) for number, handle in enumerate(handles)}
        tagged = Asset.objects.filter(tagging_state=Asset.State.TAGGED)
        known = dict(tagged.values_list("id", "reference"))
        wrong = 0
        for pk in Random(1).sample(sorted(known), min(CHECKED, len(known))):
            handle = known[pk]
            expected = replies.of((numbers[handle] if kind == "emulator" else handle).encode())
            rows = AssetTag.objects.filter(asset=pk).values_list("tag__name", "confidence")
            wrong += dict(rows) != expected
        return wrong


class Peer:
    """A task for each picture, which makes one blocking call."""

    name = "peer"

    def fill(self, handles: Sequence[str]) -> None:
        _empty()
        Picture.objects.bulk_create([Picture(handle=handle) for handle in handles])
        _settle()

    def queue(self) -> None:
        for pk in Picture.objects.order_by("id").values_list("id", flat=True):
            tag_picture.delay(pk)

    def done(self) -> int:
        return Picture.objects.exclude(tagged_at=None).count()

    def faults(self, kind: str, handles: Sequence[str]) -> int:
        return 0


def messages() -> int:
    """Return how many tasks wait in the broker."""
    with Redis.from_url(os.environ[REDIS]) as redis:
        return int(redis.llen(f"{os.environ[KEY]}:celery"))


def clear_broker() -> None:
    """Remove what this run left in Redis."""
    with Redis.from_url(os.environ[REDIS]) as redis:
        for key in redis.scan_iter(f"{os.environ[KEY]}:*", count=1000):
            redis.delete(key)


def _empty() -> None:
    clear_broker()
    tables = [
        name
        for name in connection.introspection.table_names()
        if name.startswith(("filestack_tags_", "peer_"))
    ]
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY CASCADE")


def _settle() -> None:
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
