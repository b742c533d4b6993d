"""A batch writes the same rows as single decisions, with the same number of statements."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Model
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from filestack_tags import curation
from filestack_tags.assets import registry, tags
from filestack_tags.curation import bulk, merging
from filestack_tags.filestack.sources import Source
from filestack_tags.models import (
    AssetTag,
    BulkJob,
    OutboundEndpoint,
    OutboundMessage,
    Tag,
    TagDecision,
)
from filestack_tags.outbound import outbox
from filestack_tags.signals import tag_decided

pytestmark = pytest.mark.django_db

Decision = AssetTag.Decision
VOLATILE = {"id", "webhook_id", "created_at", "due_at", "decided_at", "before_at", "job"}
STATES: list[dict[str, Any]] = [
    {"confidence": 80},
    {"confidence": 70, "run_id": 7},
    {"confidence": 60, "decision": Decision.ACCEPTED, "decided_at": True, "run_id": 7},
    {
        "confidence": 10,
        "tagger_confidence": 50,
        "decision": Decision.ACCEPTED,
        "decided_at": True,
        "run_id": 8,
    },
    {"confidence": 100, "source": AssetTag.Source.USER, "decision": Decision.ADDED},
    {"confidence": 40, "source": AssetTag.Source.USER, "run_id": 9},
]


@pytest.fixture
def editor() -> User:
    return User.objects.create_superuser("editor")


@pytest.fixture
def endpoint(settings: Any) -> Iterator[OutboundEndpoint]:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "OUTBOUND_WEBHOOKS": True}
    outbox.clear_cache()
    yield OutboundEndpoint.objects.create(url="https://hooks.example/", events=["tag.decided"])
    outbox.clear_cache()


def asset_with(number: int, tag_id: int, **row: Any) -> int:
    pk: int = registry.register(Source.handle(f"h{number}"))[0].pk
    moment = timezone.now() if row.pop("decided_at", False) else None
    AssetTag.objects.create(
        asset_id=pk, tag_id=tag_id, score=row["confidence"], decided_at=moment, **row
    )
    tags.adjust_counts({tag_id: 1})
    return pk


def library(name: str = "sky", *, untagged: int = 1) -> list[int]:
    (tag_id,) = tags.resolve([name]).values()
    tagged = [asset_with(number, tag_id, **row) for number, row in enumerate(STATES)]
    return [
        *tagged,
        *(registry.register(Source.handle(f"untagged{n}"))[0].pk for n in range(untagged)),
    ]


def rows(model: type[Model]) -> list[dict[str, Any]]:
    fields = [field for field in model._meta.concrete_fields if field.name not in VOLATILE]
    return [
        {field.attname: field.value_from_object(item) for field in fields}
        for item in model._base_manager.order_by("pk")
    ]


def state() -> dict[str, Any]:
    """Return everything that decisions write, without ids and times."""
    undone = dict(TagDecision.objects.values_list("pk", "asset_id"))
    decisions = [row | {"undoes_id": undone.get(row["undoes_id"])} for row in rows(TagDecision)]
    messages = [
        row | {"body": json.loads(row["body"])["data"]} for row in rows(OutboundMessage)
    ]
    return {
        "asset tags": rows(AssetTag),
        "decisions": decisions,
        "messages": messages,
        "counts": dict(Tag.objects.values_list("key", "asset_count")),
        "decided": [
            (row.asset_id, row.decided_at is not None)
            for row in AssetTag.objects.order_by("pk")
        ],
    }


def finished(job: BulkJob) -> BulkJob:
    while bulk.step(job.pk).goes_on:
        pass
    job.refresh_from_db()
    assert job.state == BulkJob.State.FINISHED
    return job


@contextmanager
def rolled_back() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


SINGLE: dict[str, Callable[..., object]] = {
    "add_tag": curation.add,
    "remove_tag": curation.reject,
    "accept_tag": curation.accept,
    "reject_tag": curation.reject,
}


@pytest.mark.parametrize("action", SINGLE)
def test_a_job_leaves_the_same_rows_as_single_decisions(
    action: str, editor: User, endpoint: OutboundEndpoint
) -> None:
    ids = library()
    query = "" if action == "add_tag" else "sky"
    request = bulk.BulkRequest(action, query=query, tag="sky")
    with rolled_back():
        job = finished(bulk.create(request, user=editor)[0])
        by_job = state()
        finished(bulk.undo(job.pk, user=editor))
        undone_by_job = state()
    how: dict[str, Any] = {"user": editor, "origin": "job"}
    before = dict(AssetTag.objects.values_list("asset_id", "decision"))
    chosen = [pk for pk in reversed(ids) if action == "add_tag" or pk in before]
    if action == "accept_tag":  # a job does not accept what a user has decided already
        chosen = [pk for pk in chosen if before[pk] == Decision.NONE]
    for pk in chosen:
        SINGLE[action](pk, "sky", **how)
    assert state() == by_job
    assert len(by_job["decisions"]) == len(by_job["messages"]) > 1
    for pk in TagDecision.objects.order_by("-pk").values_list("pk", flat=True):
        curation.undo(pk, **how)
    assert state() == undone_by_job


def statements(work: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as captured:
        work()
    return len(captured)


@pytest.mark.parametrize("action", [*SINGLE, "archive"])
def test_the_number_of_statements_does_not_depend_on_the_size_of_a_batch(
    action: str, editor: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    library("sea")
    (sky,) = tags.resolve(["sky"]).values()
    for number in range(10, 70):
        asset_with(number, sky, confidence=50)
    tag = {"add_tag": "new", "archive": ""}.get(action, "sky")
    counted = []
    for size in (2, 40):
        monkeypatch.setattr(bulk.batches, "batch_size", lambda size=size: size)
        job, _ = bulk.create(bulk.BulkRequest(action, query="sky", tag=tag), user=editor)
        bulk.step(job.pk)
        forward = statements(lambda: bulk.step(job.pk))  # noqa: B023  called at once
        bulk.cancel(job.pk)
        undoing = bulk.undo(job.pk, user=editor)
        bulk.step(undoing.pk)
        job.refresh_from_db()
        assert job.changed > size
        counted.append((forward, statements(lambda: bulk.step(undoing.pk))))  # noqa: B023
    assert counted[0] == counted[1]


def test_a_merge_takes_as_many_statements_for_a_large_batch_as_for_a_small_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from filestack_tags.curation.merging import batches

    source, target = (tags.resolve([name])[name] for name in ("source", "target"))
    for number in range(40):
        asset_with(number, source, confidence=50)
        if number % 2:
            AssetTag.objects.create(
                asset_id=AssetTag.objects.latest("asset_id").asset_id,
                tag_id=target,
                confidence=30,
                score=30,
            )
    counted = []
    for size in (4, 20):
        monkeypatch.setattr(batches, "batch_size", lambda size=size: size)
        merge = merging.start(source, target, user=None)

        def one() -> None:
            merging.work(merge.pk, is_stopped=lambda: True)  # noqa: B023  called at once

        forward = statements(one)
        merging.undo(merge.pk, user=None)
        counted.append((forward, statements(one)))
        merging.work(merge.pk)
    assert counted[0] == counted[1]


def test_listeners_receive_the_row_and_the_decision_of_each_asset(
    editor: User, django_capture_on_commit_callbacks: Any
) -> None:
    library()
    received = []

    def listen(asset_tag: AssetTag, decision: str, **_: Any) -> None:
        received.append(
            (asset_tag.asset_id, asset_tag.score, asset_tag.decided_by_id, decision)
        )

    tag_decided.connect(listen)
    try:
        job, _ = bulk.create(
            bulk.BulkRequest("reject_tag", query="sky", tag="sky"), user=editor
        )
        with django_capture_on_commit_callbacks(execute=True):
            finished(job)
    finally:
        tag_decided.disconnect(listen)
    rejected = AssetTag.objects.filter(decision=Decision.REJECTED).order_by("-asset_id")
    assert received == [(row.asset_id, -1, editor.pk, "rejected") for row in rejected]
    assert len(received) == len(STATES)
