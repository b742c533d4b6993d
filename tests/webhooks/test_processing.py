"""Deliveries processed together: the same as one by one, for any mixture."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from filestack_tags.assets import tags
from filestack_tags.db import bulk_statements
from filestack_tags.db.text import reference_digest
from filestack_tags.filestack.payloads import event_key
from filestack_tags.models import Asset, AssetQuerySet, AssetTag, TaggingRun, WebhookDelivery
from filestack_tags.signals import asset_registered
from filestack_tags.testing.payloads import (
    fp_delete,
    fp_overwrite,
    fp_upload,
    fs_workflow,
)
from filestack_tags.webhooks import handlers, processing, workflow_jobs
from filestack_tags.webhooks.handler_types import ReceivedEvent

pytestmark = pytest.mark.django_db

State = WebhookDelivery.State
WORKFLOW = "c516519f-3755-4fb5-85a4-15ae4b31d475"
"""The workflow of :func:`fs_workflow`."""
UNSAFE = {"sfw_1": {"data": {"sfw": False}}}


@pytest.fixture(autouse=True)
def nothing_is_tagged_by_itself(settings: Any) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"AUTO_TAG": False}


def store(*events: dict[str, Any]) -> list[int]:
    ids = []
    for event in events:
        body = json.dumps(event).encode()
        key, action = event_key(body)
        now = timezone.now()
        row = WebhookDelivery(event_key=key, action=action, raw_body=body, due_at=now)
        row.save()
        ids.append(row.pk)
    return ids


def known(handle: str, **values: Any) -> Asset:
    digest = reference_digest("handle", handle)
    return Asset.objects.create(kind="handle", reference=handle, digest=digest, **values)


def running(handle: str, job_id: str) -> TaggingRun:
    asset = known(handle, tagging_state="running", due_at=timezone.now(), attempts=1)
    return TaggingRun.objects.create(
        asset=asset, tagger="workflow", trigger="code", job_id=job_id, content_version=1,
        workflow_id=WORKFLOW,
    )  # fmt: skip


def rows() -> list[Any]:
    """Return everything that deliveries change, except times and ids."""
    TaggingRun.objects.filter(job_id__startswith="delivery:").update(job_id="named by an id")
    return [
        sorted(
            Asset.objects.values_list(
                *("reference", "tagging_state", "content_version", "tags_version", "attempts"),
                *("error", "current_run__job_id", "filename"),
            ),
            key=str,
        ),
        sorted(AssetTag.objects.values_list("asset__reference", "tag__key", "confidence")),
        sorted(
            TaggingRun.objects.values_list(
                *("asset__reference", "job_id", "state", "tagger", "trigger", "workflow_id"),
                *("delivery__event_key", "error_code", "raw_reply", "content_version"),
            ),
            key=str,
        ),
        sorted(
            WebhookDelivery.objects.values_list(
                *("event_key", "state", "outcome", "attempts", "asset__reference", "due_at"),
            ),
            key=str,
        ),
    ]


def without_job_id(event: dict[str, Any]) -> dict[str, Any]:
    """Return an event in Filestack's old format."""
    del event["text"]["jobid"]
    return event


def mixture() -> list[dict[str, Any]]:
    return [
        *(
            fs_workflow(f"new{n}", tags={"sky": n, f"t{n}": 50}, job_id=f"n{n}")
            for n in range(4)
        ),
        *(fs_workflow(f"run{n}", tags={"sea": n + 1}, job_id=f"r{n}") for n in range(3)),
        fs_workflow("new0", tags={"sky": 99}, job_id="same-file"),
        fs_workflow("known", tags={"sky": 77}, job_id="known-file"),
        fs_workflow("hidden", tags={"sky": 78}, job_id="hidden-file"),
        fs_workflow("waits", tags={"sky": 76}, job_id="told-later", workflow="wf"),
        without_job_id(fs_workflow("old", tags={"sky": 79})),
        fs_workflow("unsafe", results=UNSAFE, job_id="unsafe-file"),
        fs_workflow("run3", results=UNSAFE, job_id="r3"),
        fs_workflow("other", tags={"sky": 1}, job_id="r0"),
        fs_workflow("run0", tags={"sky": 1}, job_id="r0", workflow="wf"),
        fp_upload("new1"),
        fp_upload("uploaded"),
        fp_overwrite("new2"),
        fp_delete("gone"),
    ]


def prepared() -> None:
    for number in range(4):
        running(f"run{number}", f"r{number}")
    known("known")
    known("hidden", deleted_at=timezone.now() - timedelta(days=1))
    # Its answer was lost: the reported job may be the one that it started.
    TaggingRun.objects.create(
        asset=known("waits", tagging_state="running", due_at=timezone.now(), attempts=1),
        tagger="workflow", trigger="api", workflow_id="wf", content_version=1,
        started_at=timezone.now() - timedelta(days=3650),
    )  # fmt: skip


def outcome_of(work: Callable[[Sequence[int]], object]) -> list[Any]:
    with transaction.atomic():
        prepared()
        work(store(*mixture()))
        found = rows()
        transaction.set_rollback(True)
    return found


def test_together_they_come_to_the_same_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    applied: list[int] = []
    apply = workflow_jobs.apply

    def counting(events: Sequence[ReceivedEvent]) -> Any:
        results = apply(events)
        applied.append(len(results))
        return results

    patched = {**handlers.HANDLERS, "fs.workflow": counting}
    mixture_of = mixture()
    monkeypatch.setattr(f"{__name__}.mixture", lambda: mixture_of)
    with monkeypatch.context() as patch:
        patch.setattr(handlers, "HANDLERS", patched)
        together = outcome_of(processing.process)
    alone = outcome_of(lambda ids: [processing.process([pk]) for pk in ids])
    assert together == alone
    # The file or the job of an earlier one and an archived file are handled alone.
    assert applied == [12, 1, 1, 1, 1]
    assert {row[1] for row in together[3]} == {State.PROCESSED}, together[3]


