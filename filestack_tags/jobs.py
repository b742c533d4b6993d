"""Jobs: what webhooks say of many workflow jobs, written together.

For the jobs that bursts are made of: they have tags, and either their run is known by its job id,
or nobody here started them and their file is new. The others are :mod:`.events`'s, one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from . import assets, events, metrics, results, workflows
from .events import Handled
from .filestack.payloads import Event, TagsReply, WorkflowJob
from .models import Asset, TaggingRun, WebhookDelivery
from .rowsets import update
from .taggers import TaggerReply
from .transactions import alias


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
    runs |= _open_new([one for one in unique if one.job_id not in runs])
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
            events.PROCESSED, events.tags_told(one.job, state), run.asset_id
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


def _open_new(news: Sequence[Told]) -> dict[str, TaggingRun]:
    """Make the files known that are not, if their workflow says so, and open the jobs' runs."""
    named = {_digest(one): one for one in news if workflows.makes_known(one.job.workflow_id)}
    known = Asset.objects.using(alias()).filter(digest__in=[*named])
    for digest in known.values_list("digest", flat=True):
        del named[digest]
    made = assets.register_new(
        {digest: (one.job.sources[0], one.started_at) for digest, one in named.items()}
    )
    return _opened(named, made)


def _opened(named: Mapping[str, Told], made: Iterable[Asset]) -> dict[str, TaggingRun]:
    runs = [
        events.new_run(
            named[asset.digest].job, asset, started_at=named[asset.digest].started_at
        )
        for asset in made
    ]
    opened = TaggingRun.objects.using(alias()).bulk_create(runs)
    return {str(run.job_id): run for run in opened}


def _digest(one: Told) -> str:
    return events.digest_of(one.job)
