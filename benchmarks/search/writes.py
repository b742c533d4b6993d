"""The measurements of several processes: replies applied, readers beside writers, a re-tag."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from random import Random
from time import sleep
from typing import Any, TypeVar

from django.db import connection, connections
from django.utils import timezone

from filestack_tags.models import Asset, AssetTag, Tag, TaggingRun
from filestack_tags.tagging import results

from . import roles
from .data import TAGS_PER_ASSET, Library, generate
from .designs.models import NaivePicture, NaivePictureTag
from .load import asset_row, copy_rows
from .oracle import Oracle
from .processes import Job, Report, together
from .workload import Search

WRITERS = 4
READERS = 8
WRITERS_BESIDE = 2
SECONDS = 4.0
ROUNDS = 3
ROUND_SECONDS = 1.5
TOGETHER = 50
REPLIES = {
    "apply_reply": ("apply_reply", 1, 2000),
    "unnest": ("unnest", 1, 4000),
    f"apply_reply, {TOGETHER} together": ("apply_together", TOGETHER, 4000),
    f"unnest, {TOGETHER} together": ("unnest", TOGETHER, 6000),
    "get_or_create_loop": ("get_or_create_loop", 1, 200),
}
"""The role, the replies in one item, and the maximum number of replies for each writer; that is
enough for the whole time on a usual machine.
"""
SOAKED_ASSETS = 20
SOAKED_REPLIES = 400
SOAKED_TOGETHER = 8
NEW_NAMES = 60
RETAGGED = 500

T = TypeVar("T")


class Writes:
    """Writes to its own assets, numbered after those of the library."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self._names = oracle.library.names
        self._library = oracle.library
        self._next = oracle.library.assets + 1
        self._fresh: Library = generate(
            WRITERS * max(most for _, _, most in REPLIES.values()),
            seed=oracle.library.assets + 1,
        )
        self.found: dict[str, Any] = {}

    def replies(self) -> None:
        """Apply first replies of 20 tags with four writers: the app, the limit, and the loop.

        In turn and each several times, so that all run under the same conditions.
        """
        rounds: dict[str, list[Observed]] = {name: [] for name in REPLIES}
        for _ in range(ROUNDS):
            for name, (role, _, _) in REPLIES.items():
                jobs = [self._job(name, ROUND_SECONDS) for _ in range(WRITERS)]
                rounds[name].append(_observe(jobs, role))
        for name, (_, size, _) in REPLIES.items():
            self.found[name] = _summary(rounds[name], size)

    def soak(self) -> None:
        """Apply replies that share assets, tags and new names."""
        ids = self._assets(SOAKED_ASSETS)
        for name, size in (("soak", 1), (f"soak, {SOAKED_TOGETHER} together", SOAKED_TOGETHER)):
            jobs = []
            for writer in range(WRITERS):
                dice = Random(writer)
                items = [
                    [
                        (dice.choice(ids), roles.reply(self._meeting(dice, name, number)))
                        for _ in range(size)
                    ]
                    for number in range(SOAKED_REPLIES)
                ]
                jobs.append(Job("retag_anew", items, SECONDS))
            self.found[name] = _summary([_observe(jobs, "retag_anew")], size)

    def _meeting(self, dice: Random, soak: str, number: int) -> dict[str, int]:
        """Return ten frequent tags and ten names that all writers create at the same time."""
        known = dice.sample(self._names[:40], 10)
        new = [f"{soak} {number // 40} {dice.randrange(NEW_NAMES)}" for _ in range(10)]
        return {name: dice.randrange(101) for name in known + new}

    def readers(self, searches: Sequence[Search]) -> None:
        """Search with one client, with eight, and with eight while two writers apply replies."""
        texts = [search.text(self._names) for search in searches]

        def reading(count: int) -> list[Job]:
            return [
                Job("search", texts[start:] + texts[:start], SECONDS, repeat=True)
                for start in range(0, count * 7, 7)
            ]

        writing = [self._job("apply_reply", SECONDS) for _ in range(WRITERS_BESIDE)]
        self.found["1 reader"] = _summary([_observe(reading(1), "search")])
        self.found["8 readers"] = _summary([_observe(reading(READERS), "search")])
        self.found["8 readers, 2 writers"] = _summary(
            [_observe(reading(READERS) + writing, "search")]
        )

    def retag(self) -> None:
        """Apply replies that change nothing, and count the dead rows."""
        tags: dict[int, dict[str, int]] = {}
        rows = AssetTag.objects.filter(asset__lte=RETAGGED)
        for asset, name, confidence in rows.values_list("asset_id", "tag__name", "confidence"):
            tags.setdefault(asset, {})[name] = confidence
        runs = self._runs(list(tags))
        before = _row_versions()
        for said, run in zip(tags.values(), runs, strict=True):
            results.apply(run, roles.reply(said), result_at=timezone.now())
        after = _row_versions()
        self.found["retag"] = {
            "replies": len(runs),
            **{name: after[name] - before[name] for name in after},
        }

    def clear(self) -> None:
        """Delete what was written, so that the library is as loaded."""
        last = self._library.assets
        AssetTag.objects.filter(asset__gt=last).delete()
        TaggingRun.objects.all().delete()
        Asset.objects.filter(pk__gt=last).delete()
        NaivePictureTag.objects.filter(picture__gt=last).delete()
        NaivePicture.objects.filter(pk__gt=last).delete()
        Tag.objects.filter(pk__gt=len(self._names)).delete()
        counts = self._oracle.frequencies
        tags = [Tag(pk=pk, asset_count=int(counts[pk])) for pk in range(1, len(counts))]
        Tag.objects.bulk_update(tags, ["asset_count"], batch_size=1000)

    def _job(self, name: str, seconds: float) -> Job:
        role, size, count = REPLIES[name]
        start = Random(self._next).randrange(len(self._fresh.tags) - count)
        tags = self._fresh.tags[start : start + count].tolist()
        confidences = self._fresh.confidences[start : start + count].tolist()
        said = [
            {self._names[tag - 1]: score for tag, score in zip(*row, strict=True)}
            for row in zip(tags, confidences, strict=True)
        ]
        items: list[Any]
        if role == "unnest":
            items = [
                (
                    [asset for asset in some for _ in range(TAGS_PER_ASSET)],
                    list(chain.from_iterable(tags[start : start + size])),
                    list(chain.from_iterable(confidences[start : start + size])),
                )
                for start, some in _sliced(self._assets(count), size)
            ]
        elif role == "get_or_create_loop":
            items = list(zip(self._pictures(count), said, strict=True))
        else:
            items = list(
                zip(self._runs(self._assets(count)), map(roles.reply, said), strict=True)
            )
            if role == "apply_together":
                items = [some for _, some in _sliced(items, size)]
        return Job(role, items, seconds)

    def _assets(self, count: int) -> list[int]:
        ids = self._numbers(count)
        copy_rows(Asset, map(asset_row, ids))
        return ids

    def _pictures(self, count: int) -> list[int]:
        ids = self._numbers(count)
        rows = map(asset_row, ids)
        columns = [field.column for field in NaivePicture._meta.concrete_fields]
        copy_rows(NaivePicture, ({name: row[name] for name in columns} for row in rows))
        return ids

    def _numbers(self, count: int) -> list[int]:
        ids = list(range(self._next, self._next + count))
        self._next += count
        return ids

    def _runs(self, assets: list[int]) -> list[int]:
        made = TaggingRun.objects.bulk_create(
            TaggingRun(asset_id=asset, tagger="benchmark", trigger="code", content_version=1)
            for asset in assets
        )
        return [run.pk for run in made]


