"""The measurements of several processes: readers alone, and beside writers."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from filestack_tags.models import Asset, AssetTag, Tag, TaggingRun

from . import roles
from .data import Library, generate
from .load import asset_row, copy_rows
from .oracle import Oracle
from .processes import Job, observe, summary
from .workload import Search

READERS = 8
WRITERS_BESIDE = 2
SECONDS = 4.0
REPLIES = 2000
"""Replies for each writer; that is enough for the whole time on a usual machine."""

APPLY = f"{__package__}.roles.apply_reply"
SEARCH = f"{__package__}.roles.search"


class Writes:
    """Writes to its own assets, numbered after those of the library."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self._names = oracle.library.names
        self._library = oracle.library
        self._next = oracle.library.assets + 1
        self._fresh: Library = generate(
            WRITERS_BESIDE * REPLIES,
            seed=oracle.library.assets + 1,
        )
        self.found: dict[str, Any] = {}

    def readers(self, searches: Sequence[Search]) -> None:
        """Search with one client, with eight, and with eight while two writers apply replies."""
        texts = [search.text(self._names) for search in searches]

        def reading(count: int) -> list[Job]:
            return [
                Job(SEARCH, texts[start:] + texts[:start], SECONDS, repeat=True)
                for start in range(0, count * 7, 7)
            ]

        writing = [self._replies() for _ in range(WRITERS_BESIDE)]
        self.found["1 reader"] = summary([observe(reading(1), SEARCH)])
        self.found["8 readers"] = summary([observe(reading(READERS), SEARCH)])
        self.found["8 readers, 2 writers"] = summary(
            [observe(reading(READERS) + writing, SEARCH)]
        )

    def clear(self) -> None:
        """Delete what was written, so that the library is as loaded."""
        last = self._library.assets
        AssetTag.objects.filter(asset__gt=last).delete()
        TaggingRun.objects.filter(asset__gt=last).delete()
        Asset.objects.filter(pk__gt=last).delete()
        Tag.objects.filter(pk__gt=len(self._names)).delete()
        counts = self._oracle.frequencies
        tags = [Tag(pk=pk, asset_count=int(counts[pk])) for pk in range(1, len(counts))]
        Tag.objects.bulk_update(tags, ["asset_count"], batch_size=1000)

    def _replies(self) -> Job:
        start = Random(self._next).randrange(len(self._fresh.tags) - REPLIES)
        tags = self._fresh.tags[start : start + REPLIES].tolist()
        confidences = self._fresh.confidences[start : start + REPLIES].tolist()
        replies = [
            roles.reply({self._names[tag - 1]: score for tag, score in zip(*row, strict=True)})
            for row in zip(tags, confidences, strict=True)
        ]
        runs = self._runs(self._assets(REPLIES))
        return Job(APPLY, list(zip(runs, replies, strict=True)), SECONDS)

    def _assets(self, count: int) -> list[int]:
        ids = list(range(self._next, self._next + count))
        self._next += count
        copy_rows(Asset, map(asset_row, ids))
        return ids

    def _runs(self, assets: list[int]) -> list[int]:
        made = TaggingRun.objects.bulk_create(
            TaggingRun(asset_id=asset, tagger="benchmark", trigger="code", content_version=1)
            for asset in assets
        )
        return [run.pk for run in made]
