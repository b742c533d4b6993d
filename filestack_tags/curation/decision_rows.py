"""Write decisions about many asset tags together, each with its log entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from typing import Any, NamedTuple

from django.contrib.auth.models import AbstractBaseUser

from filestack_tags.assets import tags
from filestack_tags.db.bulk_statements import (
    among,
    among_pairs,
    append_rows,
    upsert_rows,
)
from filestack_tags.db.transactions import alias, locked, on_commit
from filestack_tags.models import Asset, AssetTag, Tag, TagDecision, score_of
from filestack_tags.outbound import outbox
from filestack_tags.signals import tag_decided

Decision = AssetTag.Decision
Pair = tuple[int, int]
"""Asset id and tag id."""


class TagValues(NamedTuple):
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
            **dict(zip(COLUMNS, self.columns(pair, archived=archived), strict=True))
        )

    def columns(self, pair: Pair, *, archived: bool) -> tuple[Any, ...]:
        """Return a value for each of :data:`COLUMNS`."""
        return (*pair, score_of(self.confidence, self.decision, archived=archived), *self)


COLUMNS = ("asset_id", "tag_id", "score", *TagValues._fields)


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
            return values._replace(decided_by_id=None, decided_at=None)
        return values._replace(decided_by_id=self.user_id, decided_at=now)


@dataclass(frozen=True)
class Outcome:
    """The result of one decision.

    ``decision_id`` is its entry in the log; ``None`` when nothing changed, or when ``error``
    explains why it could not be made. ``asset_tag`` is the current row, if there is one.
    """

    asset_id: int
    tag_id: int
    decision_id: int | None = None
    error: Exception | None = None
    values: TagValues | None = None
    is_archived: bool = False

    @cached_property
    def asset_tag(self) -> AssetTag | None:
        if self.values is None:
            return None
        return self.values.row((self.asset_id, self.tag_id), archived=self.is_archived)


class Change(NamedTuple):
    """A row before and after (``None``: no row), and which decision that undoes."""

    pair: Pair
    before: TagValues | None
    after: TagValues | None
    undoes: int | None = None


class LockedRows:
    """The assets of a batch, locked in the order of their ids, and their rows for the batch."""

    def __init__(self, pairs: Collection[Pair]) -> None:
        assets = locked(Asset.objects.filter(among("pk", {pair[0] for pair in pairs})))
        deleted = assets.order_by("pk").values_list("pk", "deleted_at")
        self.archived = {asset_id: deleted_at is not None for asset_id, deleted_at in deleted}
        """``{asset id: whether it is archived}``, for assets that exist."""
        rows = AssetTag.objects.using(alias()).filter(among_pairs(pairs))
        self.rows = {
            (asset_id, tag_id): TagValues._make(values)
            for asset_id, tag_id, *values in rows.values_list(
                "asset_id", "tag_id", *TagValues._fields
            )
        }

    def outcome(
        self, pair: Pair, decision_ids: Mapping[Pair, int], errors: Mapping[Pair, Exception]
    ) -> Outcome:
        """Return the outcome of a decision after :func:`write`."""
        if pair in errors:
            return Outcome(*pair, error=errors[pair])
        return Outcome(
            *pair,
            decision_id=decision_ids.get(pair),
            values=self.rows.get(pair),
            is_archived=self.archived.get(pair[0], False),
        )


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
    for pair, before, after, _ in changes:
        is_archived = locked_rows.archived[pair[0]]
        locked_rows.rows.pop(pair, None)
        if after is not None:
            locked_rows.rows[pair] = after
            rows.append(after.columns(pair, archived=is_archived))
        if not is_archived and (change := _counts(after) - _counts(before)):
            counts[pair[1]] += change
    _delete([change.pair for change in changes if change.after is None])
    upsert_rows(AssetTag, COLUMNS, rows, unique=("asset_id", "tag_id"))
    entry = (act, signature.user_id, now, signature.origin, signature.job)
    ids = append_rows(TagDecision, LOGGED, [_logged(change, entry) for change in changes])
    tags.adjust_counts(counts)
    on_commit(partial(_announce, changes, locked_rows.archived))
    outbox.record(outbox.DECIDED, _messages(changes, act))
    return {change.pair: pk for change, pk in zip(changes, ids, strict=True)}


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


def _delete(pairs: Sequence[Pair]) -> None:
    if pairs:
        AssetTag.objects.using(alias()).filter(among_pairs(pairs)).delete()


LOGGED = (
    *("asset_id", "tag_id", "undoes_id", "act", "user_id", "created_at", "origin", "job_id"),
    *("after_confidence", "after_source", "after_decision"),
    *("before_confidence", "before_source", "before_decision", "before_tagger_confidence"),
    *("before_by_id", "before_at", "before_run"),
)
"""The columns of an entry in the log."""

NO_ROW = (None, None, int(Decision.NONE), None, None, None, None)


def _logged(change: Change, entry: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a value for each of :data:`LOGGED`."""
    pair, before, after, undoes = change
    return (*pair, undoes, *entry, *(after or NO_ROW)[:3], *(before or NO_ROW))


def _announce(changes: Iterable[Change], archived: dict[int, bool]) -> None:
    if not tag_decided.has_listeners(AssetTag):
        return
    for change in changes:
        values = change.after
        if values is None and change.before is not None:
            # A deleted row is reported with its last values, without the decision.
            values = change.before._replace(
                decision=Decision.NONE, decided_by_id=None, decided_at=None
            )
        if values is None:
            continue
        row = values.row(change.pair, archived=archived[change.pair[0]])
        name = Decision(row.decision).name.lower() if row.decision else ""
        tag_decided.send_robust(sender=AssetTag, asset_tag=row, decision=name)
