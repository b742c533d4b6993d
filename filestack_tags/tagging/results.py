"""Results: write taggers' replies to assets, exactly once and never over a newer one.

Apply waiting replies together if possible: each statement then handles all of them, and they share
one commit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any

from django.db import IntegrityError, InterfaceError, OperationalError
from django.utils import timezone

from filestack_tags.assets import tag_rows, tags
from filestack_tags.db.datetimes import kept
from filestack_tags.db.rowsets import check_references
from filestack_tags.db.text import label_key, storable
from filestack_tags.db.transactions import alias, atomic, locked, on_commit
from filestack_tags.error_codes import ErrorCode
from filestack_tags.models import Asset, AssetTag, TaggingRun, score_of
from filestack_tags.outbound import outbox
from filestack_tags.signals import asset_tagged

from . import rules, run_rows
from .run_rows import AssetStanding, RunStanding
from .taggers import TaggerReply, TagScore

GIVEN_UP = frozenset({ErrorCode.ABANDONED, ErrorCode.WORKFLOW_DEADLINE})
"""Error codes of runs that were closed without a result. A result that still arrives is applied."""

SOURCES = {"auto": int(AssetTag.Source.AUTO), "user": int(AssetTag.Source.USER)}

NONE = int(AssetTag.Decision.NONE)
AT_ONCE = 50
"""Results in one transaction: more gain little and hold their locks longer."""


@dataclass(frozen=True)
class Result:
    """A tagger's reply to a run, and when it was given."""

    run_id: int
    reply: TaggerReply
    result_at: datetime


Shown = tuple[RunStanding, TaggerReply]
"""The run whose result an asset shows, and its reply."""


def apply(run_id: int, reply: TaggerReply, *, result_at: datetime) -> str:
    """Close a run with ``reply`` and update the asset's tags; return the run's state.

    See :func:`apply_all`.

    Raises:
        InvalidLabel: when a label of the reply cannot be a tag.
        TaggingRun.DoesNotExist: when there is no such run.
    """
    (state,) = apply_all([Result(run_id, reply, result_at)])
    if isinstance(state, Exception):
        raise state
    return state


def apply_all(results: Sequence[Result]) -> list[str | Exception]:
    """Close runs with their replies; return each run's state, or the error that kept it open.

    Uses a transaction for every :data:`AT_ONCE` results, with the assets' rows locked. A run is
    applied once: later calls change nothing. If an asset has several results, the newest by
    (content version, ``result_at``) is applied, unless the asset already shows a newer one. The
    other runs are stored as *superseded*. Rows that a user reviewed are never changed, and
    unchanged rows are not written. A reply without tags keeps the tags of the same content.
    ``asset_tagged`` is sent for every result of the present content that was applied, that has no
    tags, or for which rules were evaluated.

    A result that cannot be applied does not affect the others. Inside a transaction, pass
    :data:`AT_ONCE` results at most: its locks last until the end, and more results would lock
    assets after tags.

    Raises:
        OperationalError: when the database deadlocked or is unreachable. Retrying all of them is
            safe.
    """
    states: list[str | Exception] = []
    for start in range(0, len(results), AT_ONCE):
        states += _apply_or_halve(results[start : start + AT_ONCE])
    return states


def _apply_or_halve(results: Sequence[Result]) -> list[str | Exception]:
    try:
        return [*_apply(results)]
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:  # noqa: BLE001  # returned to the caller after the others were applied
        if len(results) == 1:
            return _apply_once_more(results, error)
    half = len(results) // 2
    return _apply_or_halve(results[:half]) + _apply_or_halve(results[half:])


def _apply_once_more(results: Sequence[Result], error: Exception) -> list[str | Exception]:
    """Resolve the names again if a tag was merged away since they were resolved."""
    if not isinstance(error, IntegrityError):
        return [error]
    try:
        return [*_apply(results)]
    except IntegrityError as again:
        return [again]


