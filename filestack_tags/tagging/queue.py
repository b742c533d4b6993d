"""Tagging: call a tagger for an asset's tags and apply its reply, once.

An asset that needs tags is *queued*; :mod:`.asset_leases` leases it and opens a run. The tagger is
called outside any transaction, and :func:`apply_replies` closes the run in a short one. After a
crash the lease expires, and :func:`due` finds the asset again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from django.db import InterfaceError, OperationalError
from django.db.models import Q
from django.utils import timezone

from filestack_tags.assets.registry import queue
from filestack_tags.conf import get_settings
from filestack_tags.db.bulk_statements import update_rows
from filestack_tags.db.datetimes import CLOCKS_DIFFER
from filestack_tags.db.transactions import (
    alias,
    atomic,
    is_reachable,
    locked,
    retry_on_deadlock,
)
from filestack_tags.error_codes import ErrorCode
from filestack_tags.exceptions import FilestackTagsError, RateLimited, TaggerError
from filestack_tags.models import Asset, AssetQuerySet, TaggingRun

from . import asset_leases, circuit_breaker, results
from .asset_leases import OPEN_STATES, Lease, LeaseRefused
from .results import Outcome
from .taggers import PendingJob, TaggerReply, get_tagger
from .taggers.concurrent_calls import call_tagger

logger = logging.getLogger(__name__)

SWEEP_AFTER = timedelta(seconds=60)
"""How long after it fell due an asset counts as having lost its task."""

BATCH_SIZE = 500
"""Assets queued in one transaction."""

QUEUED = (
    *("tagging_state", "queued_by", "queued_for", "fresh_since"),
    *("attempts", "due_at", "updated_at"),
)
"""The columns that queueing writes on an asset."""


CallResult = TaggerReply | PendingJob | Exception
"""The result of a call."""

Final = TaggerReply | PendingJob | TaggerError
"""A result that can be stored."""


def wants_tagging(asset: Asset) -> bool:
    """Whether an asset that was just registered or changed is tagged automatically.

    Depends on ``AUTO_TAG`` and ``AUTO_TAG_MIMETYPES``, once Filestack has stored the file. An
    unknown type counts as an image, an unknown store status as stored.
    """
    settings = get_settings()
    if not settings.AUTO_TAG or asset.deleted_at or asset.store_status not in ("", "Stored"):
        return False
    return is_tagged_type(asset.mimetype)


def is_tagged_type(mimetype: str) -> bool:
    """Whether files of a type are tagged automatically; an unknown type counts as an image."""
    patterns = get_settings().AUTO_TAG_MIMETYPES
    return not mimetype or any(
        fnmatchcase(mimetype.lower(), pattern.lower()) for pattern in patterns
    )


def request(
    asset_ids: Iterable[int],
    *,
    trigger: str = TaggingRun.Trigger.CODE,
    force: bool = False,
    tagger: str = "",
) -> list[int]:
    """Queue assets for tagging; return the ids whose task should be enqueued.

    An asset that waits for its next attempt is queued again and due now; with ``force``, so is
    every queued one. Unknown, archived, running and other queued assets are left out, and, unless
    ``force``, those whose tags describe the present content.

    Uses a transaction for every :data:`BATCH_SIZE` assets, which locks them in the order of their
    ids.

    Args:
        asset_ids: the assets.
        trigger: why, a :class:`TaggingRun.Trigger`; recorded on the run.
        force: also assets whose tags are up to date. The tagger is called even if there is an
            earlier reply, and Filestack must not answer from its cache.
        tagger: one of :func:`.taggers.tagger_names`; the setting ``TAGGER`` if empty.

    Raises:
        ConfigurationError: when there is no such tagger. A wrong ``TAGGER`` fails the runs.
    """
    if tagger:
        get_tagger(tagger)
    checked = TaggingRun.Trigger(trigger)
    ids = list(dict.fromkeys(asset_ids))
    queued: set[int] = set()
    ordered = sorted(ids)
    fresh_since = timezone.now() if force else None
    for start in range(0, len(ordered), BATCH_SIZE):
        batch = ordered[start : start + BATCH_SIZE]
        queued |= _request(batch, checked, fresh_since=fresh_since, tagger=tagger)
    return [pk for pk in ids if pk in queued]


@retry_on_deadlock
def _request(
    asset_ids: Sequence[int],
    trigger: TaggingRun.Trigger,
    *,
    fresh_since: datetime | None,
    tagger: str,
) -> set[int]:
    with atomic():
        rows = locked(Asset.objects.filter(pk__in=asset_ids)).order_by("pk")
        queued = [asset for asset in rows if _can_queue(asset, force=fresh_since is not None)]
        for asset in queued:
            queue(asset, trigger, tagger, fresh_since=fresh_since)
        update_rows(queued, QUEUED)
    return {asset.pk for asset in queued}


def _can_queue(asset: Asset, *, force: bool) -> bool:
    if asset.deleted_at or asset.tagging_state == Asset.State.RUNNING:
        return False
    if asset.tagging_state == Asset.State.QUEUED:
        # After an attempt the asset waits for the next one.
        return force or asset.attempts > 0
    return force or asset.tagging_state != Asset.State.TAGGED


def waiting(limit: int) -> list[int]:
    """Return assets that are due and may be tagged now, the oldest first.

    These are queued assets, and running ones whose lease expired or whose job should be polled.
    Assets that wait for a circuit to close or for the next day's budget are left out.
    """
    now = timezone.now()
    is_new = Q(tagging_state=Asset.State.QUEUED, attempts=0)
    return _oldest(
        # Bounded, so that assets due much later are not read.
        _open(now + CLOCKS_DIFFER).filter(Q(due_at__lte=now) | is_new),
        limit,
    )


def due(limit: int = 16) -> list[int]:
    """Return some assets whose task was lost, the oldest first; one task also tags the others.

    They fell due more than :data:`SWEEP_AFTER` ago: they were never enqueued, the broker dropped
    the message, or their process crashed. Nothing is written, so each sweep finds them until they
    are leased.
    """
    return _oldest(_open(timezone.now() - SWEEP_AFTER), limit)


def _oldest(assets: AssetQuerySet, limit: int) -> list[int]:
    return list(assets.order_by("due_at").values_list("pk", flat=True)[:limit])


def _open(until: datetime) -> AssetQuerySet:
    """Return open assets due by then, except those whose tagger is blocked."""
    assets = Asset.objects.using(alias()).filter(
        tagging_state__in=OPEN_STATES, due_at__lte=until
    )
    blocked = asset_leases.blocked_taggers()
    if not blocked:
        return assets
    default = {""} if get_settings().TAGGER in blocked else set()
    return assets.exclude(tagging_state=Asset.State.QUEUED, queued_for__in=blocked | default)


def tag(asset_id: int) -> Outcome:
    """Get and apply the tags of one queued asset, waiting for the tagger.

    Idempotent: an asset that is not due, already leased, archived or deleted is left alone. Never
    raises because of the tagger: the error is saved on the run and the asset.
    """
    (lease,) = asset_leases.acquire([asset_id])
    if isinstance(lease, LeaseRefused):
        return lease.outcome()
    answer: CallResult
    try:
        answer = lease.shared or call_tagger(
            get_tagger(lease.tagger), lease.source, lease.job_id, fresh=lease.fresh
        )
    except Exception as error:  # noqa: BLE001  # apply_replies() converts it
        answer = error
    return apply_replies([(lease, answer)])[0]


def apply_replies(answers: Sequence[tuple[Lease, CallResult]]) -> list[Outcome]:
    """Close the runs of leased assets with their taggers' answers; return each outcome.

    The answers are applied together, see :func:`.results.apply_all`. An error that one of them
    causes, including a database error, does not affect the others.

    Raises:
        OperationalError: when the database stayed unreachable. Calling it again is safe.
    """
    final = {lease.run_id: _storable(lease, answer) for lease, answer in answers}
    outcomes = _apply({lease.run_id: lease for lease, _ in answers}, final)
    _note_circuits(answers, final)
    return [
        replace(
            outcomes[lease.run_id], asset_id=lease.asset_id, was_called=lease.shared is None
        )
        for lease, _ in answers
    ]


def _apply(leased: Mapping[int, Lease], final: dict[int, Final]) -> dict[int, Outcome]:
    """Apply answers by run; replace those that cannot be applied by errors, and apply these."""
    now = timezone.now()
    outcomes: dict[int, Outcome] = {}
    pending = dict(final)
    for _ in range(2):
        applied = results.apply_all(
            [results.Result(run_id, answer, now) for run_id, answer in pending.items()]
        )
        problems = {}
        for run_id, outcome in zip(pending, applied, strict=True):
            if isinstance(outcome, Exception):
                problems[run_id] = outcome
            else:
                outcomes[run_id] = outcome
        pending = {
            run_id: _unusable(leased[run_id], error) for run_id, error in problems.items()
        }
        final |= pending
    for run_id in pending:  # closed when its lease expires
        logger.error("Run %s of asset %s cannot be closed", run_id, leased[run_id].asset_id)
        outcomes[run_id] = Outcome(Asset.State.RUNNING)
    return outcomes


def _storable(lease: Lease, answer: CallResult) -> Final:
    """Return an answer in a form that the run can store; an exception as a TaggerError."""
    if not isinstance(answer, Exception) or isinstance(answer, TaggerError):
        return answer
    if isinstance(answer, FilestackTagsError):  # a setting that every tagger rejects
        return TaggerError(str(answer), code=ErrorCode.CONFIGURATION)
    logger.error("Tagger %s failed on asset %s", lease.tagger, lease.asset_id, exc_info=answer)
    return TaggerError(
        f"The tagger {lease.tagger!r} raised {type(answer).__name__}.",
        code=ErrorCode.TAGGER_CRASHED,
        retryable=True,
    )


def _unusable(lease: Lease, error: Exception) -> TaggerError:
    """Return the error for a reply that cannot be applied, such as for an invalid label."""
    logger.error("The reply for asset %s cannot be applied", lease.asset_id, exc_info=error)
    # Not the database's text, which may contain names of tables and values.
    reason = str(error) if isinstance(error, FilestackTagsError) else type(error).__name__
    return TaggerError(
        f"The reply of the tagger {lease.tagger!r} cannot be applied: {reason}",
        code=ErrorCode.UNUSABLE_REPLY,
        # It may be temporary, such as a lock timeout.
        retryable=isinstance(error, (OperationalError, InterfaceError)),
    )


def _note_circuits(
    answers: Sequence[tuple[Lease, CallResult]], final: Mapping[int, Final]
) -> None:
    calls: dict[str, list[circuit_breaker.Call]] = {}
    for lease, answer in answers:
        if lease.shared is not None:
            continue
        applied = final[lease.run_id]
        error = applied if isinstance(applied, TaggerError) else None
        made = calls.setdefault(lease.tagger, [])
        made.append(circuit_breaker.Call(lease.is_trial, error, lease.asset_id))
        if isinstance(answer, TaggerReply | PendingJob) and answer.resumes_at:
            limit = RateLimited(
                "Filestack allows no more calls for now.", retry_at=answer.resumes_at
            )
            made.append(circuit_breaker.Call(lease.is_trial, limit))
    for tagger, made in sorted(calls.items()):
        try:
            circuit_breaker.record(tagger, made)
        except Exception as error:
            if isinstance(error, (OperationalError, InterfaceError)) and not is_reachable():
                raise
            logger.exception("The circuit of %s cannot be written", tagger)
