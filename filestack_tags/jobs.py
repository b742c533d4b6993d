"""Jobs: what webhooks say of many workflow jobs, written together.

For the jobs that bursts are made of: they have tags, and either their run is known by its job id,
or nobody here started them. The others are :mod:`.events`'s, one by one: those whose file was
forgotten, or has a run that waits for some job and may wait for this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from . import assets, events, metrics, results, workflows
from .filestack.payloads import Event, TagsReply, WorkflowJob
from .models import Asset, TaggingRun, WebhookDelivery
from .news import PROCESSED, Handled
from .rowsets import update
from .taggers import TaggerReply
from .transactions import alias, locked


@dataclass(frozen=True)
class Told:
    """A delivery that brought the tags of one job."""

    delivery: WebhookDelivery
    event: Event
    job: WorkflowJob
    job_id: str
    reply: TagsReply

    @property
    def started_at(self) -> datetime:
        return events.started_at(self.job, self.event, self.delivery)


def told(delivery: WebhookDelivery, event: Event) -> Told | None:
    """Return what a delivery tells, if it can be applied together with others.

    Raises:
        PayloadError: when the job cannot be read.
    """
    if event.action != "fs.workflow":
        return None
    job = event.workflow()
    reply = job.merged_tags()
    if reply is None or job.is_under_way or not job.job_id or len(job.sources) != 1:
        return None
    return Told(delivery, event, job, job.job_id, reply)


def apply_all(news: Sequence[Told]) -> dict[int, Handled]:
    """Apply jobs; return what each delivery came to, by its id. Those left out are not touched.

    In a transaction of the caller's, for :data:`.results.AT_ONCE` at most.

    Raises:
        Exception: what keeps one of them from being applied, such as a file that becomes known
            at this moment. Nothing is to be kept then; one by one, the others can be.
    """
    unique = _unique(news)
    runs = _runs(unique)
    runs |= _open([one for one in unique if one.job_id not in runs], runs.values())
    applied = [one for one in unique if one.job_id in runs]
    offered = [
        results.Result(
            runs[one.job_id].pk,
            TaggerReply.of(one.reply),
            events.result_at(one.job, one.event, one.delivery),
        )
        for one in applied
    ]
    done: dict[int, Handled] = {}
    for one, state in zip(applied, results.apply_all(offered), strict=True):
        if isinstance(state, Exception):
            raise state
        metrics.count("tagging.completed", state=state)
        run = runs[one.job_id]
        done[one.delivery.pk] = Handled(
            PROCESSED, events.tags_told(one.job, state), run.asset_id
        )
    # Their rows are locked since their results were applied.
    update(
        TaggingRun,
        ("delivery",),
        [(runs[one.job_id].pk, one.delivery.pk) for one in applied],
    )
    return done


def _unique(news: Iterable[Told]) -> list[Told]:
    """Leave out jobs and files that were there already, since what is first decides."""
    seen: set[str] = set()
    unique: list[Told] = []
    for one in news:
        names = {f"job {one.job_id}", f"file {_digest(one)}"}
        if not names & seen:
            unique.append(one)
        seen |= names
    return unique


def _runs(news: Sequence[Told]) -> dict[str, TaggingRun]:
    runs = TaggingRun.objects.using(alias()).filter(job_id__in=[one.job_id for one in news])
    return {str(run.job_id): run for run in runs.only("job_id", "asset")}


def _open(news: Sequence[Told], others: Iterable[TaggingRun]) -> dict[str, TaggingRun]:
    """Open the runs of jobs that nobody here started, and make their files known if they are not
    and the workflow says so.

    ``others`` are runs whose assets are going to be locked: all are in one order.
    """
    named = {_digest(one): one for one in news}
    rows = Asset.objects.using(alias()).filter(digest__in=[*named])
    known = dict(rows.values_list("digest", "pk")) if named else {}
    makes_known = {
        digest: (one.job.sources[0], one.started_at)
        for digest, one in named.items()
        if workflows.makes_known(one.job.workflow_id)
    }
    found = assets.register_new(
        {digest: told for digest, told in makes_known.items() if digest not in known}
    )
    if known:
        held = _hold({*known.values(), *(run.asset_id for run in others)})
        found += [asset for asset in held if asset.digest in named]
    runs = []
    for asset in found:
        one = named[asset.digest]
        runs.append(events.new_run(one.job, asset, started_at=one.started_at))
        if asset.digest in makes_known:
            assets.refresh(asset, {}, one.started_at)
    if known:
        update(Asset, ("facts_at",), [(asset.pk, asset.facts_at) for asset in found])
    opened = TaggingRun.objects.using(alias()).bulk_create(runs)
    return {str(run.job_id): run for run in opened}


def _hold(asset_ids: Iterable[int]) -> list[Asset]:
    """Lock assets; return those that a job may belong to though no run says so."""
    rows = locked(Asset.objects.filter(pk__in=sorted(asset_ids))).order_by("pk")
    present = [asset for asset in rows if not asset.deleted_at]
    waiting = TaggingRun.objects.using(alias()).filter(
        events.WAITS, events.KNOWS_NO_JOB, asset__in=[asset.pk for asset in present]
    )
    waited_for = set(waiting.values_list("asset_id", flat=True))
    return [asset for asset in present if asset.pk not in waited_for]


def _digest(one: Told) -> str:
    return events.digest_of(one.job)
