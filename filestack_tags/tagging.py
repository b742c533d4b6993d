"""Tagging: ask a tagger for an asset's tags and apply what it says, once.

An asset that wants tags is *queued*; :func:`tag` takes it under a *lease*, opens a run, asks the
tagger outside any transaction, and closes the run in one short transaction. Whoever dies on the
way leaves a lease that expires, and :func:`due` finds the asset again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from functools import partial
from random import SystemRandom

from django.utils import timezone

from . import metrics, results
from .clock import kept
from .conf import get_settings
from .exceptions import FilestackTagsError, TaggerError
from .filestack.sources import Source
from .models import Asset, TaggingRun
from .signals import tagging_failed
from .taggers import JobTagger, PendingJob, Tagger, TaggerReply, get_tagger
from .text import storable
from .transactions import alias, atomic, locked, on_commit, retried, retrying

logger = logging.getLogger(__name__)

SLACK = timedelta(seconds=5)
"""How much too early a task may arrive, for clocks that differ a little."""

SWEEP_AFTER = timedelta(seconds=60)
"""How long after it fell due an asset counts as overlooked by its task."""

ABANDONED = ("state", "error_code", "error_text", "finished_at")
"""Columns of a run that nobody will close."""

OPEN_STATES = (Asset.State.QUEUED, Asset.State.RUNNING)


@dataclass(frozen=True)
class Outcome:
    """What came of one task. ``retry_at`` is set when the asset should be tried again then."""

    state: str
    retry_at: datetime | None = None


@dataclass(frozen=True)
class _Work:
    run_id: int
    tagger: str
    source: Source
    job_id: str | None


def wants_tagging(asset: Asset) -> bool:
    """Whether an asset that just became known, or changed, is tagged by itself.

    By ``AUTO_TAG`` and ``AUTO_TAG_MIMETYPES``, once Filestack has stored the file. An unknown
    type counts as an image, an unknown store status as stored.
    """
    settings = get_settings()
    if not settings.AUTO_TAG or asset.deleted_at or asset.store_status not in ("", "Stored"):
        return False
    mimetype = asset.mimetype.lower()
    return not mimetype or any(
        fnmatchcase(mimetype, pattern.lower()) for pattern in settings.AUTO_TAG_MIMETYPES
    )


def request(
    asset_ids: Iterable[int],
    *,
    trigger: str = TaggingRun.Trigger.CODE,
    force: bool = False,
    tagger: str = "",
) -> list[int]:
    """Queue assets for tagging; return the ids whose task should be enqueued.

    Left out are unknown and forgotten assets, those already queued or running, and, unless
    ``force``, those whose tags describe the present content. Each asset is its own transaction,
    so that a long list holds no locks. Inside a transaction of the caller's it holds them all,
    and takes them in the order of the ids.

    Args:
        asset_ids: the assets.
        trigger: why, a :class:`TaggingRun.Trigger`; recorded on the run.
        force: also assets whose tags are up to date.
        tagger: ``filestack``, ``workflow``, ``local`` or a dotted path; the setting ``TAGGER``
            when empty.

    Raises:
        ConfigurationError: when there is no such tagger. A wrong ``TAGGER`` fails the runs.
    """
    if tagger:
        get_tagger(tagger)
    why = TaggingRun.Trigger(trigger)
    asked = list(dict.fromkeys(asset_ids))
    queued = {pk for pk in sorted(asked) if _request(pk, why, force=force, tagger=tagger)}
    return [pk for pk in asked if pk in queued]


@retrying
def _request(asset_id: int, trigger: TaggingRun.Trigger, *, force: bool, tagger: str) -> bool:
    with atomic():
        asset = locked(Asset.objects.filter(pk=asset_id)).first()
        if asset is None or asset.deleted_at or asset.tagging_state in OPEN_STATES:
            return False
        if asset.tagging_state == Asset.State.TAGGED and not force:
            return False
        asset.tagging_state = Asset.State.QUEUED
        asset.queued_by = trigger
        asset.queued_for = tagger
        asset.attempts = 0
        asset.due_at = timezone.now()
        asset.save(using=alias())
    return True


def due(limit: int = 1000) -> list[int]:
    """Return assets whose task was lost, and take note that they are handed out again.

    These are queued or running ones that fell due more than :data:`SWEEP_AFTER` ago: never
    enqueued, dropped by the broker, or held by a process that died. One that somebody writes
    at this moment is not lost. Two sweeps at once hand an asset out once.
    """
    overlooked = Asset.objects.using(alias()).filter(
        tagging_state__in=OPEN_STATES, due_at__lte=timezone.now() - SWEEP_AFTER
    )
    ids = list(overlooked.order_by("due_at").values_list("pk", flat=True)[:limit])
    return [pk for pk in ids if _hand_out(pk)]


@retrying
def _hand_out(asset_id: int) -> bool:
    now = timezone.now()
    with atomic():
        asset = locked(Asset.objects.filter(pk=asset_id), skip_held=True).first()
        if asset is None or asset.tagging_state not in OPEN_STATES:
            return False
        if asset.due_at is None or asset.due_at > now - SWEEP_AFTER:
            return False
        asset.due_at = now
        asset.save(using=alias(), update_fields=("due_at",))
    return True


def tag(asset_id: int) -> Outcome:
    """Get and apply the tags of one queued asset; the body of the task.

    Idempotent: an asset that is not due, already taken, forgotten or gone is left alone. Never
    raises for what the tagger does: the run and the asset carry the error.
    """
    work = _take(asset_id)
    if isinstance(work, Outcome):
        return work
    try:
        tagger = get_tagger(work.tagger)
        reply = tagger.tag(work.source) if work.job_id is None else _follow(tagger, work.job_id)
    except TaggerError as error:
        return fail(work.run_id, error)
    except FilestackTagsError as error:  # a setting that no tagger can work with
        return fail(work.run_id, TaggerError(str(error), code="configuration"))
    except Exception as error:
        logger.exception("Tagger %s failed on asset %s", work.tagger, asset_id)
        name = type(error).__name__
        return fail(
            work.run_id,
            TaggerError(
                f"The tagger {work.tagger!r} raised {name}.",
                code="tagger_crashed",
                cure="The log holds the traceback.",
                retryable=True,
            ),
        )
    if isinstance(reply, PendingJob):
        return _wait(work.run_id, reply)
    return complete(work.run_id, reply, result_at=timezone.now())


@retrying
def _take(asset_id: int) -> _Work | Outcome:
    """Lease the asset and open a run, or say why not."""
    settings = get_settings()
    now = timezone.now()
    with atomic():
        asset = locked(Asset.objects.filter(pk=asset_id)).first()
        if asset is None or asset.deleted_at:
            return Outcome("gone")
        if asset.tagging_state not in OPEN_STATES:
            return Outcome(asset.tagging_state)
        if asset.due_at and asset.due_at > now + SLACK:
            return Outcome(asset.tagging_state)
        runs = TaggingRun.objects.using(alias()).filter(
            asset=asset, state=TaggingRun.State.STARTED
        )
        if asset.tagging_state == Asset.State.RUNNING:
            job = runs.exclude(job_id=None).order_by("-id").first()
            if job is not None:
                asset.due_at = now + timedelta(seconds=settings.LEASE)
                asset.save(using=alias())
                return _Work(job.pk, job.tagger, _source(asset), job.job_id)
        for run in runs.order_by("id"):
            run.state = TaggingRun.State.FAILED
            run.error_code = results.ABANDONED
            run.error_text = "The process that ran it did not come back."
            run.finished_at = now
            run.save(using=alias(), update_fields=ABANDONED)
        if asset.attempts >= settings.MAX_ATTEMPTS:
            asset.tagging_state = Asset.State.FAILED
            asset.due_at = None
            asset.last_error = (
                f"Given up after {asset.attempts} attempts; the last one was abandoned."
            )
            asset.save(using=alias())
            metrics.count("tagging.failed", code=results.ABANDONED)
            return Outcome(asset.tagging_state)
        asset.tagging_state = Asset.State.RUNNING
        asset.attempts += 1
        asset.due_at = now + timedelta(seconds=settings.LEASE)
        run = TaggingRun.objects.using(alias()).create(
            asset=asset,
            tagger=asset.queued_for or settings.TAGGER,
            trigger=asset.queued_by or TaggingRun.Trigger.CODE,
            content_version=asset.content_version,
            started_at=now,
        )
        asset.save(using=alias())
    return _Work(run.pk, run.tagger, _source(asset), None)


def _follow(tagger: Tagger, job_id: str) -> TaggerReply | PendingJob:
    if not isinstance(tagger, JobTagger):
        raise TaggerError(
            "The tagger that started this job cannot be asked about it.",
            code="configuration",
            cure="Give it a method follow(job_id).",
        )
    return tagger.follow(job_id)


def _source(asset: Asset) -> Source:
    return Source.of(asset.kind, asset.reference)


def _wait(run_id: int, job: PendingJob) -> Outcome:
    """Keep the run open for the job's webhook, and look again if none comes."""
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
            other = TaggingRun.objects.using(alias()).filter(job_id=job.job_id).first()
            if other is not None:
                # The job's webhook came before Filestack's answer did, and opened its own run.
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
        deadline = run.started_at + timedelta(seconds=settings.WORKFLOW_DEADLINE)
        if now >= deadline:
            return TaggerError(
                "The workflow job did not finish in time.",
                code="workflow_deadline",
                cure="Look at the workflow in the Filestack portal, then tag again.",
            )
        asset.due_at = min(deadline, now + timedelta(seconds=settings.WORKFLOW_POLL_DELAY))
        asset.save(using=alias())
        return Outcome(asset.tagging_state)


