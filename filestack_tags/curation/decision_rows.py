"""Write decisions about many asset tags together, each with its log entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial, reduce
from operator import or_
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import connections
from django.db.models import Q

from filestack_tags.assets import tags
from filestack_tags.db.transactions import alias, locked, on_commit
from filestack_tags.models import Asset, AssetTag, Tag, TagDecision, score_of
from filestack_tags.outbound import outbox
from filestack_tags.signals import tag_decided

BATCH_SIZE = 450
"""Decisions in one transaction. Statements may contain them twice: see :data:`.tags.BATCH_SIZE`."""

PAIRS = 100
"""Maximum asset tags in one DELETE."""

Decision = AssetTag.Decision
Pair = tuple[int, int]
"""Asset id and tag id."""

WRITTEN = (
    *("confidence", "tagger_confidence", "score", "source"),
    *("decision", "decided_by", "decided_at", "run"),
)


@dataclass(frozen=True)
class TagValues:
    """The values of an asset tag row."""

    confidence: int
    source: int = AssetTag.Source.USER
    decision: int = Decision.NONE
    tagger_confidence: int | None = None
    decided_by_id: Any = None
    decided_at: datetime | None = None
    run_id: int | None = None

    @property
    def counts(self) -> bool:
        """Whether the row counts in its tag's ``asset_count``, if its asset is present."""
        return self.decision != Decision.REJECTED

    @property
    def by_hand(self) -> bool:
        """Whether a user gave the asset the tag, and not a tagger."""
        return self.source == AssetTag.Source.USER and self.run_id is None

    def row(self, pair: Pair, *, archived: bool) -> AssetTag:
        return AssetTag(
            asset_id=pair[0],
            tag_id=pair[1],
            confidence=self.confidence,
            tagger_confidence=self.tagger_confidence,
            score=score_of(self.confidence, self.decision, archived=archived),
            source=self.source,
            decision=self.decision,
            decided_by_id=self.decided_by_id,
            decided_at=self.decided_at,
            run_id=self.run_id,
        )


@dataclass(frozen=True)
class Signature:
    """Who decides, and through which interface."""

    user: AbstractBaseUser | None
    origin: str = TagDecision.Origin.CODE
    job: int | None = None

    @property
    def user_id(self) -> int | None:
        return None if self.user is None else self.user.pk

    def under(self, values: TagValues | None, now: datetime) -> TagValues | None:
        """Sign a decision, or clear the signature of a row without one."""
        if values is None:
            return None
        if values.decision == Decision.NONE:
            return replace(values, decided_by_id=None, decided_at=None)
        return replace(values, decided_by_id=self.user_id, decided_at=now)


@dataclass(frozen=True)
class Outcome:
    """The result of one decision.

    ``decision_id`` is its entry in the log; ``None`` when nothing changed, or when ``error``
    explains why it could not be made. ``asset_tag`` is the current row, if there is one.
    """

    asset_id: int
    tag_id: int
    asset_tag: AssetTag | None = None
    decision_id: int | None = None
    error: Exception | None = None


@dataclass(frozen=True)
class Change:
    """A row before and after (``None``: no row), and which decision that undoes."""

    pair: Pair
    before: TagValues | None
    after: TagValues | None
    undoes: int | None = None


class LockedRows:
    """The assets of a batch, locked in the order of their ids, and their rows for the batch."""

    def __init__(self, pairs: Collection[Pair]) -> None:
        assets = locked(Asset.objects.filter(pk__in={asset_id for asset_id, _ in pairs}))
        deleted = assets.order_by("pk").values_list("pk", "deleted_at")
        self.archived = {asset_id: deleted_at is not None for asset_id, deleted_at in deleted}
        """``{asset id: whether it is archived}``, for assets that exist."""
        rows = AssetTag.objects.using(alias()).filter(
            asset_id__in=self.archived, tag_id__in={tag_id for _, tag_id in pairs}
        )
        self.rows = {
            (row.asset_id, row.tag_id): TagValues(
                confidence=row.confidence,
                source=row.source,
                decision=row.decision,
                tagger_confidence=row.tagger_confidence,
                decided_by_id=row.decided_by_id,
                decided_at=row.decided_at,
                run_id=row.run_id,
            )
            for row in rows
        }

    def row(self, pair: Pair) -> AssetTag | None:
        values = self.rows.get(pair)
        return None if values is None else values.row(pair, archived=self.archived[pair[0]])


