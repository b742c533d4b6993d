"""Bulk jobs: each matching asset is changed once, despite crashes and concurrent workers."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.db import OperationalError
from django.utils import timezone

from filestack_tags import curation, tasks
from filestack_tags.assets import registry
from filestack_tags.curation import bulk
from filestack_tags.curation.bulk import actions, batches
from filestack_tags.exceptions import BulkError, SearchError
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, AssetTag, BulkJob, BulkJobItem, Tag, TagDecision
from tests.api.rows import person as permitted

pytestmark = pytest.mark.django_db

State = BulkJob.State
Request = bulk.BulkRequest


@pytest.fixture
def person() -> User:
    return permitted("editor", "view_asset", "change_asset", "tag_asset", "delete_asset")


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "batch_size", lambda: 2)


def tagged(number: int, tag: str = "sky", confidence: int = 80, **facts: Any) -> list[int]:
    made = []
    for n in range(number):
        facts = {"filename": f"{tag}{n}", **facts}
        asset, _ = registry.register(Source.handle(f"{tag}{n}"), facts=registry.Facts(**facts))
        curation.add(asset.pk, tag, user=None, confidence=confidence)
        made.append(asset.pk)
    AssetTag.objects.update(decision=AssetTag.Decision.NONE, source=AssetTag.Source.AUTO)
    return made


def asked(action: str, *, user: User | None = None, key: str = "", **how: Any) -> BulkJob:
    return bulk.create(Request(action, **how), user=user, key=key)[0]


def done(job: BulkJob) -> BulkJob:
    set_due()
    for _ in range(100):
        if not bulk.step(job.pk).goes_on:
            break
    job.refresh_from_db()
    return job


def set_due() -> None:
    BulkJob.objects.exclude(due_at=None).update(due_at=timezone.now())


def decisions(tag: str) -> dict[int, int]:
    rows = AssetTag.objects.filter(tag__key=tag)
    return dict(rows.values_list("asset_id", "decision"))


def count(tag: str) -> int:
    return Tag.objects.values_list("asset_count", flat=True).get(key=tag)


def test_all_that_match_get_the_tag_and_no_other(person: User) -> None:
    ids = tagged(5)
    tagged(2, "sea")
    job = done(asked("add_tag", query="sky", tag="Blue Sky", user=person))
    assert decisions("blue sky") == dict.fromkeys(ids, AssetTag.Decision.ADDED)
    assert (job.state, job.matched, job.done, job.changed) == (State.FINISHED, 5, 5, 5)
    assert job.finished_at
    assert AssetTag.objects.filter(tag__key="blue sky", decided_by=person).count() == 5
    assert count("blue sky") == 5


def test_to_remove_is_to_reject_so_that_it_stays_away() -> None:
    ids = tagged(3)
    job = done(asked("remove_tag", tag="sky"))
    assert decisions("sky") == dict.fromkeys(ids, AssetTag.Decision.REJECTED)
    assert (job.changed, count("sky")) == (3, 0)


def test_only_confidences_of_the_range_are_accepted() -> None:
    sure = tagged(2, confidence=90)
    tagged(2, "sea", 90)
    AssetTag.objects.filter(asset=sure[0]).update(confidence=40, score=40)
    job = done(asked("accept_tag", tag="sky", confidence=(50, 100)))
    assert decisions("sky")[sure[1]] == AssetTag.Decision.ACCEPTED
    assert decisions("sky")[sure[0]] == AssetTag.Decision.NONE
    assert (job.done, job.changed) == (1, 1)


def test_what_is_so_already_is_skipped_with_the_reason() -> None:
    tagged(3)
    done(asked("accept_tag", tag="sky"))
    job = done(asked("accept_tag", tag="sky"))
    assert (job.changed, job.skipped, job.reasons) == (0, 3, {"same": 3})
    assert {item.reason for item in job.items.all()} == {"same"}


def test_later_uploads_are_not_swept_in() -> None:
    tagged(3)
    job = asked("add_tag", tag="old")
    tagged(2, "new")
    assert done(job).changed == 3


def test_of_a_list_of_ids_each_has_its_outcome() -> None:
    ids = tagged(4)
    wanted = (ids[0], ids[2], 10**9)
    job = done(asked("add_tag", tag="x", query="sky", asset_ids=wanted))
    found = dict(job.items.values_list("asset_id", "outcome"))
    assert found == {ids[0]: "changed", ids[2]: "changed", 10**9: "skipped"}
    assert job.items.get(asset_id=10**9).reason == "no_match"
    assert (job.done, job.changed, job.skipped) == (3, 2, 1)


def test_a_worker_that_dies_in_a_batch_has_done_none_of_it(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    ids = tagged(5)
    job = asked("add_tag", tag="x")
    assert bulk.step(job.pk).goes_on
    real = batches._record

    def die(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(batches, "_record", die)
    with pytest.raises(KeyboardInterrupt):
        bulk.step(job.pk)
    job.refresh_from_db()
    assert (job.done, len(decisions("x"))) == (2, 2)
    monkeypatch.setattr(batches, "_record", real)
    assert not BulkJob.objects.due()
    with time_machine.travel(timezone.now() + timedelta(minutes=2), tick=False):
        assert list(BulkJob.objects.due()) == [job]
        with django_capture_on_commit_callbacks(execute=True):
            tasks.sweep()
    job.refresh_from_db()
    assert (job.state, job.changed, sorted(decisions("x"))) == (State.FINISHED, 5, ids)


def test_the_sweep_leaves_a_running_job_to_its_task(
    told: list[Any], monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    tagged(5)
    job = asked("add_tag", tag="x")
    with time_machine.travel(timezone.now(), tick=False) as clock:
        assert bulk.step(job.pk).goes_on
        assert list(BulkJob.objects.due()) == [job]  # its next batch
        clock.shift(59)
        assert tasks.sweep() == {}
        assert not [one for one in told if one.name == "sweep.found"]
        clock.shift(2)
        with django_capture_on_commit_callbacks(execute=True):
            assert tasks.sweep() == {"bulk_jobs": 1}
    job.refresh_from_db()
    assert job.state == State.FINISHED


def test_a_job_that_meets_only_database_errors_fails_with_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tagged(1)
    job = asked("add_tag", tag="x")

    def fail(*arguments: Any) -> None:
        raise OperationalError("disk full: /var/secret")

    monkeypatch.setattr(batches, "_next", fail)
    for _ in range(batches.MAX_ATTEMPTS):
        set_due()
        with pytest.raises(OperationalError):
            bulk.step(job.pk)
    set_due()
    assert bulk.step(job.pk) == bulk.Step()
    job.refresh_from_db()
    assert (job.state, job.error_code) == (State.FAILED, "OperationalError")
    assert job.error == (
        "The last attempt failed with a database error, OperationalError. The log of the worker "
        "has the traceback."
    )


def test_a_job_that_is_cancelled_stops_after_its_batch() -> None:
    tagged(5)
    job = asked("add_tag", tag="x")
    bulk.step(job.pk)
    assert bulk.cancel(job.pk)
    assert not bulk.cancel(job.pk)
    job = done(job)
    assert (job.state, job.done, len(decisions("x"))) == (State.CANCELLED, 2, 2)
    assert not BulkJob.objects.due()


def test_one_asset_that_fails_keeps_no_other_from_its_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = tagged(5)
    real = actions.ACTIONS[BulkJob.Action.RETAG]

    def fails(job: BulkJob, batch: list[int]) -> Any:
        if ids[1] in batch:
            raise RuntimeError("secret")
        return real(job, batch)

    monkeypatch.setitem(batches.ACTIONS, BulkJob.Action.RETAG, fails)  # type: ignore[arg-type]
    job = done(asked("retag"))
    assert (job.state, job.changed, job.failed) == (State.FINISHED, 4, 1)
    (item,) = job.items.all()
    assert (item.asset_id, item.outcome) == (ids[1], BulkJobItem.Outcome.FAILED)
    assert item.error == "RuntimeError. The log holds the traceback."


def test_a_batch_that_fails_as_a_whole_is_tried_again_and_then_fails_the_job(
    monkeypatch: pytest.MonkeyPatch, longest_delay: None
) -> None:
    tagged(3)
    job = asked("add_tag", tag="x")

    def broken(*arguments: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(batches, "_next", broken)
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for attempt, delay in enumerate((15, 30), 1):
            step = bulk.step(job.pk)
            assert (step.goes_on, step.retry_at) == (
                False,
                timezone.now() + timedelta(seconds=delay),
            )
            assert bulk.step(job.pk) == bulk.Step()  # not before the retry time
            job.refresh_from_db()
            assert (job.state, job.attempts) == (State.WAITING, attempt)
            clock.shift(delay)
        assert bulk.step(job.pk).retry_at is None
    job.refresh_from_db()
    assert (job.state, job.attempts) == (State.FAILED, batches.TRIES)
    assert "traceback" in job.error


def test_a_key_makes_asking_twice_one_job(person: User) -> None:
    tagged(1)
    request = Request("add_tag", tag="x")
    first, created = bulk.create(request, user=person, key="k")
    again, created_again = bulk.create(request, user=person, key="k")
    assert (first.pk, created, created_again) == (again.pk, True, False)
    with pytest.raises(BulkError, match="used for another job") as raised:
        bulk.create(Request("add_tag", tag="y"), user=person, key="k")
    assert raised.value.conflict
    other, created = bulk.create(request, user=User.objects.create_user("other"), key="k")
    assert created
    assert other.pk != first.pk


@pytest.mark.parametrize(
    ("request_", "parameter"),
    [
        (Request("nothing"), "action"),
        (Request("undo"), "action"),
        (Request("add_tag"), "tag"),
        (Request("accept_tag", tag="never seen"), "tag"),
        (Request("add_tag", tag="x", confidence=(1, 2)), "confidence"),
        (Request("accept_tag", tag="sky", confidence=(60, 50)), "confidence"),
        (Request("export", format="xls"), "format"),
        (Request("export", tag="sky"), "tag"),
        (Request("run_workflow", tagger="none"), "tagger"),
        (Request("export", asset_ids=()), "asset_ids"),
        (Request("export", asset_ids=(1, 0)), "asset_ids"),
        (Request("export", asset_ids=tuple(range(10_001))), "asset_ids"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_with_its_place(
    request_: bulk.BulkRequest, parameter: str
) -> None:
    tagged(1)
    with pytest.raises(BulkError) as raised:
        bulk.create(request_, user=None)
    assert raised.value.parameter == parameter
    assert not BulkJob.objects.exists()


def test_a_search_that_cannot_be_read_is_no_job() -> None:
    with pytest.raises(SearchError):
        asked("export", query="sky=>80")


def test_a_preview_says_how_many_and_what_they_cost(settings: Any) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "PRICE_PER_CALL": 0.5, "BUDGET_PER_DAY": 7,
    }  # fmt: skip
    tagged(3)
    shown = bulk.preview(Request("retag", query="sky"), user=None)
    assert (shown.assets.count, shown.calls, shown.cost, shown.left) == (3, 3, 1.5, 7)
    assert not shown.can_be_undone
    assert bulk.preview(Request("archive"), user=None).can_be_undone
    assert not BulkJob.objects.exists()


def test_to_retag_queues_all_and_waits_while_the_queue_is_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tagged(5)
    monkeypatch.setattr(batches, "MOST_QUEUED", 4)
    job = asked("retag")
    steps = [bulk.step(job.pk) for _ in range(3)]
    assert [len(step.to_tag) for step in steps] == [2, 2, 0]
    assert steps[-1].retry_at
    job.refresh_from_db()
    assert (job.held, job.changed) == ("queue", 4)
    Asset.objects.update(tagging_state=Asset.State.TAGGED, due_at=None)
    job = done(job)
    assert (job.state, job.changed, job.held) == (State.FINISHED, 5, "")


def test_the_task_has_them_tagged(script: Any, django_capture_on_commit_callbacks: Any) -> None:
    ids = tagged(3)
    with django_capture_on_commit_callbacks(execute=True):
        job, _ = tasks.start_bulk_job(Request("retag"), user=None)
    job.refresh_from_db()
    assert (job.state, job.changed) == (State.FINISHED, 3)
    states = set(Asset.objects.filter(pk__in=ids).values_list("tagging_state", flat=True))
    assert states == {Asset.State.TAGGED}


def test_what_is_archived_comes_back_as_it_was() -> None:
    ids = tagged(3)
    job = done(asked("archive", query="sky"))
    assert (job.changed, count("sky")) == (3, 0)
    assert not Asset.objects.search("sky").exists()
    assert registry.restore_many(ids) == set(ids)
    assert count("sky") == 3
    assert Asset.objects.search("sky").count() == 3


def exported(job: BulkJob) -> str:
    return b"".join(bulk.read_parts(done(job))).decode()


def test_an_export_has_every_asset_once_under_one_header() -> None:
    ids = tagged(5)
    tagged(1, "sea")
    rows = list(csv.DictReader(io.StringIO(exported(asked("export", query="sky")), newline="")))
    assert [int(row["id"]) for row in rows] == ids[::-1]
    assert {row["tags"] for row in rows} == {"sky 80"}
    text = exported(asked("export", query="sky", format="jsonl"))
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["id"] for line in lines] == ids[::-1]
    assert lines[0]["tags"] == [
        {"name": "sky", "confidence": 80, "source": "auto", "decision": "none"}
    ]


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_a_csv_is_a_formula(begin: str) -> None:
    tagged(1, filename=f"{begin}SUM(A1)")
    (row,) = csv.DictReader(io.StringIO(exported(asked("export")), newline=""))
    assert row["filename"] == f"'{begin}SUM(A1)"
    (line,) = exported(asked("export", format="jsonl")).splitlines()
    assert json.loads(line)["filename"] == f"{begin}SUM(A1)"


def test_undo_brings_back_what_the_job_forgot_and_nothing_else() -> None:
    ids = tagged(5)
    registry.archive(ids[0])
    job = done(asked("archive"))
    registry.restore(ids[1])
    undoing = done(bulk.undo(job.pk, user=None))
    assert (undoing.changed, undoing.skipped, undoing.reasons) == (3, 1, {"since": 1})
    assert set(Asset.objects.present().values_list("pk", flat=True)) == set(ids[1:])
    with pytest.raises(BulkError, match="undone already"):
        bulk.undo(job.pk, user=None)


@pytest.mark.parametrize(
    ("action", "tag"),
    [("add_tag", "new"), ("remove_tag", "sky"), ("accept_tag", "sky"), ("reject_tag", "sky")],
)
def test_undo_takes_back_what_the_job_decided_and_nothing_else(
    action: str, tag: str, person: User
) -> None:
    ids = tagged(5)
    before = decisions("sky"), count("sky")
    job = done(asked(action, query="sky", tag=tag, user=person))
    log = TagDecision.objects.filter(job=job.pk)
    assert set(log.values_list("asset_id", "origin", "user")) == {
        (pk, "job", person.pk) for pk in ids
    }
    tag_id = Tag.objects.get(key=tag).pk
    by_hand = curation.reject if job.action in ("add_tag", "accept_tag") else curation.accept
    by_hand(ids[2], tag_id, user=None)
    since = TagDecision.objects.latest("pk")
    undoing = done(bulk.undo(job.pk, user=person))
    assert (undoing.changed, undoing.reasons) == (4, {"since": 1})
    assert decisions(tag)[ids[2]] == since.after_decision
    curation.undo(since.pk, user=None)
    curation.undo(log.get(asset=ids[2]).pk, user=None)
    assert (decisions("sky"), count("sky")) == before
    assert not AssetTag.objects.filter(tag__key="new").exists()


def test_what_cannot_be_undone_is_said() -> None:
    tagged(2)
    job = asked("archive")
    with pytest.raises(BulkError, match="still running"):
        bulk.undo(job.pk, user=None)
    with pytest.raises(BulkError, match="cannot be undone"):
        bulk.undo(done(asked("export")).pk, user=None)


def test_what_jobs_come_to_is_told(
    told: list[Any],
    person: User,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:
    def heard() -> list[tuple[str, float, str]]:
        said = [(one.name, one.value, "".join(one.labels.values())) for one in told]
        told.clear()
        return [each for each in said if each[0].startswith("bulk.")]

    tagged(3)
    with django_capture_on_commit_callbacks(execute=True):
        job = asked("archive", user=person, key="once")
        asked("archive", user=person, key="once")
        assert told == []
    later = time_machine.travel(timezone.now() + timedelta(minutes=5))
    with later, django_capture_on_commit_callbacks(execute=True):
        done(job)
    *counts, (name, seconds, action) = heard()
    assert counts == [
        ("bulk.requested", 1, "archive"),
        ("bulk.assets", 2, "archivechanged"),
        ("bulk.assets", 1, "archivechanged"),
        ("bulk.finished", 1, "archive"),
    ]
    assert (name, action) == ("bulk.seconds", "archive")
    assert 300 <= seconds < 330
    with django_capture_on_commit_callbacks(execute=True):
        undoing = bulk.undo(job.pk, user=person)
        bulk.cancel(undoing.pk)
        bulk.cancel(undoing.pk)
    assert [each[0] for each in heard()] == ["bulk.requested", "bulk.cancelled", "bulk.seconds"]
    monkeypatch.setattr(batches, "_next", None)
    with django_capture_on_commit_callbacks(execute=True):
        broken = asked("export", format="csv")
        for _ in range(batches.TRIES):
            set_due()
            bulk.step(broken.pk)
    assert [each[::2] for each in heard()][1] == ("bulk.failed", "export")
