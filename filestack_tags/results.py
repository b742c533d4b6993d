"""Results: write a tagger's reply to an asset, exactly once and never over a newer one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial

from django.utils import timezone

from . import tags
from .clock import kept
from .models import Asset, AssetTag, TaggingRun, score_of
from .signals import asset_tagged
from .taggers import TaggerReply, TagScore
from .text import label_key, storable
from .transactions import alias, atomic, locked, on_commit
from .upsert import Row, upsert

ABANDONED = "abandoned"
"""Error code of a run whose lease expired. Should its result still come, it is used."""

CLOSED = (
    "state", "raw_reply", "http_status", "version", "error_code", "error_text", "result_at",
    "finished_at",
)  # fmt: skip
"""Columns of a run that :func:`apply` writes."""

SETTLED = (
    "tags_version", "tags_at", "current_run", "tagging_state", "due_at", "attempts",
    "last_error", "changed_at",
)  # fmt: skip
"""Columns of an asset that :func:`apply` writes."""

SOURCES = {"auto": AssetTag.Source.AUTO, "user": AssetTag.Source.USER}


def apply(run_id: int, reply: TaggerReply, *, result_at: datetime) -> str:
    """Close a run with ``reply`` and make the asset's tags say the same; return the run's state.

    One transaction, with the asset's row locked. A run is applied once: later calls change
    nothing. A result is not applied when the asset already shows one that is newer by (content
    version, ``result_at``); the run is kept as *superseded*. Rows that a person decided are never
    touched, rows that did not change are not written.
    """
    result_at = kept(result_at)
    ids = tags.resolve(score.name for score in reply.scores)
    with atomic():
        run, asset = lock_run(run_id)
        if run.state != TaggingRun.State.STARTED and run.error_code != ABANDONED:
            return run.state
        newest = (asset.tags_version, asset.tags_at or result_at)
        superseded = (run.content_version, result_at) < newest
        run.state = TaggingRun.State.SUPERSEDED if superseded else TaggingRun.State.SUCCEEDED
        run.raw_reply = storable(reply.raw)
        run.http_status = reply.status
        run.version = reply.version
        run.error_code = run.error_text = ""
        run.result_at = result_at
        run.finished_at = timezone.now()
        run.save(using=alias(), update_fields=CLOSED)
        counts: dict[int, int] = {}
        if not superseded:
            counts = _write(asset, run, _by_tag(reply.scores, ids))
            asset.tags_version = run.content_version
            asset.tags_at = result_at
            asset.current_run = run
            on_commit(
                partial(asset_tagged.send_robust, sender=TaggingRun, asset=asset, run=run)
            )
        settle(asset, run)
        asset.save(using=alias(), update_fields=SETTLED)
        tags.shift_counts(counts)
    return run.state


def lock_run(run_id: int) -> tuple[TaggingRun, Asset]:
    """Lock the run's asset, then the run, and return both as they are now."""
    # A join would lock the run first on MariaDB; what a subquery reads is not locked.
    asset_id = TaggingRun.objects.filter(pk=run_id).values("asset_id")[:1]
    asset = locked(Asset.objects.filter(pk=asset_id)).get()
    return locked(TaggingRun.objects.filter(pk=run_id)).get(), asset


def is_held_by_another(asset: Asset, run: TaggingRun) -> bool:
    """Whether another run is at work on the asset, so that this one must not change its state."""
    started = TaggingRun.objects.using(alias()).filter(
        asset=asset, state=TaggingRun.State.STARTED
    )
    return asset.tagging_state == Asset.State.RUNNING and started.exclude(pk=run.pk).exists()


def settle(asset: Asset, run: TaggingRun) -> None:
    """Put an asset to rest if its tags describe its present content and nobody is at work."""
    if asset.deleted_at or is_held_by_another(asset, run):
        return
    if asset.tags_version == asset.content_version:
        asset.tagging_state = Asset.State.TAGGED
        asset.due_at = None
        asset.attempts = 0
        asset.last_error = ""
    elif asset.tagging_state == Asset.State.RUNNING:
        # The file was overwritten meanwhile: what came describes its earlier content.
        asset.tagging_state = Asset.State.QUEUED
        asset.due_at = timezone.now()


def _write(asset: Asset, run: TaggingRun, wanted: dict[int, tuple[int, int]]) -> dict[int, int]:
    """Make the asset's rows say ``{tag id: (confidence, source)}``, decided ones left alone.

    Return ``{tag id: by how many its assets are more}``.
    """
    rows = AssetTag.objects.using(alias()).filter(asset=asset)
    present = {
        tag_id: (confidence, source, decision)
        for tag_id, confidence, source, decision in rows.values_list(
            "tag_id", "confidence", "source", "decision"
        )
    }
    machine = {
        tag_id: (confidence, source)
        for tag_id, (confidence, source, decision) in present.items()
        if decision == AssetTag.Decision.NONE
    }
    gained = wanted.keys() - present.keys()
    lost = machine.keys() - wanted.keys()
    moved = {pk for pk in machine.keys() & wanted.keys() if machine[pk] != wanted[pk]}
    forgotten = asset.deleted_at is not None
    tags.hold(gained | lost | moved)
    if lost:
        rows.filter(tag_id__in=sorted(lost), decision=AssetTag.Decision.NONE).delete()
    changed = []
    for tag_id in sorted(gained | moved):
        confidence, source = wanted[tag_id]
        score = score_of(confidence, AssetTag.Decision.NONE, forgotten=forgotten)
        changed.append(Row(tag_id, confidence, score, source))
    upsert(asset.pk, run.pk, changed)
    return {} if forgotten else dict.fromkeys(gained, +1) | dict.fromkeys(lost, -1)


def _by_tag(scores: Iterable[TagScore], ids: Mapping[str, int]) -> dict[int, tuple[int, int]]:
    """Return ``{tag id: (confidence, source)}``; ``ids`` leads from keys to tags.

    Two labels may lead to one tag, by spelling or by alias: a user's word goes before the
    machine's, then the higher confidence counts.
    """
    best: dict[int, tuple[int, int]] = {}
    for score in scores:
        tag_id = ids[label_key(score.name)]
        offer = (score.confidence, int(SOURCES[score.source]))
        held = best.get(tag_id)
        if held is None or (offer[1], offer[0]) > (held[1], held[0]):
            best[tag_id] = offer
    return best
