"""Tagging: call a tagger for an asset's tags and apply its reply, once.

An asset that needs tags is *queued*; :mod:`.leases` leases it and opens a run. The tagger is called
outside any transaction, and :func:`land` closes the run in a short one. After a crash the lease
expires, and :func:`due` finds the asset again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from functools import partial
from operator import attrgetter
from random import SystemRandom

from django.db import InterfaceError, OperationalError
from django.db.models import Q
from django.utils import timezone

from filestack_tags import metrics
from filestack_tags.assets.registry import queue
from filestack_tags.conf import get_settings
from filestack_tags.db.datetimes import CLOCKS_DIFFER, kept
from filestack_tags.db.rowsets import update
from filestack_tags.db.text import storable
from filestack_tags.db.transactions import (
    alias,
    atomic,
    is_reachable,
    locked,
    on_commit,
    retried,
    retrying,
)
from filestack_tags.error_codes import ErrorCode
from filestack_tags.exceptions import FilestackTagsError, RateLimited, TaggerError
from filestack_tags.models import Asset, AssetQuerySet, TaggingRun
from filestack_tags.outbound import outbox
from filestack_tags.signals import tagging_failed

from . import circuit_breaker, leases, results, rules
from .leases import OPEN_STATES, Refusal, Work
from .taggers import PendingJob, TaggerReply, get_tagger
from .taggers.concurrent_calls import ask

logger = logging.getLogger(__name__)

SWEEP_AFTER = timedelta(seconds=60)
"""How long after it fell due an asset counts as having lost its task."""

AT_ONCE = 500
"""Assets queued in one transaction."""

QUEUED = (
    *("tagging_state", "queued_by", "queued_for", "fresh_since"),
    *("attempts", "due_at", "changed_at"),
)
"""The columns that queueing writes on an asset."""


@dataclass(frozen=True)
class Outcome:
    """The outcome for one asset.

    ``retry_at`` is when to try again, if set. ``held`` is ``circuit`` or ``budget`` if it waits for
    one of them. ``made`` is false if no call was made for it.
    """

    state: str
    retry_at: datetime | None = None
    asset_id: int | None = None
    held: str = ""
    made: bool = True

    @classmethod
    def of(cls, refusal: Refusal) -> Outcome:
        """Return the outcome for an asset that could not be claimed."""
        return cls(refusal.state, refusal.retry_at, refusal.asset_id, refusal.held, made=False)


Answer = TaggerReply | PendingJob | Exception
"""The result of a call."""


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

    Uses a transaction for every :data:`AT_ONCE` assets, which locks them in the order of their ids.

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
    why = TaggingRun.Trigger(trigger)
    asked = list(dict.fromkeys(asset_ids))
    queued: set[int] = set()
    ordered = sorted(asked)
    fresh_since = timezone.now() if force else None
    for start in range(0, len(ordered), AT_ONCE):
        batch = ordered[start : start + AT_ONCE]
        queued |= _request(batch, why, fresh_since=fresh_since, tagger=tagger)
    return [pk for pk in asked if pk in queued]


@retrying
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
        if queued:
            update(Asset, QUEUED, list(map(attrgetter("pk", *QUEUED), queued)))
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
    are claimed.
    """
    return _oldest(_open(timezone.now() - SWEEP_AFTER), limit)


def _oldest(assets: AssetQuerySet, limit: int) -> list[int]:
    return list(assets.order_by("due_at").values_list("pk", flat=True)[:limit])


def _open(until: datetime) -> AssetQuerySet:
    """Return open assets due by then, except those whose tagger is blocked."""
    assets = Asset.objects.using(alias()).filter(
        tagging_state__in=OPEN_STATES, due_at__lte=until
    )
    held = leases.held_up()
    if not held:
        return assets
    usual = {""} if get_settings().TAGGER in held else set()
    return assets.exclude(tagging_state=Asset.State.QUEUED, queued_for__in=held | usual)


def tag(asset_id: int) -> Outcome:
    """Get and apply the tags of one queued asset, waiting for the tagger.

    Idempotent: an asset that is not due, already leased, archived or deleted is left alone. Never
    raises because of the tagger: the error is saved on the run and the asset.
    """
    (claimed,) = leases.claim([asset_id])
    if isinstance(claimed, Refusal):
        return Outcome.of(claimed)
    answer: Answer
    try:
        answer = claimed.shared or ask(
            get_tagger(claimed.tagger), claimed.source, claimed.job_id, fresh=claimed.fresh
        )
    except Exception as error:  # noqa: BLE001  # land() converts it
        answer = error
    return land([(claimed, answer)])[0]


