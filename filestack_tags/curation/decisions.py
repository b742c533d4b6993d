"""What people say of the tags of an asset. The only writer of decided rows.

A decision is final for every machine: re-tagging, replays and version changes leave the row as
the person left it, until a person changes or withdraws the decision.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from django.db.models import QuerySet
from django.utils import timezone

from filestack_tags import tags
from filestack_tags.exceptions import CurationError
from filestack_tags.models import Asset, AssetTag, score_of
from filestack_tags.signals import tag_decided
from filestack_tags.transactions import alias, atomic, locked, on_commit, retrying

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

Decision = AssetTag.Decision
DECIDED = ("decision", "decided_by", "decided_at", "score")


@retrying
def accept(asset_id: int, tag_id: int, *, user: AbstractBaseUser | None) -> AssetTag:
    """Confirm that the asset has the tag. Idempotent.

    Raises:
        CurationError: when the asset does not have the tag; :func:`add` gives it one.
    """
    return _decide(asset_id, tag_id, Decision.ACCEPTED, user)


@retrying
def reject(asset_id: int, tag_id: int, *, user: AbstractBaseUser | None) -> AssetTag:
    """Say that the asset does not have the tag. Idempotent.

    The row stays as a tombstone, so that the next reply does not bring the tag back.

    Raises:
        CurationError: when the asset does not have the tag.
    """
    return _decide(asset_id, tag_id, Decision.REJECTED, user)


@retrying
def add(
    asset_id: int, name: str, *, user: AbstractBaseUser | None, confidence: int = 100
) -> AssetTag:
    """Give the asset a tag by hand.

    A tag that the asset has is accepted instead, with the confidence that it has. An alias adds
    the tag it stands for.

    Raises:
        InvalidLabel: when ``name`` cannot be a tag.
        CurationError: when ``confidence`` is not within 0–100.
        Asset.DoesNotExist: when there is no such asset.
    """
    if not 0 <= confidence <= 100:
        raise CurationError(f"A confidence is between 0 and 100, not {confidence}.")
    tags.resolve([name])
    with atomic():
        asset = _lock_asset(asset_id)
        (tag_id,) = tags.resolve([name]).values()
        if _rows(asset).filter(tag_id=tag_id).exists():
            return _decide(asset_id, tag_id, Decision.ACCEPTED, user)
        _shift(asset, tag_id, +1)
        row = AssetTag(
            asset=asset,
            tag_id=tag_id,
            confidence=confidence,
            source=AssetTag.Source.USER,
            decision=Decision.ADDED,
        )
        _sign(row, user)
        _rescore(row, asset)
        row.save(using=alias(), force_insert=True)
        _announce(row)
    return row


@retrying
def withdraw(asset_id: int, tag_id: int, *, user: AbstractBaseUser | None) -> None:
    """Undo a decision. Idempotent.

    A tag added by hand goes; any other becomes a machine row again, which the next reply may
    change or remove.
    """
    with atomic():
        asset = _lock_asset(asset_id)
        row = _rows(asset).filter(tag_id=tag_id).exclude(decision=Decision.NONE).first()
        if row is None:
            return
        if row.decision == Decision.ADDED:
            _shift(asset, tag_id, -1)
            _rows(asset).filter(tag_id=tag_id).delete()
            row.decision = Decision.NONE
        else:
            if row.decision == Decision.REJECTED:
                _shift(asset, tag_id, +1)
            row.decision = Decision.NONE
            row.decided_by_id = row.decided_at = None
            _rescore(row, asset)
            row.save(using=alias(), update_fields=DECIDED)
        _announce(row)


def _decide(
    asset_id: int, tag_id: int, decision: AssetTag.Decision, user: AbstractBaseUser | None
) -> AssetTag:
    with atomic():
        asset = _lock_asset(asset_id)
        row = _rows(asset).filter(tag_id=tag_id).first()
        if row is None:
            raise CurationError("The asset does not have this tag.")
        if row.decision == decision:
            return row
        was, becomes = (value != Decision.REJECTED for value in (row.decision, decision))
        _shift(asset, tag_id, becomes - was)
        row.decision = decision
        _sign(row, user)
        _rescore(row, asset)
        row.save(using=alias(), update_fields=DECIDED)
        _announce(row)
    return row


def _lock_asset(asset_id: int) -> Asset:
    return locked(Asset.objects.filter(pk=asset_id)).get()


def _rows(asset: Asset) -> QuerySet[AssetTag]:
    return AssetTag.objects.using(alias()).filter(asset=asset)


def _shift(asset: Asset, tag_id: int, change: int) -> None:
    if not asset.deleted_at:
        tags.shift_counts({tag_id: change})


def _sign(row: AssetTag, user: AbstractBaseUser | None) -> None:
    row.decided_by_id = None if user is None else user.pk
    row.decided_at = timezone.now()


def _rescore(row: AssetTag, asset: Asset) -> None:
    row.score = score_of(row.confidence, row.decision, forgotten=asset.deleted_at is not None)


def _announce(row: AssetTag) -> None:
    name = Decision(row.decision).name.lower() if row.decision else ""
    on_commit(partial(tag_decided.send_robust, sender=AssetTag, asset_tag=row, decision=name))
