"""Concurrent operations on the same rows, on real connections."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Barrier
from typing import Any, TypeVar

import pytest
from django.db import connection, connections
from django.utils import timezone
from rest_framework.test import APIClient

from filestack_tags import curation, tasks
from filestack_tags.assets import registry
from filestack_tags.curation import bulk
from filestack_tags.db import transactions
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, AssetTag, BulkJob, Tag, TaggingRun, WebhookDelivery
from filestack_tags.tagging import asset_leases, queue, results
from filestack_tags.testing.payloads import fp_delete, fp_overwrite, fp_upload, fs_workflow
from filestack_tags.webhooks import inbox
from filestack_tags.webhooks import processing as webhooks_processing
from tests import scripted, signed_headers
from tests.api.rows import person
from tests.db.test_locks import receive

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        connection.vendor == "sqlite",
        reason="SQLite has one writer; PostgreSQL and MariaDB run it",
    ),
]
T = TypeVar("T")
WRITERS = 4


def at_once(work: Callable[[int], T], writers: int = WRITERS) -> list[T]:
    """Run ``work(0)``, ``work(1)``, … in threads that start together; return their results."""
    start = Barrier(writers)

    def one(number: int) -> T:
        try:
            start.wait(timeout=10)
            return work(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(writers) as pool:
        return list(pool.map(one, range(writers)))


def counts() -> dict[str, int]:
    return dict(Tag.objects.values_list("key", "asset_count"))


def true_counts() -> dict[str, int]:
    rows = AssetTag.objects.exclude(decision=AssetTag.Decision.REJECTED)
    return {tag.key: rows.filter(tag=tag).count() for tag in Tag.objects.all()}


def new_run(asset: Asset) -> TaggingRun:
    return TaggingRun.objects.create(asset=asset, tagger="t", trigger="code", content_version=1)


def test_one_result_applied_by_all_at_once_is_applied_once() -> None:
    asset, _ = registry.register(Source.handle("h"))
    run = new_run(asset)
    at = timezone.now()
    states = at_once(
        lambda _: results.apply(run.pk, scripted.reply({"sky": 90, "sea": 5}), result_at=at)
    )
    assert [outcome.state for outcome in states] == ["succeeded"] * WRITERS
    assert counts() == {"sky": 1, "sea": 1}


def test_one_file_registered_by_all_at_once_is_one_asset() -> None:
    outcomes = at_once(lambda _: registry.register(Source.handle("h")))
    assert sorted(created for _, created in outcomes) == [False] * (WRITERS - 1) + [True]
    assert Asset.objects.count() == 1


@pytest.mark.parametrize("name", ["", "editor"])
def test_one_idempotency_key_used_by_all_at_once_is_one_job(name: str) -> None:
    user = person(name) if name else None
    outcomes = at_once(lambda _: bulk.create(bulk.BulkRequest("export"), user=user, key="k"))
    assert sorted(created for _, created in outcomes) == [False] * (WRITERS - 1) + [True]
    assert {job.pk for job, _ in outcomes} == {BulkJob.objects.get().pk}


def test_of_writers_with_one_etag_at_once_only_one_writes() -> None:
    asset, _ = registry.register(Source.handle("h"))
    url = f"/api/v1/assets/{asset.pk}/"
    user = person("editor", "view_asset", "change_asset")
    clients = [APIClient() for _ in range(WRITERS)]
    for client in clients:
        client.force_login(user)
    etag = clients[0].get(url)["ETag"]

    def write(number: int) -> tuple[int, str]:
        name = f"{number}.jpg"
        reply = clients[number].patch(
            url, {"filename": name}, format="json", headers={"If-Match": etag}
        )
        return reply.status_code, name

    outcomes = sorted(at_once(write))
    assert [status for status, _ in outcomes] == [200] + [412] * (WRITERS - 1)
    asset.refresh_from_db()
    assert asset.filename == outcomes[0][1]


def test_one_event_delivered_to_all_at_once_is_stored_and_processed_once() -> None:
    body = json.dumps(fs_workflow("h", tags={"sky": 90}, job_id="j")).encode()
    headers = signed_headers(body)
    receipts = at_once(lambda _: inbox.receive(body, headers))
    assert sorted(receipt.duplicate for receipt in receipts) == [False, True, True, True]
    assert WebhookDelivery.objects.get().duplicates == WRITERS - 1

    at_once(lambda _: webhooks_processing.process([receipts[0].delivery_id]))
    assert TaggingRun.objects.count() == 1
    assert WebhookDelivery.objects.get().attempts == 1
    assert counts() == {"sky": 1}


def test_one_job_told_by_different_deliveries_at_once_has_one_run() -> None:
    event = fs_workflow("h", tags={"sky": 90}, job_id="j")
    ids = [receive(event | {"id": number}) for number in range(WRITERS)]
    outcomes = at_once(lambda number: webhooks_processing.process([ids[number]])[0])
    for pk, outcome in zip(ids, outcomes, strict=True):
        if outcome.retry_at:  # lost a race for the row; its task would run again
            WebhookDelivery.objects.filter(pk=pk).update(due_at=timezone.now())
            (outcome,) = webhooks_processing.process([pk])
        assert outcome.state == WebhookDelivery.State.PROCESSED
    assert TaggingRun.objects.get().state == TaggingRun.State.SUCCEEDED
    assert counts() == {"sky": 1}


def test_one_queued_asset_taken_by_all_at_once_is_asked_about_once(script: Any) -> None:
    asset, _ = registry.register(Source.handle("h"))
    queued = at_once(lambda _: queue.request([asset.pk]))
    assert sum(map(len, queued)) == 1
    at_once(lambda _: queue.tag(asset.pk))
    assert len(scripted.asked) == 1
    assert TaggingRun.objects.count() == 1


def test_two_sweeps_at_once_lead_to_one_call(script: Any) -> None:
    asset, _ = registry.register(Source.handle("h"))
    queue.request([asset.pk])
    Asset.objects.update(due_at=timezone.now() - 2 * queue.SWEEP_AFTER)

    def sweep(_: int) -> None:
        for pk in queue.due():
            queue.tag(pk)

    at_once(sweep)
    assert len(scripted.asked) == 1


@pytest.mark.parametrize("job_id", ["j", None], ids=["by job", "by file"])
def test_a_job_s_webhook_takes_its_asset_before_its_run(job_id: str | None) -> None:
    """In the order of the poll of the same job; the other order would deadlock with it."""
    asset, _ = registry.register(Source.handle("h"))
    event = fs_workflow("h", tags={"sky": 90}, job_id="j")
    run = TaggingRun.objects.create(
        asset=asset, tagger="workflow", trigger="code", content_version=1, job_id=job_id,
        workflow_id=event["text"]["workflow"],
    )  # fmt: skip
    delivery = receive(event)

    def process() -> str:
        try:
            return webhooks_processing.process([delivery])[0].state
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with transactions.atomic():
            transactions.locked(Asset.objects.filter(pk=asset.pk)).get()
            processing = pool.submit(process)
            with pytest.raises(TimeoutError):
                processing.result(timeout=0.5)
            TaggingRun.objects.select_for_update(nowait=True).get(pk=run.pk)
        assert processing.result(timeout=10) == WebhookDelivery.State.PROCESSED
    assert TaggingRun.objects.get().state == TaggingRun.State.SUCCEEDED


def test_neither_a_sweep_nor_a_task_waits_for_what_somebody_writes() -> None:
    """A sweep that waited here, with an index locked, was half of a deadlock on MariaDB."""
    held, free = (registry.register(Source.handle(name))[0].pk for name in ("held", "free"))
    queue.request([held, free])
    Asset.objects.update(due_at=timezone.now() - 2 * queue.SWEEP_AFTER)
    delivery = receive(fs_workflow("held", tags={"sky": 90}, job_id="j"))

    def look() -> tuple[list[int], set[int], list[int]]:
        try:
            claimed = asset_leases.acquire([held, free], skip_locked=True)
            return inbox.due(), set(queue.due()), [work.asset_id for work in claimed]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool, transactions.atomic():
        transactions.locked(Asset.objects.filter(pk=held)).get()
        transactions.locked(WebhookDelivery.objects.filter(pk=delivery)).get()
        assert pool.submit(look).result(timeout=10) == ([delivery], {held}, [free])


def test_workers_that_share_an_inbox_process_each_delivery_once() -> None:
    ids = [receive(fs_workflow(f"h{n}", tags={"sky": n}, job_id=f"j{n}")) for n in range(60)]
    at_once(lambda _: tasks.process_inbox())
    deliveries = WebhookDelivery.objects.values_list("pk", "state", "attempts")
    assert sorted(deliveries) == [(pk, WebhookDelivery.State.PROCESSED, 1) for pk in ids]
    assert TaggingRun.objects.count() == len(ids)
    assert counts() == {"sky": len(ids)}


def test_workers_that_share_an_inbox_agree_on_the_few_files_that_all_of_it_is_about(
    script: Any,
) -> None:
    """Uploads, overwrites, deletions and jobs of the same files, in any order."""
    dice = Random(4)  # noqa: S311  for a test, not a secret
    now = int(timezone.now().timestamp())
    told = [
        event
        for n in range(12)
        for event in (
            fp_upload(f"h{n}", timestamp=now - 60),
            fp_overwrite(f"h{n}", timestamp=now - 50),
            fs_workflow(f"h{n}", tags={"sky": n}, job_id=f"j{n}", created=(now - 40) * 10**9),
            *([fp_delete(f"h{n}", timestamp=now - 30)] if n % 3 == 0 else []),
        )
    ]
    dice.shuffle(told)
    ids = [receive(event) for event in told]
    at_once(lambda _: tasks.process_inbox())
    deliveries = WebhookDelivery.objects.values_list("pk", "state")
    assert sorted(deliveries) == [(pk, WebhookDelivery.State.PROCESSED) for pk in ids]
    assert set(Asset.objects.values_list("content_version", flat=True)) == {2}
    shown = Asset.objects.filter(deleted_at=None).values_list("reference", "tags_version")
    assert sorted(shown) == sorted((f"h{n}", 2) for n in range(12) if n % 3)
    assert Asset.objects.count() == 12
    assert TaggingRun.objects.filter(job_id__startswith="j").count() == 12
    assert counts()["sky"] == 8


def test_writers_that_meet_on_assets_tags_and_new_names_never_deadlock() -> None:
    """Replies, decisions, archiving and restoring, all on the same few rows."""
    ids = [registry.register(Source.handle(f"h{n}"))[0].pk for n in range(5)]

    def names(random: Random, prefix: str) -> Iterable[str]:
        return [f"{prefix}{random.randrange(30)}" for _ in range(20)]

    def work(number: int) -> None:
        random = Random(number)  # noqa: S311  for a test, not a secret
        for step in range(25):
            asset = Asset.objects.get(pk=random.choice(ids))
            wanted = {name: random.randrange(101) for name in names(random, f"{step // 5}-")}
            reply = scripted.reply(wanted)
            results.apply(new_run(asset).pk, reply, result_at=timezone.now())
            row = curation.add(asset.pk, random.choice(list(wanted)), user=None)
            if random.random() < 0.3:
                curation.reject(asset.pk, row.tag_id, user=None)
            if random.random() < 0.2:
                registry.archive(asset.pk)
                registry.restore(asset.pk)

    at_once(work)
    for pk in ids:
        registry.restore(pk)
    assert counts() == true_counts()