def _apply(results: Sequence[Result]) -> list[str]:
    """Apply results in one transaction, all or none."""
    ids = _tag_ids(results)
    with atomic():
        assets, runs = run_rows.lock({result.run_id for result in results})
        for result in results:
            if result.run_id not in runs:
                raise TaggingRun.DoesNotExist(f"There is no run {result.run_id}.")
        closed, shown = _close(results, assets, runs)
        if closed:
            run_rows.write_runs(closed)
            _settle_all([assets[pk] for pk in sorted({run.asset_id for run in closed})])
            present = [
                run
                for run in closed
                if run.content_version == assets[run.asset_id].content_version
                and (run.state == TaggingRun.State.SUCCEEDED or run.rule_results)
            ]
            announce(run.id for run in present)
            outbox.note(outbox.TAGGED, map(_message, present))
            tags.shift_counts(_write(assets, shown, ids))
    return [runs[result.run_id].state for result in results]


def _tag_ids(results: Sequence[Result]) -> dict[str, int]:
    """Return ``{label as received: tag id}``, creating missing tags."""
    names = dict.fromkeys(score.name for result in results for score in result.reply.scores)
    ids = tags.resolve(names)
    return {name: ids[label_key(name)] for name in names}


def _close(
    results: Sequence[Result],
    assets: Mapping[int, AssetStanding],
    runs: Mapping[int, RunStanding],
) -> tuple[list[RunStanding], dict[int, Shown]]:
    """Close the open runs, newest result first; return them, and what each asset now shows.

    Results without tags are applied last, so that they see the tags of the same batch.
    """
    now = timezone.now()
    closed: list[RunStanding] = []
    shown: dict[int, Shown] = {}
    moments = [(result, kept(result.result_at)) for result in results]
    moments.sort(
        key=lambda item: (
            runs[item[0].run_id].content_version,
            item[0].reply.has_tags,
            item[1],
        ),
        reverse=True,
    )
    for result, result_at in moments:
        run, reply = runs[result.run_id], result.reply
        if run.state != TaggingRun.State.STARTED and run.error_code not in GIVEN_UP:
            continue
        asset = assets[run.asset_id]
        if reply.has_tags:
            newest = (asset.tags_version, asset.tags_at or result_at)
            superseded = asset.id in shown or (run.content_version, result_at) < newest
            is_shown = not superseded
        else:
            superseded = run.content_version < asset.content_version
            is_shown = not superseded and _answers_request(run, asset)
        run.state = TaggingRun.State.SUPERSEDED if superseded else TaggingRun.State.SUCCEEDED
        run.rule_results = rules.said_of(reply)
        run.raw_reply = storable(reply.raw)
        run.http_status = reply.status
        run.version = reply.version
        run.error_code = run.error_text = ""
        run.notes = storable(reply.notes)
        run.result_at = result_at
        run.finished_at = now
        closed.append(run)
        if is_shown:
            asset.tags_version = run.content_version
            # Without tags there is no tag time: any tags of this content replace them.
            asset.tags_at = result_at if reply.has_tags else None
            asset.current_run_id = run.id
            shown[asset.id] = (run, reply)
    return closed, shown


def _answers_request(run: RunStanding, asset: AssetStanding) -> bool:
    """Whether a result without tags is the final answer for a content that was to be tagged here.

    Then the tags of an earlier content are removed, and the asset is not tagged again, which would
    cost another call. A job that an upload started leaves the asset to its own tagging.
    """
    was_requested = run.trigger != TaggingRun.Trigger.WORKFLOW
    return was_requested and asset.tags_version < run.content_version


def _settle_all(assets: Sequence[AssetStanding]) -> None:
    """Settle assets whose runs have been closed, and save the changes."""
    now = timezone.now()
    running = [asset.id for asset in assets if asset.tagging_state == Asset.State.RUNNING]
    held = run_rows.started(running) if running else set()
    for asset in assets:
        asset.changed_at = now
        if asset.id not in held:
            _rest(asset)
    run_rows.write_assets(assets)


def _message(run: RunStanding) -> dict[str, Any]:
    """Return the outbound message for a result. No tag names: they may be private."""
    return {"asset_id": run.asset_id, "run_id": run.id, "rules": run.rule_results}


def announce(run_ids: Iterable[int]) -> None:
    """Send ``asset_tagged`` for runs with a result, once the transaction has committed."""
    ids = list(run_ids)
    if ids:
        on_commit(partial(_announce, ids))


