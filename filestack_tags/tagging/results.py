"""Results: write taggers' answers to runs and assets, exactly once and never over a newer result.

Answers that are available together are applied together, in one transaction: replies with tags,
failures, and jobs that were started.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, InterfaceError, OperationalError
from django.utils import timezone

from filestack_tags import metrics
from filestack_tags.assets import asset_tags, tags
from filestack_tags.conf import get_settings
from filestack_tags.db.bulk_statements import update_rows
from filestack_tags.db.datetimes import to_database_time
from filestack_tags.db.text import label_key, sanitize_text
from filestack_tags.db.transactions import (
    alias,
    atomic,
    is_reachable,
    on_commit,
    retry_on_deadlock,
)
from filestack_tags.error_codes import ErrorCode
from filestack_tags.exceptions import TaggerError
from filestack_tags.models import Asset, AssetTag, TaggingRun

from . import circuit_breaker, due_times, result_events, result_rules, run_locks
from .taggers import PendingJob, TaggerReply, TagScore

GIVEN_UP = frozenset({ErrorCode.ABANDONED, ErrorCode.WORKFLOW_DEADLINE})
"""Error codes of runs that were closed without a result. A result that still arrives is applied."""

SOURCES = {"auto": int(AssetTag.Source.AUTO), "user": int(AssetTag.Source.USER)}

BATCH_SIZE = 50
"""Results in one transaction: more gain little and hold their locks longer."""

ASSET_COLUMNS = (
    *("tagging_state", "due_at", "attempts", "error", "error_code"),
    *("current_run", "tags_version", "tags_at", "updated_at"),
)
RUN_COLUMNS = (
    *("state", "error_code", "error", "notes", "rule_results", "raw_reply"),
    *("http_status", "version", "result_at", "finished_at", "job_id", "workflow_id"),
)
"""The columns that applying results writes."""


@dataclass(frozen=True)
class Result:
    """A tagger's answer to a run: a reply, a job that it started, or an error.

    ``result_at`` is the time of a reply; it defaults to now.
    """

    run_id: int
    answer: TaggerReply | PendingJob | TaggerError
    result_at: datetime | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a run or an asset.

    ``state`` is the run's state after a reply, otherwise the asset's. ``retry_at`` is when to try
    again, if set. ``blocked_by`` is ``circuit`` or ``budget`` if the asset waits for one of them.
    ``was_called`` is false if no call was made for it.
    """

    state: str
    retry_at: datetime | None = None
    asset_id: int | None = None
    blocked_by: str = ""
    was_called: bool = True


def apply(
    run_id: int,
    answer: TaggerReply | PendingJob | TaggerError,
    *,
    result_at: datetime | None = None,
) -> Outcome:
    """Apply one result; see :func:`apply_all`.

    Raises:
        InvalidLabel: when a label of the reply cannot be a tag.
        TaggingRun.DoesNotExist: when there is no such run.
    """
    (outcome,) = apply_all([Result(run_id, answer, result_at)])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def apply_all(results: Sequence[Result]) -> list[Outcome | Exception]:
    """Apply results; return the outcome of each, or the error that kept its run open.

    Uses a transaction for every :data:`BATCH_SIZE` results, with the assets' rows locked. A run is
    closed once: later calls change nothing.

    * A reply closes its run. If an asset has several, the newest by (content version,
      ``result_at``) is applied, unless the asset already shows a newer one; the other runs are
      stored as *superseded*. Rows that a user reviewed are never changed. A reply without tags
      keeps the tags of the same content. ``asset_tagged`` is sent for every result of the present
      content that was applied, that has no tags, or for which rules were evaluated.
    * An error closes its run, and the asset keeps its tags. The asset is queued again if a retry
      can help and attempts are left; otherwise it has failed and ``tagging_failed`` is sent.
    * A job keeps its run open for the job's webhook. The asset is due when to poll the job.

    A result that cannot be applied does not affect the others. After a deadlock or a lost
    connection the transaction is retried. Inside a transaction, pass :data:`BATCH_SIZE` results at
    most: its locks last until the end, and more results would lock assets after tags.

    Raises:
        OperationalError: when the database stayed unreachable. Retrying all of them is safe.
    """
    outcomes: list[Outcome | Exception] = []
    for start in range(0, len(results), BATCH_SIZE):
        outcomes += _apply_or_split(results[start : start + BATCH_SIZE])
    return outcomes


