"""Jobs: the results of many workflow jobs, written together.

A burst consists of such jobs: they ended with a result, and either their open run has their job id
or they were not started here. :mod:`.handlers` handles all others one by one. Examples are jobs
whose file was archived, or whose file has a run that waits for a job without a known id.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from filestack_tags import metrics
from filestack_tags.assets import registry
from filestack_tags.db.rowsets import update
from filestack_tags.db.transactions import alias, locked
from filestack_tags.filestack.options import file_hosts
from filestack_tags.filestack.payloads import Event, WorkflowJob
from filestack_tags.models import Asset, TaggingRun, WebhookDelivery
from filestack_tags.tagging import results, workflows
from filestack_tags.tagging.taggers import TaggerReply

from . import handlers
from .event_time import PROCESSED, Handled

Identity = tuple[str, str, str]
"""What makes two jobs the same: id, workflow, and the digest of the file."""


@dataclass(frozen=True)
class Told:
    """A delivery with the result of one job."""

    delivery: WebhookDelivery
    event: Event
    job: WorkflowJob
    reply: TaggerReply

    @property
    def identity(self) -> Identity:
        return str(self.job.job_id), self.job.workflow_id, handlers.digest_of(self.job)

    @property
    def started_at(self) -> datetime:
        return handlers.started_at(self.job, self.event, self.delivery)


def told(delivery: WebhookDelivery, event: Event) -> Told | None:
    """Return the job of a delivery if it can be applied together with others.

    Raises:
        PayloadError: when the job cannot be parsed.
    """
    if event.action != "fs.workflow":
        return None
    job = event.workflow(file_hosts())
    if job.is_under_way or not job.job_id or len(job.sources) != 1:
        return None
    reply = handlers.reply_of(job)
    return None if reply is None else Told(delivery, event, job, reply)


def apply_all(news: Sequence[Told]) -> dict[int, Handled]:
    """Apply jobs; return the result of each delivery, by id. Those left out are not touched.

    Call it in a transaction, for :data:`.results.AT_ONCE` jobs at most.

    Raises:
        Exception: when one of them cannot be applied, such as for a file that is registered at this
            moment. Roll back then, and apply the jobs one by one.
    """
    unique = _unique(news)
    same_ids = _runs_with_ids(unique)
    runs = {
        one.identity: run
        for one in unique
        for run in same_ids
        if _identity(run) == one.identity and run.state == TaggingRun.State.STARTED
    }
    seen_ids = {run.job_id for run in same_ids}
    runs |= _open([one for one in unique if one.job.job_id not in seen_ids], runs.values())
    applied = [one for one in unique if one.identity in runs]
    offered = [
        results.Result(
            runs[one.identity].pk,
            one.reply,
            handlers.result_at(one.job, one.event, one.delivery),
        )
        for one in applied
    ]
    done: dict[int, Handled] = {}
    for one, state in zip(applied, results.apply_all(offered), strict=True):
        if isinstance(state, Exception):
            raise state
        metrics.count("tagging.completed", state=state)
        text = handlers.outcome_of(one.job, one.reply, state)
        done[one.delivery.pk] = Handled(PROCESSED, text, runs[one.identity].asset_id)
    # Their rows are locked since their results were applied.
    update(
        TaggingRun,
        ("delivery",),
        [(runs[one.identity].pk, one.delivery.pk) for one in applied],
    )
    return done


def _unique(news: Iterable[Told]) -> list[Told]:
    """Leave out repeated jobs and files, since the first one counts."""
    seen: set[str] = set()
    unique: list[Told] = []
    for one in news:
        names = {f"job {one.job.job_id}", f"file {_digest(one)}"}
        if not names & seen:
            unique.append(one)
        seen |= names
    return unique


def _runs_with_ids(news: Sequence[Told]) -> list[TaggingRun]:
    ids = [one.job.job_id for one in news]
    runs = TaggingRun.objects.using(alias()).filter(job_id__in=ids).select_related("asset")
    return list(runs.only("job_id", "workflow_id", "state", "asset__digest"))


def _identity(run: TaggingRun) -> Identity:
    return str(run.job_id), run.workflow_id, run.asset.digest


def _open(news: Sequence[Told], others: Iterable[TaggingRun]) -> dict[Identity, TaggingRun]:
    """Open the runs of jobs that were not started here. Their files are registered if they are new
    and ``REGISTER_FROM_WORKFLOWS`` names the workflow.

    ``others`` are runs whose assets will be locked too, so that all are locked in one order.
    """
    named = {_digest(one): one for one in news}
    rows = Asset.objects.using(alias()).filter(digest__in=[*named])
    known = dict(rows.values_list("digest", "pk")) if named else {}
    makes_known = {
        digest: (one.job.sources[0], one.started_at)
        for digest, one in named.items()
        if workflows.makes_known(one.job.workflow_id)
    }
    found = registry.register_new(
        {digest: told for digest, told in makes_known.items() if digest not in known}
    )
    if known:
        held = _hold({*known.values(), *(run.asset_id for run in others)})
        found += [asset for asset in held if asset.digest in named]
    runs = []
    for asset in found:
        one = named[asset.digest]
        runs.append(handlers.new_run(one.job, asset, started_at=one.started_at))
        if asset.digest in makes_known:
            registry.refresh(asset, {}, one.started_at)
    if known:
        update(Asset, ("facts_at",), [(asset.pk, asset.facts_at) for asset in found])
    opened = TaggingRun.objects.using(alias()).bulk_create(runs)
    return {_identity(run): run for run in opened}


def _hold(asset_ids: Iterable[int]) -> list[Asset]:
    """Lock assets; return those that a job may belong to although no run names it."""
    rows = locked(Asset.objects.filter(pk__in=sorted(asset_ids))).order_by("pk")
    present = [asset for asset in rows if not asset.deleted_at]
    waiting = TaggingRun.objects.using(alias()).filter(
        handlers.WAITS, handlers.KNOWS_NO_JOB, asset__in=[asset.pk for asset in present]
    )
    waited_for = set(waiting.values_list("asset_id", flat=True))
    return [asset for asset in present if asset.pk not in waited_for]


def _digest(one: Told) -> str:
    return handlers.digest_of(one.job)
