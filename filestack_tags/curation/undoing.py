"""Undo decisions: restore the row as it was before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from django.utils import timezone

from filestack_tags.db.transactions import alias, atomic, run_with_retry
from filestack_tags.exceptions import CurationError
from filestack_tags.models import Tag, TagDecision

from .decision_rows import (
    BATCH_SIZE,
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
    :data:`.decision_rows.BATCH_SIZE` of them, or fewer if several are about one asset tag. Inside
    a transaction, pass at most that many. The ``decision_id`` of an outcome is that of the
    undoing decision; ``None`` if it was undone before.
    """
    signature = Signature(user, origin, job)
    rows = TagDecision.objects.using(alias())
    outcomes: list[Outcome] = []
    latest_first = sorted(set(decision_ids), reverse=True)
    for start in range(0, len(latest_first), BATCH_SIZE):
        ids = latest_first[start : start + BATCH_SIZE]
        decisions = rows.in_bulk(ids)
        for pk in ids:
            if pk not in decisions:
                missing = TagDecision.DoesNotExist(f"There is no decision {pk}.")
                outcomes.append(Outcome(0, 0, error=missing))
        for batch in _without_repeats([decisions[pk] for pk in ids if pk in decisions]):
            outcomes += run_with_retry(partial(_undo, batch, signature))
    return outcomes


def _without_repeats(decisions: Sequence[TagDecision]) -> Iterator[list[TagDecision]]:
    """Yield the decisions in batches that contain each asset tag once."""
    batch: dict[Pair, TagDecision] = {}
    for decision in decisions:
        pair = _pair(decision)
        if pair in batch:
            yield [*batch.values()]
            batch = {}
        batch[pair] = decision
    yield [*batch.values()]


def _undo(decisions: Sequence[TagDecision], signature: Signature) -> list[Outcome]:
    pairs = [_pair(decision) for decision in decisions]
    changes: list[Change] = []
    errors: dict[Pair, Exception] = {}
    with atomic():
        locked_rows = LockedRows(pairs)
        logs = _logs(pairs)
        tags = Tag.objects.using(alias()).filter(pk__in={tag_id for _, tag_id in pairs})
        existing_tags = set(tags.values_list("pk", flat=True))
        for pair, decision in zip(pairs, decisions, strict=True):
            log, values = logs[pair], locked_rows.rows.get(pair)
            if any(entry.undoes_id == decision.pk for entry in log):
                continue
            try:
                _require_last(decision, log, values, is_known=pair[1] in existing_tags)
            except CurationError as error:
                errors[pair] = error
                continue
            changes.append(Change(pair, values, _before(decision), undoes=decision.pk))
        written = write(changes, locked_rows, TagDecision.Act.UNDO, signature, timezone.now())
    return [
        Outcome(*pair, error=errors[pair])
        if pair in errors
        else Outcome(*pair, asset_tag=locked_rows.row(pair), decision_id=written.get(pair))
        for pair in pairs
    ]


def _logs(pairs: Sequence[Pair]) -> defaultdict[Pair, list[TagDecision]]:
    """Return the decisions about each asset tag, the oldest first."""
    entries = TagDecision.objects.using(alias()).filter(
        asset__in={asset_id for asset_id, _ in pairs}, tag__in={tag_id for _, tag_id in pairs}
    )
    logs: defaultdict[Pair, list[TagDecision]] = defaultdict(list)
    for entry in entries.select_related("user").order_by("pk"):
        logs[_pair(entry)].append(entry)
    return logs


def _pair(decision: TagDecision) -> Pair:
    return decision.asset_id, decision.tag_id or 0


def _require_last(
    decision: TagDecision,
    log: Sequence[TagDecision],
    values: TagValues | None,
    *,
    is_known: bool,
) -> None:
    """Check that the row is as the decision left it.

    It reads the log from the end: an entry that undid another left the row as it was before that
    other entry.
    """
    earlier = {after.pk: before for before, after in pairwise(log)}
    last = log[-1]
    while last.pk != decision.pk:
        undone = last.undoes_id
        if undone is None or undone not in earlier:
            who = last.user.get_username() if last.user else "Somebody"
            when = timezone.localtime(last.created_at).strftime("%Y-%m-%d %H:%M")
            raise CurationError(
                f"{who} decided about this tag of the asset since, on {when}:"
                " undo that decision first."
            )
        last = earlier[undone]
    if (
        not is_known
        or (values.decision if values else Decision.NONE) != decision.after_decision
    ):
        raise CurationError(
            "The tag of the asset is not as this decision left it: its tag was merged."
        )


def _before(decision: TagDecision) -> TagValues | None:
    if decision.before_confidence is None or decision.before_source is None:
        return None
    return TagValues(
        confidence=decision.before_confidence,
        source=decision.before_source,
        decision=decision.before_decision,
        tagger_confidence=decision.before_tagger_confidence,
        decided_by_id=decision.before_by_id,
        decided_at=decision.before_at,
        run_id=decision.before_run,
    )