def _apply_or_split(results: Sequence[Result]) -> list[Outcome | Exception]:
    """Apply results; by bisection, find those that cannot be applied."""
    try:
        return [*_apply(results)]
    except IntegrityError as error:
        problem: Exception = error
        if len(results) == 1:
            # A tag may have been merged away since its name was resolved.
            try:
                return [*_apply(results)]
            except IntegrityError as again:
                problem = again
    except (OperationalError, InterfaceError) as error:
        if not is_reachable():
            raise
        problem = error
    except Exception as error:  # noqa: BLE001  # returned to the caller after the others were applied
        problem = error
    if len(results) == 1:
        return [problem]
    half = len(results) // 2
    return _apply_or_split(results[:half]) + _apply_or_split(results[half:])


@retry_on_deadlock
def _apply(results: Sequence[Result]) -> list[Outcome]:
    """Apply results in one transaction, all or none."""
    tag_ids = _tag_ids(results)
    with atomic():
        assets, runs = run_locks.lock_runs({result.run_id for result in results})
        for result in results:
            if result.run_id not in runs:
                raise TaggingRun.DoesNotExist(f"There is no run {result.run_id}.")
        batch = _Batch(assets, runs, tag_ids)
        outcomes = batch.apply(results)
        on_commit(batch.count)
    return outcomes


def _tag_ids(results: Sequence[Result]) -> dict[str, int]:
    """Return ``{label as received: tag id}``, creating missing tags."""
    names = dict.fromkeys(
        score.name
        for result in results
        if isinstance(result.answer, TaggerReply)
        for score in result.answer.scores
    )
    ids = tags.resolve(names)
    return {name: ids[label_key(name)] for name in names}