def land(answers: Sequence[tuple[Work, Answer]]) -> list[Outcome]:
    """Close the runs of claimed assets with their taggers' replies; return each outcome.

    Replies are applied together, see :func:`.results.apply_all`. After a deadlock or a lost
    connection the transaction is retried, because the replies cost money. An error that one reply
    causes, including a database error, does not affect the others.

    Raises:
        OperationalError: when the database stayed unreachable. Calling it again is safe.
    """
    outcomes: dict[int, Outcome] = {}
    errors = [
        (work, _error(work, answer))
        for work, answer in answers
        if isinstance(answer, Exception)
    ]
    replies = [(work, answer) for work, answer in answers if isinstance(answer, TaggerReply)]
    now = timezone.now()
    offered = [results.Result(work.run_id, reply, now) for work, reply in replies]
    states = _apply_or_halve(offered)
    for (work, _), state in zip(replies, states, strict=True):
        if isinstance(state, Exception):
            errors.append((work, _unusable(work, state)))
        else:
            metrics.count("tagging.completed", state=state)
            outcomes[work.run_id] = Outcome(state)
    for work, answer in answers:
        if isinstance(answer, PendingJob):
            outcomes[work.run_id] = _alone(work, partial(_wait, work.run_id, answer))
    _note_circuits(answers, errors)
    for work, error in errors:
        outcomes[work.run_id] = _alone(work, partial(fail, work.run_id, error))
    return [
        replace(outcomes[work.run_id], asset_id=work.asset_id, made=work.shared is None)
        for work, _ in answers
    ]


def _apply_or_halve(offered: Sequence[results.Result]) -> list[str | Exception]:
    """Apply results; by bisection, find those that the database rejects."""
    try:
        return retried(partial(results.apply_all, offered))
    except (OperationalError, InterfaceError) as error:
        if not is_reachable():
            raise
        if len(offered) == 1:
            return [error]
    half = len(offered) // 2
    return _apply_or_halve(offered[:half]) + _apply_or_halve(offered[half:])


def _alone(work: Work, close: Callable[[], Outcome]) -> Outcome:
    """Close one run. If only that fails, log it; the run is closed when its lease expires."""
    try:
        return close()
    except Exception as error:
        if isinstance(error, (OperationalError, InterfaceError)) and not is_reachable():
            raise
        logger.exception("Run %s of asset %s cannot be closed", work.run_id, work.asset_id)
        return Outcome(Asset.State.RUNNING)


def _error(work: Work, error: Exception) -> TaggerError:
    """Return an exception of a tagger as an error that the run can store."""
    if isinstance(error, TaggerError):
        return error
    if isinstance(error, FilestackTagsError):  # a setting that every tagger rejects
        return TaggerError(str(error), code=ErrorCode.CONFIGURATION)
    name = type(error).__name__
    logger.error(
        "Tagger %s failed on asset %s",
        work.tagger,
        work.asset_id,
        exc_info=error,
    )
    return TaggerError(
        f"The tagger {work.tagger!r} raised {name}.",
        code=ErrorCode.TAGGER_CRASHED,
        retryable=True,
    )


def _unusable(work: Work, error: Exception) -> TaggerError:
    """Return the error for a reply that cannot be applied, such as for an invalid label."""
    logger.error("The reply for asset %s cannot be applied", work.asset_id, exc_info=error)
    # Not the database's text, which may contain names of tables and values.
    reason = str(error) if isinstance(error, FilestackTagsError) else type(error).__name__
    return TaggerError(
        f"The reply of the tagger {work.tagger!r} cannot be applied: {reason}",
        code=ErrorCode.UNUSABLE_REPLY,
        # It may be temporary, such as a lock timeout.
        retryable=isinstance(error, (OperationalError, InterfaceError)),
    )


def _note_circuits(
    answers: Sequence[tuple[Work, Answer]], errors: Sequence[tuple[Work, TaggerError]]
) -> None:
    failed = {work.run_id: error for work, error in errors}
    made: dict[str, list[circuit_breaker.Call]] = {}
    for work, answer in answers:
        if work.shared is None:
            call = circuit_breaker.Call(work.tries, failed.get(work.run_id), work.asset_id)
            made.setdefault(work.tagger, []).append(call)
            if isinstance(answer, TaggerReply | PendingJob) and answer.resumes_at:
                last = RateLimited(
                    "Filestack allows no more calls for now.", retry_at=answer.resumes_at
                )
                made[work.tagger].append(circuit_breaker.Call(work.tries, last))
    for tagger, calls in sorted(made.items()):
        try:
            circuit_breaker.note(tagger, calls)
        except Exception as error:
            if isinstance(error, (OperationalError, InterfaceError)) and not is_reachable():
                raise
            logger.exception("The circuit of %s cannot be written", tagger)


def _wait(run_id: int, job: PendingJob) -> Outcome:
    """Keep the run open for the job's webhook, and poll if none arrives."""
    kept_open = _keep_open(run_id, job)
    return kept_open if isinstance(kept_open, Outcome) else fail(run_id, kept_open)


