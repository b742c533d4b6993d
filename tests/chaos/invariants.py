"""The invariants of the rows, whatever was killed: each with its numbers."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import connection
from django.db.models import Count, Sum

from filestack_tags.conf import get_settings
from filestack_tags.curation.bulk import read_parts
from filestack_tags.models import (
    Asset,
    AssetTag,
    BulkJob,
    DailyUsage,
    ModelFile,
    OutboundMessage,
    Tag,
    TaggingRun,
    TagMerge,
    WebhookDelivery,
)

from .canned import content, labels
from .people import OWN

SHOWN = 5
"""Examples of a broken invariant."""


@dataclass(frozen=True)
class Finding:
    """One invariant: whether it is broken, how often, and by which rows."""

    name: str
    broken: int
    detail: str
    examples: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Facts:
    """The truth outside the database, recorded by the processes that created it."""

    seed: str
    files: dict[str, dict[str, Any]]
    """By handle: see :class:`.feeder.File`."""
    accepted: set[str]
    """Keys of the events that were answered 2xx."""
    failing: set[str]
    refused: set[str]
    undelivered: int
    decisions: dict[tuple[str, str], int]
    """``{(handle, tag): decision}``, the last ones."""
    calls: Counter[str]
    """Tagging calls, by handle."""

    @classmethod
    def read(cls, run: Path) -> Facts:
        """Read the records that the processes of a run left in its directory."""
        told = json.loads((run / "facts.json").read_text())
        events = json.loads((run / "events.json").read_text())
        posted = told["posted"]
        delivered = {
            f"{event['action']}:{event['event']}"
            for event in events
            if any(200 <= status < 300 for status in event["statuses"])
        }
        decided = (json.loads(line) for line in _lines(run / "decisions.jsonl"))
        return cls(
            seed=told["seed"],
            files=told["files"],
            accepted=delivered | set(posted["accepted"]),
            failing=set(posted["failing"]),
            refused=set(posted["refused"]),
            undelivered=sum(event["state"] != "delivered" for event in events),
            decisions={(handle, tag): decision for handle, tag, decision in decided},
            calls=Counter(line.split("\t")[1] for line in _lines(run / "calls.log")),
        )


def judge(facts: Facts) -> Iterator[Finding]:
    """Yield every invariant and whether it holds."""
    yield deliveries_are_processed(facts)
    yield nothing_forged_is_stored(facts)
    yield nothing_is_left_open()
    yield no_asset_of_a_job_is_counted_twice()
    yield assets_are_tagged_or_failed_with_a_reason(facts)
    yield tags_are_those_of_the_newest_content(facts)
    yield deleted_files_are_hidden(facts)
    yield events_had_their_effect_once(facts)
    yield decisions_are_intact(facts)
    yield no_row_is_there_twice()
    yield tags_are_counted_right()
    yield every_call_has_its_run(facts)
    yield calls_are_within_the_budget(facts)


def deliveries_are_processed(facts: Facts) -> Finding:
    rows = dict(WebhookDelivery.objects.values_list("event_key", "state"))
    done = {WebhookDelivery.State.PROCESSED, WebhookDelivery.State.IGNORED}
    lost = sorted(facts.accepted - rows.keys())
    wrong = [
        f"{key} is {state}"
        for key, state in sorted(rows.items())
        if (
            state != WebhookDelivery.State.FAILED if key in facts.failing else state not in done
        )
    ]
    states = Counter(rows.values())
    told = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
    return _finding(
        "every event answered 2xx is processed",
        [*(f"{key} is lost" for key in lost), *wrong],
        f"{len(facts.accepted)} answered 2xx: {told}; {facts.undelivered} never delivered",
    )


def nothing_forged_is_stored(facts: Facts) -> Finding:
    stored = WebhookDelivery.objects.filter(event_key__in=facts.refused)
    return _finding(
        "no event with a wrong signature is stored",
        list(stored.values_list("event_key", flat=True)),
        f"{len(facts.refused)} refused",
    )


LEASED = (WebhookDelivery, OutboundMessage, ModelFile, BulkJob, TagMerge)
"""The models whose rows are open while they have a ``due_at``."""


def nothing_is_left_open() -> Finding:
    stopped = TagMerge.objects.filter(due_at=None).exclude(state__in=TagMerge.COMPLETE)
    assets = Asset.objects.filter(tagging_state__in=("queued", "running"))
    runs = TaggingRun.objects.filter(state=TaggingRun.State.STARTED).select_related("asset")
    left = [
        *(
            f"{model._meta.verbose_name} {row.pk} {row.state}, due {row.due_at}"
            for model in LEASED
            for row in model._default_manager.exclude(due_at=None)
        ),
        *(f"tag merge {merge.pk} stopped: {merge.error}" for merge in stopped),
        *(f"asset {row.pk} {row.tagging_state}, due {row.due_at}" for row in assets),
        *(
            f"run {run.pk} of asset {run.asset_id} ({run.asset.tagging_state}, deleted "
            f"{run.asset.deleted_at}) started"
            for run in runs
        ),
    ]
    counted = ", ".join(
        f"{model._default_manager.count()} {model._meta.verbose_name_plural}"
        for model in (*LEASED, Asset, TaggingRun)
    )
    return _finding("no work is left open", left, counted)


def no_asset_of_a_job_is_counted_twice() -> Finding:
    wrong = []
    jobs = BulkJob.objects.filter(state=BulkJob.State.FINISHED)
    for job in jobs:
        counts = Counter(changed=job.changed, skipped=job.skipped, failed=job.failed)
        if job.done != counts.total():
            wrong.append(f"job {job.pk} has done {job.done}: {counts}")
        if job.ids_digest:
            items = Counter(job.items.values_list("outcome", flat=True))
            if items != counts:
                wrong.append(f"job {job.pk} counts {counts}, its items are {items}")
        elif job.done > (assets := Asset.objects.filter(pk__lte=job.ceiling).count()):
            wrong.append(f"job {job.pk} has done {job.done} of {assets} assets")
        if job.action == BulkJob.Action.EXPORT:
            lines = b"".join(read_parts(job)).splitlines()
            if len({*lines}) != len(lines) or len(lines) != job.changed:
                wrong.append(f"job {job.pk} wrote {len(lines)} lines, counts {job.changed}")
    done = jobs.aggregate(total=Sum("done"))["total"] or 0
    detail = f"{len(jobs)} jobs, {done} assets"
    return _finding("no asset of a bulk job is counted twice", wrong, detail)


def assets_are_tagged_or_failed_with_a_reason(facts: Facts) -> Finding:
    known = {asset.reference: asset for asset in Asset.objects.all()}
    wrong = [f"{handle} is unknown" for handle in facts.files if handle not in known]
    failed: Counter[str] = Counter()
    tagged = 0
    for handle, file in facts.files.items():
        asset = known.get(handle)
        if asset is None or file["deleted"]:
            continue
        if asset.tagging_state == Asset.State.TAGGED:
            tagged += 1
        elif asset.tagging_state == Asset.State.FAILED and asset.error.strip():
            failed[asset.error.partition(".")[0][:60]] += 1
        else:
            wrong.append(f"asset {asset.pk} is {asset.tagging_state}, {asset.error!r}")
    reasons = "".join(f"; {number} × {reason!r}" for reason, number in failed.most_common(3))
    detail = f"{tagged} tagged, {failed.total()} failed{reasons}"
    return _finding("every asset is tagged, or failed with a reason", wrong, detail)


def tags_are_those_of_the_newest_content(facts: Facts) -> Finding:
    rows: defaultdict[str, dict[str, int]] = defaultdict(dict)
    shown = AssetTag.objects.filter(decision=AssetTag.Decision.NONE)
    for handle, tag, confidence in shown.values_list(
        "asset__reference", "tag__key", "confidence"
    ):
        if (handle, tag) not in facts.decisions:
            rows[handle][tag] = confidence
    tagged = Asset.objects.filter(tagging_state=Asset.State.TAGGED, deleted_at=None)
    wrong = []
    for handle in tagged.values_list("reference", flat=True):
        if (file := facts.files.get(handle)) is None:
            continue
        said = labels(content(facts.seed, file["serial"], file["version"]))
        wanted = {tag: n for tag, n in said.items() if (handle, tag) not in facts.decisions}
        if rows[handle] != wanted:
            wrong.append(f"{handle} has {rows[handle]}, its content says {wanted}")
    detail = f"{len(tagged)} assets, {sum(map(len, rows.values()))} rows"
    return _finding("tags are those of the newest content", wrong, detail)


def deleted_files_are_hidden(facts: Facts) -> Finding:
    hidden = dict(Asset.objects.values_list("reference", "deleted_at"))
    wrong = [
        f"{handle} is deleted: {file['deleted']}, hidden: {hidden.get(handle)}"
        for handle, file in facts.files.items()
        if handle in hidden and file["deleted"] != (hidden[handle] is not None)
    ]
    deleted = sum(file["deleted"] for file in facts.files.values())
    return _finding("deleted files are hidden, and no others", wrong, f"{deleted} deleted")


def events_had_their_effect_once(facts: Facts) -> Finding:
    versions = dict(Asset.objects.values_list("reference", "content_version"))
    wrong = [
        f"{handle} has content version {versions[handle]} after {file['overwrites']} overwrites"
        for handle, file in facts.files.items()
        if handle in versions and versions[handle] > 1 + file["overwrites"]
    ]
    again = WebhookDelivery.objects.aggregate(total=Sum("duplicates"))["total"] or 0
    tries = WebhookDelivery.objects.filter(attempts__gt=1).count()
    detail = f"{again} duplicates came, {tries} deliveries were begun more than once"
    return _finding("no event had its effect twice", wrong, detail)


def decisions_are_intact(facts: Facts) -> Finding:
    rows = {
        (handle, tag): decision
        for handle, tag, decision in AssetTag.objects.values_list(
            "asset__reference", "tag__key", "decision"
        )
    }
    wrong = [
        f"{key} was decided {decision}, the row says {rows.get(key)}"
        for key, decision in facts.decisions.items()
        if rows.get(key, AssetTag.Decision.NONE) != decision
    ]
    invented = [
        f"{key} says {decision}, nobody decided"
        for key, decision in rows.items()
        if decision != AssetTag.Decision.NONE
        and key not in facts.decisions
        and not key[1].startswith(OWN)
    ]
    detail = f"{len(facts.decisions)} decisions"
    return _finding("people's decisions are as they made them", wrong + invented, detail)


def no_row_is_there_twice() -> Finding:
    wrong = []
    for model, columns in (
        (WebhookDelivery, ("event_key",)),
        (Asset, ("digest",)),
        (Asset, ("kind", "reference")),
        (AssetTag, ("asset_id", "tag_id")),
        (Tag, ("key",)),
        (TaggingRun, ("job_id",)),
    ):
        rows = model._default_manager.exclude(**{columns[0]: None}).values(*columns)
        wrong += [
            f"{model.__name__} {row}"
            for row in rows.annotate(times=Count("*")).order_by().filter(times__gt=1)
        ]
    detail = f"{AssetTag.objects.count()} asset tags, {Tag.objects.count()} tags"
    return _finding("no row is there twice", wrong, detail)


COUNTED = """
SELECT tag.key, tag.asset_count, count(asset.id)
FROM filestack_tags_tag tag
LEFT JOIN filestack_tags_assettag row ON row.tag_id = tag.id AND row.decision <> 2
LEFT JOIN filestack_tags_asset asset ON asset.id = row.asset_id AND asset.deleted_at IS NULL
GROUP BY tag.id, tag.key, tag.asset_count
"""


def tags_are_counted_right() -> Finding:
    with connection.cursor() as cursor:
        cursor.execute(COUNTED)
        rows = cursor.fetchall()
    wrong = [f"{key} says {said}, has {has}" for key, said, has in rows if said != has]
    detail = f"{sum(row[1] for row in rows)} counted"
    return _finding("every tag's count of assets is right", wrong, detail)


def every_call_has_its_run(facts: Facts) -> Finding:
    runs = TaggingRun.objects.filter(tagger="filestack", shared_from=None)
    counted = runs.values_list("asset__reference").annotate(times=Count("id")).order_by()
    opened = dict(counted)
    wrong = [
        f"{handle}: {calls} calls, {opened.get(handle, 0)} runs"
        for handle, calls in facts.calls.items()
        if calls > opened.get(handle, 0)
    ]
    total, succeeded = facts.calls.total(), runs.filter(state="succeeded").count()
    price = total / succeeded if succeeded else 0.0
    failed = Counter(
        runs.filter(state=TaggingRun.State.FAILED).values_list("error_code", flat=True)
    )
    codes = ", ".join(f"{number} {code}" for code, number in failed.most_common())
    detail = (
        f"{total} calls, {sum(opened.values())} runs ({codes or 'none failed'}); {price:.2f} "
        f"calls for each of the {succeeded} results that were used"
    )
    return _finding("every call that was paid for has its run", wrong, detail)


def calls_are_within_the_budget(facts: Facts) -> Finding:
    name = "calls made are counted, and within the budget"
    calls = facts.calls.total()
    counted = DailyUsage.objects.aggregate(total=Sum("calls"))["total"] or 0
    if not counted:
        return Finding(name, 0, f"NOT CONFIGURED: nothing counts the {calls} calls")
    budget = get_settings().BUDGET_PER_DAY
    wrong = []
    if counted < calls:
        wrong.append(f"{calls} calls, {counted} counted")
    if budget is not None and counted > budget:
        wrong.append(f"{counted} counted, the budget is {budget}")
    detail = f"{calls} calls ≤ {counted} counted ≤ {budget} allowed"
    return _finding(name, wrong, detail)


def _finding(name: str, wrong: list[str], detail: str) -> Finding:
    return Finding(name, len(wrong), detail, wrong[:SHOWN])


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