class _Batch:
    """Results that are applied together, with their assets and runs locked."""

    def __init__(
        self,
        assets: Mapping[int, Asset],
        runs: Mapping[int, TaggingRun],
        tag_ids: Mapping[str, int],
    ) -> None:
        self._assets = assets
        self._runs = runs
        self._tag_ids = tag_ids
        self._now = timezone.now()
        self._changed_runs: dict[int, TaggingRun] = {}
        self._changed_assets: dict[int, Asset] = {}
        self._tags: dict[int, asset_tags.TagResult] = {}
        self._retries: dict[int, datetime] = {}
        self._given_up: list[TaggingRun] = []
        self._completed: list[str] = []
        self._retried_codes: list[str] = []
        self._failed_codes: list[str] = []

    def apply(self, results: Sequence[Result]) -> list[Outcome]:
        """Write the results; return the outcome of each."""
        answers = [(result.run_id, result.answer) for result in results]
        replied = self._close_replied(results)
        errors = [(pk, answer) for pk, answer in answers if isinstance(answer, TaggerError)]
        jobs = {pk: answer for pk, answer in answers if isinstance(answer, PendingJob)}
        superseded: list[TaggingRun] = []
        if jobs:
            timed_out, superseded = self._keep_open(jobs)
            errors += timed_out
        failed = [
            (run, error) for pk, error in errors if (run := self._close_failed(pk, error))
        ]
        update_rows([*self._changed_runs.values()], RUN_COLUMNS)
        self._settle([*replied, *superseded], failed)
        update_rows([*self._changed_assets.values()], ASSET_COLUMNS)
        self._announce(replied, [run for run, _ in failed])
        if self._tags:
            asset_tags.replace(self._assets, self._tags)
        return [self._outcome(result) for result in results]

    def count(self) -> None:
        """Count the results in the metrics."""
        for state in self._completed:
            metrics.count("tagging.completed", state=state)
        for code in self._retried_codes:
            metrics.count("tagging.retried", code=code)
        for code in self._failed_codes:
            metrics.count("tagging.failed", code=code)

    def _outcome(self, result: Result) -> Outcome:
        run = self._runs[result.run_id]
        if isinstance(result.answer, TaggerReply):
            return Outcome(run.state)
        asset = self._assets[run.asset_id]
        return Outcome(asset.tagging_state, retry_at=self._retries.get(run.pk))

    def _close_replied(self, results: Iterable[Result]) -> list[TaggingRun]:
        """Close the open runs that have a reply, newest result first; return them.

        Replies without tags are applied last, so that they see the tags of the same batch.
        """
        replies = [
            (
                self._runs[result.run_id],
                result.answer,
                to_database_time(result.result_at or self._now),
            )
            for result in results
            if isinstance(result.answer, TaggerReply)
        ]
        replies.sort(
            key=lambda item: (item[0].content_version, item[1].has_tags, item[2]), reverse=True
        )
        closed = []
        for run, reply, result_at in replies:
            if run.state != TaggingRun.State.STARTED and run.error_code not in GIVEN_UP:
                continue
            asset = self._assets[run.asset_id]
            if reply.has_tags:
                newest = (asset.tags_version, asset.tags_at or result_at)
                is_older = (run.content_version, result_at) < newest
                is_superseded = asset.pk in self._tags or is_older
                is_shown = not is_superseded
            else:
                is_superseded = run.content_version < asset.content_version
                is_shown = not is_superseded and _answers_request(run, asset)
            run.state = (
                TaggingRun.State.SUPERSEDED if is_superseded else TaggingRun.State.SUCCEEDED
            )
            run.rule_results = result_rules.evaluate(reply)
            run.raw_reply = sanitize_text(reply.raw)
            run.http_status = reply.status
            run.version = reply.version
            run.error_code = run.error = ""
            run.notes = sanitize_text(reply.notes)
            run.result_at = result_at
            self._close(run)
            self._completed.append(run.state)
            closed.append(run)
            if is_shown:
                asset.tags_version = run.content_version
                # Without tags there is no tag time: any tags of this content replace them.
                asset.tags_at = result_at if reply.has_tags else None
                asset.current_run = run
                tag_scores = _by_tag(reply.scores, self._tag_ids)
                self._tags[asset.pk] = asset_tags.TagResult(run.pk, tag_scores)
        return closed

    def _keep_open(
        self, jobs: Mapping[int, PendingJob]
    ) -> tuple[list[tuple[int, TaggerError]], list[TaggingRun]]:
        """Keep runs open for their jobs' webhooks, and poll the jobs if none arrives.

        Return the errors of jobs that did not finish in time, and the runs that were superseded: a
        job's webhook arrived before the answer that names the job, and opened its own run.
        """
        same_jobs = TaggingRun.objects.using(alias()).filter(
            job_id__in=[job.job_id for job in jobs.values()]
        )
        others = {
            (run.job_id, run.workflow_id, run.asset_id): run.pk
            for run in same_jobs.only("job_id", "workflow_id", "asset")
        }
        timed_out: list[tuple[int, TaggerError]] = []
        superseded: list[TaggingRun] = []
        for run_id, job in jobs.items():
            run = self._runs[run_id]
            if run.state != TaggingRun.State.STARTED:
                continue
            if run.job_id is None:
                other = others.get((job.job_id, job.workflow_id, run.asset_id))
                if other is not None:
                    run.state = TaggingRun.State.SUPERSEDED
                    run.error = f"Run {other} holds the result of this job."
                    self._close(run)
                    superseded.append(run)
                    continue
                run.job_id, run.workflow_id = job.job_id, job.workflow_id
                self._changed_runs[run.pk] = run
            if self._now >= due_times.deadline(run):
                error = TaggerError(
                    "The workflow job did not finish in time.",
                    code=ErrorCode.WORKFLOW_DEADLINE,
                )
                timed_out.append((run.pk, error))
            else:
                self._poll(run, due_times.poll_at(run, self._now))
        return timed_out, superseded

    def _close_failed(self, run_id: int, error: TaggerError) -> TaggingRun | None:
        """Close a run that failed; return it. If only the poll of its job failed, poll again."""
        run = self._runs[run_id]
        if run.state != TaggingRun.State.STARTED:
            return None
        code, text = sanitize_text(error.code, 50), sanitize_text(str(error))
        asset = self._change(run)
        asset.error, asset.error_code = text, code
        if run.job_id is not None and error.retryable and self._now < due_times.deadline(run):
            at = max(
                due_times.retry_at(asset.attempts, error, self._now),
                due_times.poll_at(run, self._now),
            )
            if self._poll(run, at):
                self._retries[run.pk] = at
            return None
        run.state = TaggingRun.State.FAILED
        run.error_code, run.error = code, text
        run.http_status = error.status
        run.raw_reply = sanitize_text(error.raw_reply)
        run.rule_results = result_rules.evaluate_failure(error.raw_reply)
        self._close(run)
        return run

    def _poll(self, run: TaggingRun, at: datetime) -> bool:
        """Have a job polled later, unless its asset was archived or overwritten meanwhile.

        Such an asset waits for nothing or for a new run. The job's webhook still finds the run.
        """
        asset = self._change(run)
        is_running = asset.tagging_state == Asset.State.RUNNING
        if is_running:
            asset.due_at = at
        return is_running

    def _close(self, run: TaggingRun) -> None:
        run.finished_at = self._now
        self._changed_runs[run.pk] = run
        self._change(run)

    def _change(self, run: TaggingRun) -> Asset:
        """Return the run's asset, which will be written."""
        asset = self._assets[run.asset_id]
        self._changed_assets[asset.pk] = asset
        asset.updated_at = self._now
        return asset

    def _settle(
        self, closed: Iterable[TaggingRun], failed: Iterable[tuple[TaggingRun, TaggerError]]
    ) -> None:
        """Set the state of assets whose runs were closed, unless another run is active on them."""
        active = active_on(
            asset.pk
            for asset in self._changed_assets.values()
            if asset.tagging_state == Asset.State.RUNNING
        )
        for run in closed:
            if run.asset_id not in active:
                settle(self._assets[run.asset_id])
        for run, error in failed:
            self._settle_failed(run, error, is_active=run.asset_id in active)

    def _settle_failed(self, run: TaggingRun, error: TaggerError, *, is_active: bool) -> None:
        asset = self._assets[run.asset_id]
        is_running = asset.tagging_state == Asset.State.RUNNING and not is_active
        can_retry = error.retryable or error.code in circuit_breaker.OPENS_AT_ONCE
        if is_running and can_retry and asset.attempts < get_settings().MAX_ATTEMPTS:
            asset.tagging_state = Asset.State.QUEUED
            asset.due_at = due_times.retry_at(asset.attempts, error, self._now)
            self._retries[run.pk] = asset.due_at
            self._retried_codes.append(error.code)
            return
        if is_running or asset.tagging_state in (Asset.State.NEW, Asset.State.STALE):
            asset.tagging_state = Asset.State.FAILED
            asset.due_at = None
            self._given_up.append(run)
        self._failed_codes.append(error.code)

    def _announce(self, replied: Iterable[TaggingRun], failed: Iterable[TaggingRun]) -> None:
        """Send the signals and messages about results of the present contents."""
        present = [run for run in replied if self._is_present(run)]
        tagged = [
            run
            for run in present
            if run.state == TaggingRun.State.SUCCEEDED or run.rule_results
        ]
        evaluated = [run for run in failed if self._is_present(run) and run.rule_results]
        result_events.announce(tagged, evaluated, self._given_up)

    def _is_present(self, run: TaggingRun) -> bool:
        return run.content_version == self._assets[run.asset_id].content_version


