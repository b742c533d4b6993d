"""Decisions about the tags of assets. The only module that writes reviewed rows.

A decision is final for all automatic work: re-tagging, replays and version changes leave the row
unchanged until a user changes or withdraws the decision. Each is logged as a
:class:`~filestack_tags.models.TagDecision` in the transaction that writes it.

Functions take an asset or its id, and a tag, its id or its name.

``origin`` (a :class:`TagDecision.Origin`) and ``job`` record how the decision was made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

from django.db.models import Max
from django.utils import timezone
from django.utils.formats import localize
from django.utils.translation import gettext as _

from filestack_tags.assets import tags
from filestack_tags.assets.lookup import asset_id_of, tag_id_of
from filestack_tags.db.bulk_statements import batch_size
from filestack_tags.db.transactions import alias, atomic, run_with_retry
from filestack_tags.exceptions import CurationError, DecidedMeanwhile
from filestack_tags.models import Asset, AssetTag, Tag, TagDecision

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

Act = TagDecision.Act
Origin = TagDecision.Origin

Rule = Callable[[TagValues | None], TagValues | None]
"""Maps the old values of a row to the new ones; ``None`` is no row. May raise CurationError."""


def accept(
    asset: Asset | int,
    tag: Tag | int | str,
    *,
    user: AbstractBaseUser | None,
    origin: str = Origin.CODE,
) -> AssetTag:
    """Confirm that the asset has the tag. Idempotent.

    Raises:
        CurationError: when the asset does not have the tag; :func:`add` gives it one.
        Asset.DoesNotExist: when there is no such asset.
    """
    return _row(decide_many(Act.ACCEPT, [_pair(asset, tag)], user=user, origin=origin))


def reject(
    asset: Asset | int,
    tag: Tag | int | str,
    *,
    user: AbstractBaseUser | None,
    origin: str = Origin.CODE,
) -> AssetTag:
    """Reject a tag of an asset. Idempotent.

    The row stays as a tombstone, so that the next reply does not bring the tag back.

    Raises:
        CurationError: when the asset does not have the tag.
        Asset.DoesNotExist: when there is no such asset.
    """
    return _row(decide_many(Act.REJECT, [_pair(asset, tag)], user=user, origin=origin))


def change(
    asset: Asset | int,
    tag: Tag | int | str,
    confidence: int,
    *,
    user: AbstractBaseUser | None,
    origin: str = Origin.CODE,
) -> AssetTag:
    """Set the confidence of a tag by hand, which accepts it. Idempotent.

    The tagger's value is kept in ``tagger_confidence`` and restored when the decision is withdrawn.
    Like every decision it is final: re-tagging does not change the confidence.

    Raises:
        CurationError: when the asset does not have the tag, or ``confidence`` is not within 0–100.
        Asset.DoesNotExist: when there is no such asset.
    """
    pairs = [_pair(asset, tag)]
    return _row(decide_many(Act.CHANGE, pairs, user=user, origin=origin, confidence=confidence))


def add(
    asset: Asset | int,
    name: str,
    *,
    user: AbstractBaseUser | None,
    confidence: int = 100,
    origin: str = Origin.CODE,
) -> AssetTag:
    """Add a tag to an asset by hand.

    A tag that the asset already has is accepted instead, with its existing confidence. An alias
    adds its tag.

    Raises:
        InvalidLabel: when ``name`` cannot be a tag.
        CurationError: when ``confidence`` is not within 0–100.
        Asset.DoesNotExist: when there is no such asset.
    """
    _require_confidence(confidence)
    (tag_id,) = run_with_retry(partial(tags.resolve, [name])).values()
    pairs = [(asset_id_of(asset), tag_id)]
    return _row(decide_many(Act.ADD, pairs, user=user, origin=origin, confidence=confidence))


def withdraw(
    asset: Asset | int,
    tag: Tag | int | str,
    *,
    user: AbstractBaseUser | None,
    origin: str = Origin.CODE,
) -> None:
    """Withdraw a decision. Idempotent.

    A tag added by hand is deleted. Any other row becomes a machine row again, with the tagger's
    confidence, which the next reply may change or remove.

    Raises:
        Asset.DoesNotExist: when there is no such asset.
    """
    _raise(decide_many(Act.WITHDRAW, [_pair(asset, tag)], user=user, origin=origin))


def decide_many(
    act: str,
    pairs: Sequence[Pair],
    *,
    user: AbstractBaseUser | None,
    origin: str = Origin.CODE,
    job: int | None = None,
    confidence: int | None = None,
    seen: int | None = None,
    undecided: bool = False,
) -> list[Outcome]:
    """Make the same decision about many asset tags; return their outcomes, in the given order.

    Uses a transaction for every :func:`.bulk_statements.batch_size` of them, with one statement for
    each kind of write. Committed batches stay when a later one fails. A decision that cannot be
    made does not affect the others. Idempotent. Inside a transaction, pass one batch at most:
    its locks last until the end, and more would lock assets after tags.

    Args:
        act: a :class:`TagDecision.Act` other than *undo*.
        pairs: (asset id, tag id); :func:`.tags.resolve` maps names to ids.
        user: the user who decides.
        origin: how the decision is made, a :class:`TagDecision.Origin`.
        job: id of the job that decides, if any.
        confidence: 0–100, for *change*, and for *add*, where 100 is the default.
        seen: id of the newest decision about these assets that the user has read, 0 for none. If
            another user decided about an asset tag since, its outcome is a
            :class:`.DecidedMeanwhile` and nothing is written. Unchecked, if None.
        undecided: leave asset tags that have a decision unchanged.

    Raises:
        CurationError: when ``confidence`` is missing or not within 0–100.
    """
    rule = _rule(act, confidence)
    signature = Signature(user, origin, job)
    outcomes: list[Outcome] = []
    size = batch_size()
    for start in range(0, len(pairs), size):
        batch = pairs[start : start + size]
        outcomes += run_with_retry(
            partial(_decide, act, batch, rule, signature, seen=seen, undecided=undecided)
        )
    return outcomes


def _pair(asset: Asset | int, tag: Tag | int | str) -> Pair:
    return asset_id_of(asset), tag_id_of(tag)


def newest_decisions(asset_ids: Collection[int]) -> dict[int, int]:
    """Return the id of the newest decision about each asset that has one.

    For ``seen`` of :func:`decide_many`. Read it before the asset tags, so that a decision made
    between the two queries counts as unread.
    """
    newest = TagDecision.objects.using(alias()).filter(asset__in=asset_ids).order_by()
    return dict(newest.values_list("asset_id").annotate(Max("pk")))


def _decide(
    act: str,
    pairs: Sequence[Pair],
    rule: Rule,
    signature: Signature,
    *,
    seen: int | None,
    undecided: bool,
) -> list[Outcome]:
    now = timezone.now()
    changes: dict[Pair, Change] = {}
    with atomic():
        locked_rows = LockedRows(pairs)
        unknown = _unknown(act, pairs, locked_rows)
        errors: dict[Pair, Exception] = {**unknown}
        for pair in dict.fromkeys(pairs):
            values = locked_rows.rows.get(pair)
            if undecided and values is not None and values.decision != Decision.NONE:
                continue
            try:
                becomes = values if pair in unknown else rule(values)
            except CurationError as error:
                errors[pair] = error
                continue
            if becomes != values:
                changes[pair] = Change(pair, values, signature.under(becomes, now))
        if seen is not None:
            refused = _decided_meanwhile(changes, signature, seen)
            errors |= refused
            changes = {pair: each for pair, each in changes.items() if pair not in refused}
        written = write([*changes.values()], locked_rows, act, signature, now)
    return [locked_rows.outcome(pair, written, errors) for pair in pairs]


def _decided_meanwhile(
    pairs: Collection[Pair], signature: Signature, seen: int
) -> dict[Pair, DecidedMeanwhile]:
    """Return an error for each pair whose last decision is another user's and newer than ``seen``.

    The ids of the decisions about one asset are in order, because each is written under its lock.
    """
    entries = TagDecision.objects.using(alias()).filter(
        asset__in={asset_id for asset_id, _tag in pairs},
        tag__in={tag_id for _asset, tag_id in pairs},
        pk__gt=seen,
    )
    last = {
        (entry.asset_id, entry.tag_id): entry
        for entry in entries.select_related("user", "tag").order_by("pk")
    }
    return {
        pair: DecidedMeanwhile(described(entry), decision=entry)
        for pair in pairs
        if (entry := last.get(pair)) is not None and entry.user_id != signature.user_id
    }


def described(decision: TagDecision) -> str:
    """Return a description of a decision: user, decision and time."""
    return _("%(user)s %(act)s “%(tag)s” (%(time)s).") % {
        "user": decision.user.get_username() if decision.user else _("Another user"),
        "act": decision.get_act_display(),
        "tag": decision.tag,
        "time": localize(timezone.localtime(decision.created_at)),
    }


def _rule(act: str, confidence: int | None) -> Rule:
    if act == Act.ACCEPT:
        return _accepted
    if act == Act.REJECT:
        return _rejected
    if act == Act.WITHDRAW:
        return _withdrawn
    if act == Act.ADD:
        return partial(_added, _require_confidence(100 if confidence is None else confidence))
    if act == Act.CHANGE:
        if confidence is None:
            raise CurationError("Which confidence? Give one between 0 and 100.")
        return partial(_changed, _require_confidence(confidence))
    raise CurationError(f"{act!r} is not a decision that can be made of many asset tags.")


def _accepted(values: TagValues | None) -> TagValues:
    values = _there(values)
    return values._replace(decision=Decision.ADDED if values.by_hand else Decision.ACCEPTED)


def _rejected(values: TagValues | None) -> TagValues:
    return _there(values)._replace(decision=Decision.REJECTED)


def _added(confidence: int, values: TagValues | None) -> TagValues:
    if values is None:
        return TagValues(confidence, decision=Decision.ADDED)
    return _accepted(values)


def _changed(confidence: int, values: TagValues | None) -> TagValues:
    values = _accepted(values)
    machine = None if values.by_hand else _machine(values)
    return values._replace(
        confidence=confidence,
        tagger_confidence=None if confidence == machine else machine,
    )


def _withdrawn(values: TagValues | None) -> TagValues | None:
    if values is None or values.decision == Decision.NONE:
        return values
    if values.by_hand:
        return None
    return values._replace(
        confidence=_machine(values), tagger_confidence=None, decision=Decision.NONE
    )


def _machine(values: TagValues) -> int:
    """Return the tagger's confidence, whatever a user changed."""
    return values.confidence if values.tagger_confidence is None else values.tagger_confidence