@retrying
def _keep_open(run_id: int, job: PendingJob) -> Outcome | TaggerError:
    settings = get_settings()
    now = timezone.now()
    with atomic():
        run, asset = results.lock_run(run_id)
        if run.state != TaggingRun.State.STARTED:
            return Outcome(asset.tagging_state)
        if run.job_id is None:
            others = TaggingRun.objects.using(alias()).filter(job_id=job.job_id, asset=asset)
            other = others.filter(workflow_id=job.workflow_id).first()
            if other is not None:
                # The job's webhook arrived before Filestack's answer did, and opened its own run.
                run.state = TaggingRun.State.SUPERSEDED
                run.error_text = f"Run {other.pk} holds the result of this job."
                run.finished_at = now
                run.save(using=alias())
                results.settle(asset, run)
                asset.save(using=alias())
                return Outcome(asset.tagging_state)
            run.job_id = job.job_id
            run.workflow_id = job.workflow_id
            run.save(using=alias())
        deadline = run.started_at + timedelta(seconds=settings.WORKFLOW_TIMEOUT)
        if now >= deadline:
            return TaggerError(
                "The workflow job did not finish in time.",
                code=ErrorCode.WORKFLOW_DEADLINE,
            )
        asset.due_at = min(deadline, now + _poll_delay(now - run.started_at))
        asset.save(using=alias())
        return Outcome(asset.tagging_state)


def _poll_delay(age: timedelta) -> timedelta:
    """Return when to poll a job of this age next: after as long again, within the settings."""
    settings = get_settings()
    shortest = settings.WORKFLOW_POLL_DELAY
    longest = max(shortest, settings.RETRY_DELAY_MAX)
    return min(max(age, timedelta(seconds=shortest)), timedelta(seconds=longest))


def complete(run_id: int, reply: TaggerReply, *, result_at: datetime) -> Outcome:
    """Close a run with its tags and apply them; see :func:`.results.apply`.

    After a deadlock or a lost connection the transaction is retried, because the reply cost money.
    """
    state = retried(partial(results.apply, run_id, reply, result_at=result_at))
    metrics.count("tagging.completed", state=state)
    return Outcome(state)


@retrying
def fail(run_id: int, error: TaggerError) -> Outcome:
    """Close a run without tags; the asset keeps its existing tags.

    The asset is queued again if a retry can help and attempts are left. Its due time is stored on
    its row, so that a lost broker message does not matter.
    """
    settings = get_settings()
    now = timezone.now()
    with atomic():
        run, asset = results.lock_run(run_id)
        if run.state != TaggingRun.State.STARTED:
            return Outcome(asset.tagging_state)
        following_job = run.job_id is not None and error.retryable
        deadline = run.started_at + timedelta(seconds=settings.WORKFLOW_TIMEOUT)
        if following_job and now < deadline:
            # Only the poll failed and the job continues: polling again is free.
            asset.due_at = max(
                _retry_at(asset.attempts, error, now),
                min(deadline, now + _poll_delay(now - run.started_at)),
            )
            asset.last_error, asset.error_code = storable(str(error)), _code(error)
            asset.save(using=alias())
            return Outcome(asset.tagging_state, retry_at=asset.due_at)
        run.state = TaggingRun.State.FAILED
        run.error_code = _code(error)
        run.error_text = storable(str(error))
        run.http_status = error.status
        run.raw_reply = storable(error.raw_reply)
        run.rule_results = rules.said_of_failure(error.raw_reply)
        run.finished_at = now
        run.save(using=alias())
        if run.rule_results and run.content_version == asset.content_version:
            results.announce([run.pk])
        asset.last_error, asset.error_code = run.error_text, run.error_code
        retry_at = None
        holds = asset.tagging_state == Asset.State.RUNNING and not results.is_held_by_another(
            asset, run
        )
        again = error.retryable or error.code in circuit_breaker.AT_ONCE
        if holds and again and asset.attempts < settings.MAX_ATTEMPTS:
            retry_at = _retry_at(asset.attempts, error, now)
            asset.tagging_state = Asset.State.QUEUED
            asset.due_at = retry_at
        elif holds or asset.tagging_state in (Asset.State.NEW, Asset.State.STALE):
            asset.tagging_state = Asset.State.FAILED
            asset.due_at = None
            on_commit(
                partial(tagging_failed.send_robust, sender=TaggingRun, asset=asset, run=run)
            )
            outbox.note_failure(run)
        asset.save(using=alias())
    metrics.count("tagging.retried" if retry_at else "tagging.failed", code=error.code)
    return Outcome(asset.tagging_state, retry_at=retry_at)


def _code(error: TaggerError) -> str:
    """Return an error code as it is stored: a custom tagger's code may be too long."""
    return storable(error.code, 50)


def _retry_at(attempts: int, error: TaggerError, now: datetime) -> datetime:
    """Return when to retry: never before Filestack's reset time, with jitter."""
    settings = get_settings()
    delay = min(settings.RETRY_DELAY * 2 ** max(attempts - 1, 0), settings.RETRY_DELAY_MAX)
    random = SystemRandom()
    if error.retry_at is None:
        return now + timedelta(seconds=random.uniform(delay / 2, delay))
    latest = now + timedelta(days=1)
    told = min(max(kept(error.retry_at), now), latest)
    return told + timedelta(seconds=random.uniform(0, settings.RETRY_DELAY))