def _answers_request(run: TaggingRun, asset: Asset) -> bool:
    """Whether a result without tags is the final answer for a content that was to be tagged here.

    Then the tags of an earlier content are removed, and the asset is not tagged again, which would
    cost another call. A job that an upload started leaves the asset to its own tagging.
    """
    was_requested = run.trigger != TaggingRun.Trigger.WORKFLOW
    return was_requested and asset.tags_version < run.content_version


def _by_tag(scores: Iterable[TagScore], ids: Mapping[str, int]) -> dict[int, tuple[int, int]]:
    """Return ``{tag id: (confidence, source)}``; ``ids`` maps labels to tags.

    Two labels may map to one tag, by spelling or by alias. A user's tag wins over the tagger's,
    then the higher confidence.
    """
    best: dict[int, tuple[int, int]] = {}
    for score in scores:
        tag_id = ids[score.name]
        offer = (score.confidence, SOURCES[score.source])
        current = best.get(tag_id)
        if current is None or (offer[1], offer[0]) > (current[1], current[0]):
            best[tag_id] = offer
    return best


def active_on(asset_ids: Iterable[int]) -> set[int]:
    """Return which of the assets have an open run."""
    ids = [*asset_ids]
    if not ids:
        return set()
    runs = TaggingRun.objects.using(alias()).filter(
        asset__in=ids, state=TaggingRun.State.STARTED
    )
    return set(runs.values_list("asset_id", flat=True))


def settle(asset: Asset) -> None:
    """Set an asset without an active run to idle, if its tags describe its present content."""
    if asset.deleted_at:
        return
    if asset.tags_version == asset.content_version:
        asset.tagging_state = Asset.State.TAGGED
        asset.due_at = None
        asset.attempts = 0
        asset.error = asset.error_code = ""
    elif asset.tagging_state == Asset.State.RUNNING:
        # The file was overwritten in the meantime, so the reply describes its earlier content.
        asset.tagging_state = Asset.State.QUEUED
        asset.due_at = timezone.now()
