"""The functions that a process of the concurrent measurements calls for each item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from filestack_tags.models import AssetTag, TaggingRun
from filestack_tags.search import Search
from filestack_tags.tagging import results
from filestack_tags.tagging.taggers import TaggerReply, TagScore

from .designs.models import NaivePictureTag, NaiveTag

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


def apply_together() -> Callable[[Sequence[tuple[int, TaggerReply]]], None]:
    """Apply several taggers' replies together."""

    def do(items: Sequence[tuple[int, TaggerReply]]) -> None:
        now = timezone.now()
        states = results.apply_all([results.Result(run, answer, now) for run, answer in items])
        for state in states:
            if isinstance(state, Exception):
                raise state

    return do


def retag_anew() -> Callable[[Sequence[tuple[int, TaggerReply]]], None]:
    """Start runs on assets that other processes use too, and apply replies to them."""
    together = apply_together()

    def do(items: Sequence[tuple[int, TaggerReply]]) -> None:
        runs = TaggingRun.objects.bulk_create(
            TaggingRun(asset_id=asset, tagger="benchmark", trigger="code", content_version=1)
            for asset, _ in items
        )
        together([(run.pk, answer) for run, (_, answer) in zip(runs, items, strict=True)])

    return do


def get_or_create_loop() -> Callable[[tuple[int, Tags]], None]:
    """The peer: one ``get_or_create`` and one ``update_or_create`` for each tag."""

    def do(item: tuple[int, Tags]) -> None:
        picture_id, tags = item
        with transaction.atomic():
            for name, confidence in tags.items():
                tag, _ = NaiveTag.objects.get_or_create(name=name)
                NaivePictureTag.objects.update_or_create(
                    picture_id=picture_id, tag=tag, defaults={"confidence": confidence}
                )

    return do


def unnest() -> Callable[[tuple[list[int], list[int], list[int]]], None]:
    """The limit: one prepared statement in one transaction, with known ids and no other rows."""
    connection.ensure_connection()
    session: Any = connection.connection
    statement = (
        f"INSERT INTO {AssetTag._meta.db_table} AS old "
        "(asset_id, tag_id, confidence, score, source, decision) "
        "SELECT a, t, c, c, 0, 0 FROM unnest(%s::bigint[], %s::int[], %s::smallint[]) "
        "AS new (a, t, c) "
        "ON CONFLICT (asset_id, tag_id) DO UPDATE SET confidence = excluded.confidence, "
        "score = excluded.score WHERE old.decision = 0 AND old.confidence <> excluded.confidence"
    )

    def do(item: tuple[list[int], list[int], list[int]]) -> None:
        session.execute(statement, item, prepare=True)

    return do


def reply(tags: Tags) -> TaggerReply:
    """Return tags as a tagger's reply."""
    scores = tuple(TagScore(name, confidence) for name, confidence in tags.items())
    return TaggerReply(scores, raw='{"tags": {"auto": {}}}', status=200, version=2)