def write(
    changes: Sequence[Change],
    locked_rows: LockedRows,
    act: str,
    signature: Signature,
    now: datetime,
) -> dict[Pair, int]:
    """Write the changes and log them; return ``{pair: id of the log entry}``.

    Call it in the transaction that holds the assets' locks, with each pair once. Counts come last,
    as :func:`.tags.adjust_counts` requires.
    """
    if not changes:
        return {}
    tags.lock({change.pair[1] for change in changes})
    rows, counts = [], Counter[int]()
    for change in changes:
        asset_id, tag_id = change.pair
        locked_rows.rows.pop(change.pair, None)
        if change.after is not None:
            locked_rows.rows[change.pair] = change.after
            rows.append(change.after.row(change.pair, archived=locked_rows.archived[asset_id]))
        if not locked_rows.archived[asset_id]:
            counts[tag_id] += _counts(change.after) - _counts(change.before)
    _delete([change.pair for change in changes if change.after is None])
    _upsert(rows)
    entries = TagDecision.objects.using(alias()).bulk_create(
        [_entry(change, act, signature, now) for change in changes]
    )
    tags.adjust_counts(counts)
    on_commit(partial(_announce, changes, locked_rows.archived))
    outbox.record(outbox.DECIDED, _messages(changes, act))
    return {change.pair: entry.pk for change, entry in zip(changes, entries, strict=True)}


def _messages(changes: Sequence[Change], act: str) -> Iterator[dict[str, Any]]:
    """Yield the outbound message of each decision; ``decision`` is empty if withdrawn."""
    ids = {change.pair[1] for change in changes}
    keys = dict(Tag.objects.using(alias()).filter(pk__in=ids).values_list("pk", "key"))
    for change in changes:
        values = change.after
        yield {
            "asset_id": change.pair[0],
            "tag": keys.get(change.pair[1], ""),
            "act": act,
            "decision": Decision(values.decision).name.lower()
            if values and values.decision
            else "",
            "confidence": None if values is None else values.confidence,
        }


def _counts(values: TagValues | None) -> bool:
    return values is not None and values.counts


def _upsert(rows: Sequence[AssetTag]) -> None:
    targeted = connections[alias()].features.supports_update_conflicts_with_target
    AssetTag.objects.using(alias()).bulk_create(
        rows,
        update_conflicts=True,
        update_fields=WRITTEN,
        unique_fields=("asset", "tag") if targeted else None,
    )


def _delete(pairs: Sequence[Pair]) -> None:
    for start in range(0, len(pairs), PAIRS):
        # Raw conditions, because MariaDB does not use an index for lists of pairs.
        conditions = (
            Q(asset=asset_id, tag=tag_id) for asset_id, tag_id in pairs[start : start + PAIRS]
        )
        AssetTag.objects.using(alias()).filter(reduce(or_, conditions)).delete()


def _entry(change: Change, act: str, signature: Signature, now: datetime) -> TagDecision:
    entry = TagDecision(
        asset_id=change.pair[0],
        tag_id=change.pair[1],
        act=act,
        user_id=signature.user_id,
        created_at=now,
        origin=signature.origin,
        job_id=signature.job,
        undoes_id=change.undoes,
    )
    if (before := change.before) is not None:
        entry.before_confidence = before.confidence
        entry.before_decision = before.decision
        entry.before_source = before.source
        entry.before_tagger_confidence = before.tagger_confidence
        entry.before_by_id = before.decided_by_id
        entry.before_at = before.decided_at
        entry.before_run = before.run_id
    if (after := change.after) is not None:
        entry.after_confidence = after.confidence
        entry.after_decision = after.decision
        entry.after_source = after.source
    return entry


def _announce(changes: Iterable[Change], archived: dict[int, bool]) -> None:
    if not tag_decided.has_listeners(AssetTag):
        return
    for change in changes:
        values = change.after
        if values is None and change.before is not None:
            # A deleted row is reported with its last values, without the decision.
            values = replace(
                change.before, decision=Decision.NONE, decided_by_id=None, decided_at=None
            )
        if values is None:
            continue
        row = values.row(change.pair, archived=archived[change.pair[0]])
        name = Decision(row.decision).name.lower() if row.decision else ""
        tag_decided.send_robust(sender=AssetTag, asset_tag=row, decision=name)
