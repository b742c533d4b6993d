"""Undo decisions: restore the row as it was before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from django.utils import timezone

from filestack_tags.db.bulk_statements import among, among_pairs, batch_size
from filestack_tags.db.transactions import alias, atomic, run_with_retry
from filestack_tags.exceptions import CurationError
from filestack_tags.models import Tag, TagDecision

from .decision_rows import (
    Change,
    Decision,
    LockedRows,
    Outcome,
    Pair,
    Signature,
    TagValues,
    write,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

BEFORE = (
    *("before_confidence", "before_source", "before_decision", "before_tagger_confidence"),
    *("before_by_id", "before_at", "before_run"),
)
"""The columns with the row before, in the order of :class:`TagValues`."""


class _Decision(NamedTuple):
    """A decision to undo."""

    pk: int
    pair: Pair
    after_decision: int
    before: TagValues | None


def undo(
    decision_id: int,
    *,
    user: AbstractBaseUser | None,
    origin: str = TagDecision.Origin.CODE,
) -> TagDecision:
    """Undo a decision, and return the decision that undoes it. Idempotent.

    The row is restored exactly, or deleted if it did not exist. Undoing is itself a decision, and
    can be undone.

    Raises:
        CurationError: when a user has decided since; the message names the user and the time. Later
            decisions that were undone do not matter: undo several decisions from the last to the
            first.
        TagDecision.DoesNotExist: when there is no such decision.
    """
    (outcome,) = undo_many([decision_id], user=user, origin=origin)
    if outcome.error is not None:
        raise outcome.error
    return TagDecision.objects.using(alias()).get(undoes=decision_id)


def undo_many(
    decision_ids: Collection[int],
    *,
    user: AbstractBaseUser | None,
    origin: str = TagDecision.Origin.CODE,
    job: int | None = None,
) -> list[Outcome]:
    """Undo many decisions, the last ones first; return their outcomes, in that order.

    Transactions are as for :func:`.decisions.decide_many`: one for every
    :func:`.bulk_statements.batch_size` of them, or fewer if several are about one asset tag. Inside
    a transaction, pass at most that many. The ``decision_id`` of an outcome is that of the
    undoing decision; ``None`` if it was undone before.
    """
    signature = Signature(user, origin, job)
    outcomes: list[Outcome] = []
    latest_first = sorted(set(decision_ids), reverse=True)
    size = batch_size()
    for start in range(0, len(latest_first), size):
        ids = latest_first[start : start + size]
        decisions = _read(ids)
        for pk in ids:
            if pk not in decisions:
                missing = TagDecision.DoesNotExist(f"There is no decision {pk}.")
                outcomes.append(Outcome(0, 0, error=missing))
        for batch in _without_repeats([decisions[pk] for pk in ids if pk in decisions]):
            outcomes += run_with_retry(partial(_undo, batch, signature))
    return outcomes


def _read(ids: Collection[int]) -> dict[int, _Decision]:
    rows = TagDecision.objects.using(alias()).filter(among("pk", ids))
    columns = rows.values_list("pk", "asset_id", "tag_id", "after_decision", *BEFORE)
    return {
        pk: _Decision(pk, (asset_id, tag_id or 0), after_decision, _row(before))
        for pk, asset_id, tag_id, after_decision, *before in columns
    }


def _row(before: Sequence[Any]) -> TagValues | None:
    has_row = before[0] is not None and before[1] is not None
    return TagValues._make(before) if has_row else None


def _without_repeats(decisions: Sequence[_Decision]) -> Iterator[list[_Decision]]:
    """Yield the decisions in batches that contain each asset tag once."""
    batch: dict[Pair, _Decision] = {}
    for decision in decisions:
        if decision.pair in batch:
            yield [*batch.values()]
            batch = {}
        batch[decision.pair] = decision
    yield [*batch.values()]


def _undo(decisions: Sequence[_Decision], signature: Signature) -> list[Outcome]:
    pairs = [decision.pair for decision in decisions]
    changes: list[Change] = []
    errors: dict[Pair, Exception] = {}
    later: dict[Pair, int] = {}
    with atomic():
        locked_rows = LockedRows(pairs)
        logs = _logs(decisions)
        tags = Tag.objects.using(alias()).filter(pk__in={tag_id for _, tag_id in pairs})
        existing_tags = set(tags.values_list("pk", flat=True))
        for decision in decisions:
            pair, log = decision.pair, logs[decision.pair]
            if any(undoes_id == decision.pk for _, undoes_id in log):
                continue
            values = locked_rows.rows.get(pair)
            if last := _later(decision.pk, log):
                later[pair] = last
            elif (
                pair[1] not in existing_tags
                or (values.decision if values else Decision.NONE) != decision.after_decision
            ):
                errors[pair] = CurationError(
                    "The tag of the asset is not as this decision left it: its tag was merged."
                )
            else:
                changes.append(Change(pair, values, decision.before, undoes=decision.pk))
        errors |= _decided_since(later)
        written = write(changes, locked_rows, TagDecision.Act.UNDO, signature, timezone.now())
    return [locked_rows.outcome(pair, written, errors) for pair in pairs]


def _logs(decisions: Sequence[_Decision]) -> defaultdict[Pair, list[tuple[int, int | None]]]:
    """Return the decisions about each asset tag since these, the oldest first.

    Each is its id, and that of the decision that it undid.
    """
    entries = TagDecision.objects.using(alias()).filter(
        among_pairs({decision.pair for decision in decisions}),
        pk__gte=min((decision.pk for decision in decisions), default=0),
    )
    logs: defaultdict[Pair, list[tuple[int, int | None]]] = defaultdict(list)
    columns = entries.order_by("pk").values_list("asset_id", "tag_id", "pk", "undoes_id")
    for asset_id, tag_id, pk, undoes_id in columns:
        logs[asset_id, tag_id].append((pk, undoes_id))
    return logs


def _later(decision_id: int, log: Sequence[tuple[int, int | None]]) -> int:
    """Return the decision that was made after this one and not undone; 0 if there is none.

    It reads the log from the end: an entry that undid another left the row as it was before that
    other entry.
    """
    earlier = {after[0]: before for before, after in pairwise(log)}
    last, undone = log[-1]
    while last != decision_id:
        if undone is None or undone not in earlier:
            return last
        last, undone = earlier[undone]
    return 0


def _decided_since(later: Mapping[Pair, int]) -> dict[Pair, CurationError]:
    """Return the error for each asset tag with a later decision."""
    if not later:
        return {}
    rows = TagDecision.objects.using(alias()).select_related("user")
    decisions = rows.in_bulk([*later.values()])
    errors = {}
    for pair, pk in later.items():
        user, at = decisions[pk].user, timezone.localtime(decisions[pk].created_at)
        errors[pair] = CurationError(
            f"{user.get_username() if user else 'Somebody'} decided about this tag of the asset"
            f" since, on {at:%Y-%m-%d %H:%M}: undo that decision first."
        )
    return errors