def _announce(run_ids: Sequence[int]) -> None:
    if not asset_tagged.has_listeners(TaggingRun):
        return
    runs = TaggingRun.objects.using(alias()).select_related("asset").in_bulk(run_ids)
    for run_id in run_ids:
        if run := runs.get(run_id):
            asset_tagged.send_robust(sender=TaggingRun, asset=run.asset, run=run)


def lock_run(run_id: int) -> tuple[TaggingRun, Asset]:
    """Lock the run's asset, then the run, and return both with current values."""
    # A join would lock the run first on MariaDB; what a subquery reads is not locked.
    asset_id = TaggingRun.objects.filter(pk=run_id).values("asset_id")[:1]
    asset = locked(Asset.objects.filter(pk=asset_id)).get()
    return locked(TaggingRun.objects.filter(pk=run_id)).get(), asset


def is_held_by_another(asset: Asset, run: TaggingRun) -> bool:
    """Whether another run is active on the asset, so that this one must not change its state."""
    started = TaggingRun.objects.using(alias()).filter(
        asset=asset, state=TaggingRun.State.STARTED
    )
    return asset.tagging_state == Asset.State.RUNNING and started.exclude(pk=run.pk).exists()


def settle(asset: Asset, run: TaggingRun) -> None:
    """Set an asset to idle if its tags describe its present content and no other run is active."""
    if not is_held_by_another(asset, run):
        _rest(asset)


def _rest(asset: Asset | AssetStanding) -> None:
    if asset.deleted_at:
        return
    if asset.tags_version == asset.content_version:
        asset.tagging_state = Asset.State.TAGGED
        asset.due_at = None
        asset.attempts = 0
        asset.last_error = asset.error_code = ""
    elif asset.tagging_state == Asset.State.RUNNING:
        # The file was overwritten in the meantime, so the reply describes its earlier content.
        asset.tagging_state = Asset.State.QUEUED
        asset.due_at = timezone.now()


def _write(
    assets: Mapping[int, AssetStanding], shown: Mapping[int, Shown], ids: Mapping[str, int]
) -> Counter[int]:
    """Write the replies to the assets' rows, except reviewed ones.

    Return ``{tag id: change of its asset count}``.
    """
    present = tag_rows.present(shown)
    added: list[tag_rows.Row] = []
    changed: list[tag_rows.Row] = []
    lost: list[tuple[int, int]] = []
    counts: Counter[int] = Counter()
    for asset_id, (run, reply) in sorted(shown.items()):
        wanted = _by_tag(reply.scores, ids)
        forgotten = assets[asset_id].deleted_at is not None
        rows = present[asset_id]
        for tag_id, (confidence, source) in sorted(wanted.items()):
            row = rows.get(tag_id)
            if row is not None and (row[2] != NONE or row[:2] == (confidence, source)):
                continue
            score = score_of(confidence, NONE, forgotten=forgotten)
            said = (asset_id, tag_id, confidence, score, source, run.id)
            (added if row is None else changed).append(said)
            if row is None and not forgotten:
                counts[tag_id] += 1
        for tag_id, (_, _, decision) in rows.items():
            if decision == NONE and tag_id not in wanted:
                lost.append((asset_id, tag_id))
                if not forgotten:
                    counts[tag_id] -= 1
    tags.hold(row[1] for row in chain(added, changed, lost))
    tag_rows.remove(lost)
    tag_rows.write(added, changed)
    if added or changed:
        check_references()
    return counts


def _by_tag(scores: Iterable[TagScore], ids: Mapping[str, int]) -> dict[int, tuple[int, int]]:
    """Return ``{tag id: (confidence, source)}``; ``ids`` maps labels to tags.

    Two labels may map to one tag, by spelling or by alias. A user's tag wins over the tagger's,
    then the higher confidence.
    """
    best: dict[int, tuple[int, int]] = {}
    for score in scores:
        tag_id = ids[score.name]
        offer = (score.confidence, SOURCES[score.source])
        held = best.get(tag_id)
        if held is None or (offer[1], offer[0]) > (held[1], held[0]):
            best[tag_id] = offer
    return best