def _sliced(items: Sequence[T], size: int) -> Iterator[tuple[int, Sequence[T]]]:
    """Yield slices of ``size`` items, each with its start."""
    for start in range(0, len(items), size):
        yield start, items[start : start + size]


@dataclass
class Observed:
    """The results of one round of processes."""

    reports: list[Report]
    """Of the measured role."""
    errors: list[str]
    deadlocks: int


def _observe(jobs: Sequence[Job], role: str) -> Observed:
    connections.close_all()
    before = _deadlocks()
    connections.close_all()
    reports = together(jobs)
    sleep(1.1)  # servers count deadlocks with a delay of up to a second
    return Observed(
        [report for report in reports if report.role == role],
        [error for report in reports for error in report.errors],
        _deadlocks() - before,
    )


def _summary(rounds: Sequence[Observed], size: int = 1) -> dict[str, Any]:
    """Return rates and times of all rounds; ``size`` is how many replies are one item."""
    times = sorted(t for seen in rounds for report in seen.reports for t in report.times)
    rates = [sum(len(r.times) / r.elapsed for r in seen.reports) for seen in rounds]
    errors = [error for seen in rounds for error in seen.errors]
    return {
        "processes": len(rounds[0].reports),
        "n": len(times),
        "per_second": round(size * sum(rates) / len(rates), 1),
        "p50": round(times[len(times) // 2], 3),
        "p95": round(times[min(len(times) - 1, int(0.95 * len(times)))], 3),
        "max": round(times[-1], 3),
        "errors": len(errors),
        "deadlocks": sum(seen.deadlocks for seen in rounds),
        **({"problem": errors[0]} if errors else {}),
    }


def _deadlocks() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
        return int(cursor.fetchone()[0])


def _row_versions() -> dict[str, int]:
    """Return how many versions of asset tags the server counts as written, and as dead."""
    connection.close()  # the server updates its statistics when a session ends
    sleep(1.1)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT n_tup_ins, n_tup_upd, n_tup_del, n_dead_tup FROM pg_stat_user_tables "
            "WHERE relname = %s",
            [AssetTag._meta.db_table],
        )
        names = ("inserted", "updated", "deleted", "dead")
        return dict(zip(names, cursor.fetchone(), strict=True))