@pytest.mark.parametrize("number_known", [0, 8, 16])
def test_sixteen_jobs_take_few_statements(number_known: int) -> None:
    for number in range(number_known):
        known(f"h{number}")
    ids = store(*(fs_workflow(f"h{n}", tags={"a": n}, job_id=f"j{n}") for n in range(16)))
    with CaptureQueriesContext(connection) as captured:
        outcomes = processing.process(ids)
    assert {outcome.state for outcome in outcomes} == {State.PROCESSED}
    # On SQLite and MariaDB, each row is written by a separate statement.
    singly = 0 if connection.vendor == "postgresql" else 7 * 16
    assert len(captured) <= 40 + singly


def test_a_bad_one_costs_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = tags.resolve

    def refuse(names: Any) -> Any:
        names = list(names)
        if "bad" in names:
            raise ValueError("bad")
        return resolve(names)

    monkeypatch.setattr(tags, "resolve", refuse)
    events = [fs_workflow(f"h{n}", tags={"good": 5}, job_id=f"j{n}") for n in range(3)]
    ids = store(*events, fs_workflow("h3", tags={"bad": 5}, job_id="j3"))
    outcomes = processing.process(ids)
    assert [outcome.state for outcome in outcomes] == [*[State.PROCESSED] * 3, State.RECEIVED]
    assert outcomes[3].retry_at
    assert AssetTag.objects.count() == 3
    assert "ValueError: bad" in WebhookDelivery.objects.get(pk=ids[3]).error


def test_a_file_that_another_process_makes_known_meanwhile_costs_one_more_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bulk_create = AssetQuerySet.bulk_create
    failing = [IntegrityError("another process was first")]

    def once(*args: Any, **options: Any) -> Any:
        if failing:
            raise failing.pop()
        return bulk_create(*args, **options)

    monkeypatch.setattr(AssetQuerySet, "bulk_create", once)
    monkeypatch.setattr(processing, "_apply_alone", None)
    ids = store(*(fs_workflow(f"h{n}", tags={"a": n}, job_id=f"j{n}") for n in range(3)))
    outcomes = processing.process(ids)
    assert [outcome.state for outcome in outcomes] == [State.PROCESSED] * 3


def test_one_that_is_lost_to_another_process_is_left_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = store(*(fs_workflow(f"h{n}", tags={"a": n}, job_id=f"j{n}") for n in range(3)))

    def slow(events: Sequence[ReceivedEvent]) -> Any:
        results = workflow_jobs.apply(events)
        WebhookDelivery.objects.filter(pk=ids[1]).update(attempts=2)
        return results

    monkeypatch.setattr(handlers, "HANDLERS", {"fs.workflow": slow})
    # The change to the row is rolled back with the rest, so the second time the lease is ours
    # again.
    monkeypatch.setattr(
        processing,
        "_apply_alone",
        lambda handler, event: processing.Outcome(event.delivery.pk, "alone"),
    )
    assert {outcome.state for outcome in processing.process(ids)} == {"alone"}
    assert not Asset.objects.exists()
    assert not TaggingRun.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_repeated_transaction_is_counted_once(
    monkeypatch: pytest.MonkeyPatch, told: list[Any]
) -> None:
    errors = [OperationalError("deadlock")]

    def update_rows(*args: Any) -> None:
        bulk_statements.update_rows(*args)
        if errors:
            raise errors.pop()

    monkeypatch.setattr(processing, "update_rows", update_rows)
    (outcome,) = processing.process(store({"action": "fp.telepathy", "id": 1}))
    assert (outcome.state, errors) == (State.IGNORED, [])
    assert [one.name for one in told if one.name.startswith("webhook.")] == [
        "webhook.unknown_action",
        "webhook.processed",
        "webhook.seconds",
    ]
    told.clear()
    errors.append(OperationalError("deadlock"))
    (outcome,) = processing.process(store(fs_workflow("h1", tags={"sky": 90})))
    assert (outcome.state, errors) == (State.PROCESSED, [])
    assert [one.name for one in told].count("tagging.completed") == 1


def test_those_that_were_tried_are_taken_one_by_one() -> None:
    ids = store(*(fs_workflow(f"h{n}", tags={"a": n}, job_id=f"j{n}") for n in range(3)))
    WebhookDelivery.objects.filter(pk=ids[0]).update(attempts=1)
    rows = WebhookDelivery.objects
    leased = rows.acquire(ids, seconds=60, max_attempts=8, only_new=True)
    assert [delivery.pk for delivery in leased] == ids[1:]
    assert rows.acquire(ids, seconds=60, max_attempts=8, only_new=True) == []
    (outcome,) = processing.process(ids)
    assert (outcome.delivery_id, outcome.state) == (ids[0], State.PROCESSED)


def test_every_new_file_is_announced(django_capture_on_commit_callbacks: Any) -> None:
    ids = store(*(fs_workflow(f"h{n}", tags={"a": n}, job_id=f"j{n}") for n in range(3)))
    announced: list[str] = []

    def listen(asset: Asset, **more: Any) -> None:
        announced.append(asset.reference)

    asset_registered.connect(listen)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            processing.process(ids)
    finally:
        asset_registered.disconnect(listen)
    assert sorted(announced) == ["h0", "h1", "h2"]