def complete(run_id: int, reply: TaggerReply, *, result_at: datetime) -> Outcome:
    """Close a run with the tags it got and apply them; see :func:`.results.apply`.

    A deadlock or a lost connection is tried again: the reply is here, and was paid for.
    """
    state = retried(partial(results.apply, run_id, reply, result_at=result_at))
    metrics.count("tagging.completed", state=state)
    return Outcome(state)


@retrying
def fail(run_id: int, error: TaggerError) -> Outcome:
    """Close a run without tags; the asset keeps those it has.

    The asset is queued again if the error says that asking later can help and attempts are
    left; its due time lives on its row, so that it survives the broker.
    """
    settings = get_settings()
    now = timezone.now()
    with atomic():
        run, asset = results.lock_run(run_id)
        if run.state != TaggingRun.State.STARTED:
            return Outcome(asset.tagging_state)
        following_job = run.job_id is not None and error.retryable
        if following_job and now < run.started_at + timedelta(
            seconds=settings.WORKFLOW_DEADLINE
        ):
            # Only the question failed, the job goes on: asking for it again costs nothing.
            asset.due_at = _retry_at(asset.attempts, error, now)
            asset.last_error = storable(str(error))
            asset.save(using=alias())
            return Outcome(asset.tagging_state, retry_at=asset.due_at)
        run.state = TaggingRun.State.FAILED
        run.error_code = error.code
        run.error_text = storable(str(error))
        run.http_status = error.status
        run.raw_reply = storable(error.raw_reply)
        run.finished_at = now
        run.save(using=alias())
        asset.last_error = run.error_text
        retry_at = None
        holds = asset.tagging_state == Asset.State.RUNNING and not results.is_held_by_another(
            asset, run
        )
        if holds and error.retryable and asset.attempts < settings.MAX_ATTEMPTS:
            retry_at = _retry_at(asset.attempts, error, now)
            asset.tagging_state = Asset.State.QUEUED
            asset.due_at = retry_at
        elif holds or asset.tagging_state in (Asset.State.NEW, Asset.State.STALE):
            asset.tagging_state = Asset.State.FAILED
            asset.due_at = None
            on_commit(
                partial(tagging_failed.send_robust, sender=TaggingRun, asset=asset, run=run)
            )
        asset.save(using=alias())
    metrics.count("tagging.retried" if retry_at else "tagging.failed", code=error.code)
    return Outcome(asset.tagging_state, retry_at=retry_at)


def _retry_at(attempts: int, error: TaggerError, now: datetime) -> datetime:
    """When to try again: never before Filestack said, spread out so that not all come at once."""
    settings = get_settings()
    delay = min(settings.RETRY_DELAY * 2 ** max(attempts - 1, 0), settings.RETRY_DELAY_MAX)
    random = SystemRandom()
    if error.retry_at is None:
        return now + timedelta(seconds=random.uniform(delay / 2, delay))
    latest = now + timedelta(days=1)
    told = min(max(kept(error.retry_at), now), latest)
    return told + timedelta(seconds=random.uniform(0, settings.RETRY_DELAY))