def _there(values: TagValues | None) -> TagValues:
    if values is None:
        raise CurationError("The asset does not have this tag.")
    return values


def _unknown(act: str, pairs: Sequence[Pair], locked_rows: LockedRows) -> dict[Pair, Exception]:
    """Return errors for pairs whose asset or, if it is to be added, tag does not exist."""
    unknown: dict[Pair, Exception] = {
        pair: Asset.DoesNotExist(f"There is no asset {pair[0]}.")
        for pair in pairs
        if pair[0] not in locked_rows.archived
    }
    if act == Act.ADD:
        rows = Tag.objects.using(alias()).filter(pk__in={tag_id for _asset, tag_id in pairs})
        existing = set(rows.values_list("pk", flat=True))
        for pair in pairs:
            if pair[1] not in existing:
                unknown[pair] = CurationError(f"There is no tag {pair[1]}.")
    return unknown


def _require_confidence(confidence: int) -> int:
    if not 0 <= confidence <= 100:
        raise CurationError(f"A confidence is between 0 and 100, not {confidence}.")
    return confidence


def _raise(outcomes: Sequence[Outcome]) -> Outcome:
    (outcome,) = outcomes
    if outcome.error is not None:
        raise outcome.error
    return outcome


def _row(outcomes: Sequence[Outcome]) -> AssetTag:
    return cast(
        "AssetTag", _raise(outcomes).asset_tag
    )  # every act except withdrawing leaves a row
