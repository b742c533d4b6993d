"""Results applied by several processes, fifty together: replies, failures and started jobs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from django.db import connection, connections
from django.utils import timezone

from benchmarks.search.data import Library, generate
from benchmarks.search.processes import Job, observe, summary
from filestack_tags.exceptions import TaggerError
from filestack_tags.models import Asset, AssetTag, Tag, TaggingRun
from filestack_tags.tagging import results
from filestack_tags.tagging.taggers import PendingJob, TaggerReply, TagScore

WRITERS = 4
TOGETHER = 50
ROUNDS = 3
SECONDS = 2.0
MOST = 4000
"""Results for each writer in a round: enough for the whole time on a usual machine."""
SOAK_ASSETS = 20
SOAK_RESULTS = 400
SOAK_TOGETHER = 8
SOAK_NAMES = 60
RETAGGED = 500

APPLY = f"{__name__}.apply_together"
APPLY_TO_NEW_RUNS = f"{__name__}.apply_to_new_runs"
NEW_RUN = {"tagger": "benchmark", "trigger": "code", "content_version": 1}

Answer = TaggerReply | TaggerError | PendingJob
T = TypeVar("T")


def apply_together() -> Callable[[Sequence[tuple[int, Answer]]], None]:
    """Apply several answers to open runs."""

    def do(items: Sequence[tuple[int, Answer]]) -> None:
        now = timezone.now()
        for outcome in results.apply_all(
            [results.Result(run, answer, now) for run, answer in items]
        ):
            if isinstance(outcome, Exception):
                raise outcome

    return do


def apply_to_new_runs() -> Callable[[Sequence[tuple[int, Answer]]], None]:
    """Start runs on assets that other processes use too, and apply answers to them."""
    apply = apply_together()

    def do(items: Sequence[tuple[int, Answer]]) -> None:
        runs = TaggingRun.objects.bulk_create(
            TaggingRun(asset_id=asset, **NEW_RUN) for asset, _ in items
        )
        apply([(run.pk, answer) for run, (_, answer) in zip(runs, items, strict=True)])

    return do


@dataclass(frozen=True)
class Work:
    """Replies for the assets of one writer."""

    library: Library
    offset: int
    assets: list[int]

    def items(self, moved: bool = False) -> list[Any]:
        """Return batches of replies to new runs; ``moved`` by one point."""
        runs = _runs(self.assets)
        answers = [
            (run, _reply(_tags(self.library, self.offset + number, int(moved))))
            for number, run in enumerate(runs)
        ]
        return _batches(answers, TOGETHER)


def library() -> Library:
    """Return tags for assets, after creating the rows of the tags."""
    generated = generate(20_000)
    Tag.objects.bulk_create(
        [Tag(key=name, name=name) for name in generated.names],
        batch_size=1000,
        ignore_conflicts=True,
    )
    return generated


def new_work(library: Library, assets: int = MOST) -> Work:
    """Create the assets of one writer."""
    return Work(library, Random().randrange(library.assets), _assets(assets))


def measure() -> dict[str, dict[str, Any]]:
    """Measure each kind of result in turn and several times, then the soak and a re-tag."""
    tags = library()
    jobs = itertools.count()
    kinds: dict[str, Callable[[int], Answer]] = {
        "failures": lambda number: TaggerError(f"Error {number}.", retryable=True),
        "started jobs": lambda number: PendingJob("wf", f"job-{next(jobs)}", raw="{}"),
    }
    rounds: dict[str, list[Any]] = {name: [] for name in ("replies", *kinds)}
    for _ in range(ROUNDS):
        work = [Job(APPLY, new_work(tags).items(), SECONDS) for _ in range(WRITERS)]
        rounds["replies"].append(observe(work, APPLY))
        for name, answer in kinds.items():
            work = [Job(APPLY, _items(answer), SECONDS) for _ in range(WRITERS)]
            rounds[name].append(observe(work, APPLY))
    found = {name: summary(observed, TOGETHER) for name, observed in rounds.items()}
    found["soak"] = summary([observe(_soak(tags), APPLY_TO_NEW_RUNS)], SOAK_TOGETHER)
    found["re-tag"] = _retag()
    return found


def _items(answer: Callable[[int], Answer]) -> list[Any]:
    runs = _runs(_assets(MOST))
    return _batches([(run, answer(number)) for number, run in enumerate(runs)], TOGETHER)


def _soak(library: Library) -> list[Job]:
    """Return work on the same assets with frequent tags, and names that all create at once."""
    assets = _assets(SOAK_ASSETS)
    work = []
    for writer in range(WRITERS):
        dice = Random(writer)

        def meeting(number: int, dice: Random = dice) -> Answer:
            if dice.random() < 0.2:
                return TaggerError("An error.", retryable=dice.random() < 0.5)
            new = [f"soak {number // 40} {dice.randrange(SOAK_NAMES)}" for _ in range(10)]
            names = dice.sample(library.names[:40], 10) + new
            return _reply({name: dice.randrange(101) for name in names})

        items = [
            [(dice.choice(assets), meeting(number)) for _ in range(SOAK_TOGETHER)]
            for number in range(SOAK_RESULTS)
        ]
        work.append(Job(APPLY_TO_NEW_RUNS, items, 2 * SECONDS))
    return work


def _retag() -> dict[str, Any]:
    """Apply replies that change nothing, and count the dead rows."""
    ids = list(Asset.objects.exclude(current_run=None).values_list("pk", flat=True)[:RETAGGED])
    tags: dict[int, dict[str, int]] = {pk: {} for pk in ids}
    rows = AssetTag.objects.filter(asset__in=ids)
    for asset, name, confidence in rows.values_list("asset_id", "tag__name", "confidence"):
        tags[asset][name] = confidence
    answers = [(run, _reply(tags[asset])) for asset, run in zip(ids, _runs(ids), strict=True)]
    before = _row_versions()
    for batch in _batches(answers, TOGETHER):
        apply_together()(batch)
    after = _row_versions()
    return {"replies": len(answers), **{name: after[name] - before[name] for name in after}}


def _tags(library: Library, number: int, moved: int = 0) -> dict[str, int]:
    row = number % library.assets
    tags = zip(library.tags[row].tolist(), library.confidences[row].tolist(), strict=True)
    return {library.names[tag - 1]: abs(confidence - moved) for tag, confidence in tags}


def _reply(tags: dict[str, int]) -> TaggerReply:
    scores = tuple(TagScore(name, confidence) for name, confidence in tags.items())
    return TaggerReply(scores, raw='{"tags": {"auto": {}}}', status=200, version=2)


def _assets(count: int) -> list[int]:
    """Create assets that are leased."""
    number = Asset.objects.count()
    made = Asset.objects.bulk_create(
        [
            Asset(
                kind="handle",
                reference=f"r{number + place}",
                digest=f"{number + place:064d}",
                tagging_state=Asset.State.RUNNING,
                attempts=1,
                due_at=timezone.now(),
            )
            for place in range(count)
        ],
        batch_size=1000,
    )
    return [asset.pk for asset in made]


def _runs(assets: Sequence[int]) -> list[int]:
    made = TaggingRun.objects.bulk_create(
        [TaggingRun(asset_id=asset, **NEW_RUN) for asset in assets], batch_size=1000
    )
    return [run.pk for run in made]


def _batches(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _row_versions() -> dict[str, int]:
    """Return how many versions of asset tags the server counts as written, and as dead."""
    connections.close_all()  # the server updates its statistics when a session ends
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(1.1)")
        cursor.execute(
            "SELECT n_tup_ins, n_tup_upd, n_tup_del, n_dead_tup FROM pg_stat_user_tables "
            "WHERE relname = %s",
            [AssetTag._meta.db_table],
        )
        names = ("inserted", "updated", "deleted", "dead")
        return dict(zip(names, cursor.fetchone(), strict=True))
