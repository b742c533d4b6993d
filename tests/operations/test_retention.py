"""Retention: old rows are deleted, rows that may still be needed are kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, connections
from django.utils import timezone

from filestack_tags import curation, tasks
from filestack_tags.assets import registry
from filestack_tags.checks import check_settings
from filestack_tags.curation import bulk, merging
from filestack_tags.db import transactions
from filestack_tags.exceptions import BulkError, ConfigurationError, CurationError
from filestack_tags.filestack.sources import Source
from filestack_tags.management.commands import filestack_tags_prune
from filestack_tags.models import (
    Asset,
    AssetTag,
    BulkJob,
    Heartbeat,
    OutboundEndpoint,
    OutboundMessage,
    Tag,
    TagDecision,
    TaggingRun,
    TagMerge,
    WebhookDelivery,
)
from filestack_tags.operations import retention
from filestack_tags.operations.retention import Pruned
from filestack_tags.tagging import queue
from filestack_tags.testing.payloads import fp_delete
from tests.api.rows import tagged

State = WebhookDelivery.State

pytestmark = pytest.mark.django_db


def delivery(key: str, *, days: float = 31, state: str = State.PROCESSED) -> WebhookDelivery:
    received_at = timezone.now() - timedelta(days=days)
    is_open = state in (State.RECEIVED, State.PROCESSING)
    return WebhookDelivery.objects.create(
        event_key=key, raw_body=b"{}", state=state, received_at=received_at,
        due_at=received_at if is_open else None,
    )  # fmt: skip


def run(
    asset: Asset, *, days: float = 91, state: str = TaggingRun.State.SUCCEEDED, **columns: Any
) -> TaggingRun:
    return TaggingRun.objects.create(
        asset=asset, tagger="t", trigger="code", content_version=1, state=state, raw_reply="{}",
        finished_at=timezone.now() - timedelta(days=days), **columns,
    )  # fmt: skip


def keys() -> set[str]:
    return set(WebhookDelivery.objects.values_list("event_key", flat=True))


def with_raw_reply() -> set[int]:
    return set(TaggingRun.objects.exclude(raw_reply="").values_list("pk", flat=True))


def command(*options: str) -> str:
    out = StringIO()
    call_command("filestack_tags_prune", *options, stdout=out)
    return out.getvalue()


def test_only_old_deliveries_that_came_to_a_good_end_are_deleted() -> None:
    for state in State.values:
        delivery(f"old {state}", state=state)
        delivery(f"new {state}", state=state, days=29)
    assert retention.prune().deliveries == 2
    assert keys() == {
        *(f"new {state}" for state in State.values),
        *(f"old {state}" for state in (State.FAILED, State.RECEIVED, State.PROCESSING)),
    }


def test_an_event_is_known_for_as_long_as_filestack_may_send_it_again(deliver: Any) -> None:
    event = fp_delete("h")
    deliver(event)
    with time_machine.travel(timezone.now() + timedelta(hours=12, minutes=36), tick=False):
        retention.prune(deliveries=retention.LEAST_DAYS)
        assert deliver(event).content == b"Duplicate.\n"


@pytest.mark.parametrize(
    "kept",
    [{"deliveries": 0}, {"raw_replies": 0}, {"deliveries": -1}, {"exports": 0}, {"undo": 0}],
)
def test_less_than_a_day_is_refused(kept: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="12 hours"):
        retention.prune(**kept)
    options = [f"--{name.replace('_', '-')}={days}" for name, days in kept.items()]
    with pytest.raises(CommandError, match="1 day or more"):
        command(*options)


def test_settings_and_options_say_for_how_long(settings: Any) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"DELIVERY_RETENTION_DAYS": 10}
    for days in (5, 15, 25):
        delivery(str(days), days=days)
    assert retention.prune(deliveries=20).deliveries == 1
    assert retention.prune(deliveries=10**9).deliveries == 0
    assert retention.prune().deliveries == 1
    assert keys() == {"5"}


def test_a_run_survives_its_delivery(asset: Asset) -> None:
    told = run(asset, delivery=delivery("old"), days=1)
    kept = run(asset, delivery=delivery("new", days=1), days=1)
    assert retention.prune() == Pruned(deliveries=1)
    told.refresh_from_db()
    kept.refresh_from_db()
    assert told.delivery is None
    assert kept.delivery is not None
    assert told.raw_reply


def test_a_raw_reply_stays_while_it_is_young_open_or_shown(asset: Asset) -> None:
    shown_by_other = run(asset)
    run(asset)
    young = run(asset, days=89)
    started = run(asset, state=TaggingRun.State.STARTED)
    current = run(asset, shared_from=shown_by_other)
    Asset.objects.update(current_run=current)
    run(asset, state=TaggingRun.State.FAILED)
    run(asset, state=TaggingRun.State.SUPERSEDED, shared_from=young)
    assert retention.prune(dry_run=True).raw_replies == 3
    assert retention.prune().raw_replies == 3
    assert with_raw_reply() == {shown_by_other.pk, young.pk, started.pk, current.pk}


def test_batches_go_past_what_stays_to_the_last(
    asset: Asset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH_SIZE", 3)
    moment = timezone.now() - timedelta(days=40)
    for number in range(10):
        delivery(str(number), state=State.FAILED if number % 4 == 1 else State.PROCESSED)
        run(asset)
    WebhookDelivery.objects.filter(event_key__lt="7").update(received_at=moment)
    current = run(asset)
    Asset.objects.update(current_run=current)
    told: list[Pruned] = []
    assert retention.prune(report_progress=told.append) == Pruned(deliveries=7, raw_replies=10)
    assert keys() == {"1", "5", "9"}
    assert [so_far.deliveries for so_far in told[:3]] == [3, 6, 7]
    assert [so_far.raw_replies for so_far in told[-4:]] == [3, 6, 9, 10]


def test_pruning_twice_does_nothing_more_and_its_end_is_recorded(asset: Asset) -> None:
    delivery("old")
    run(asset)
    done = asdict(Pruned(deliveries=1, raw_replies=1))
    assert tasks.prune.delay().get() == done
    assert Heartbeat.objects.get(name="prune").found == done
    with time_machine.travel(timezone.now() + timedelta(days=1), tick=False):
        assert retention.prune() == Pruned()
        beat = Heartbeat.objects.get(name="prune")
        assert beat.found == asdict(Pruned())
        assert beat.finished_at == timezone.now()


def test_a_dry_run_only_counts(asset: Asset) -> None:
    delivery("old")
    run(asset)
    assert command("--dry-run") == (
        "1 deliveries would be deleted, 1 raw replies would be emptied; 0 parts of exports, "
        "0 items of bulk jobs and 0 rows of merges would be deleted; "
        "0 outbound messages and 0 runs would be deleted.\n"
    )
    assert keys() == {"old"}
    assert len(with_raw_reply()) == 1
    assert not Heartbeat.objects.exists()


def test_a_delivery_that_is_reopened_in_between_is_not_deleted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reopened = delivery("old").pk
    real = retention._delete

    def delete(ids: list[int]) -> int:
        assert tasks.replay(ids) == [reopened]
        return real(ids)

    monkeypatch.setattr(retention, "_delete", delete)
    assert retention.prune() == Pruned()
    assert keys() == {"old"}


class TestLeftovers:
    """What bulk jobs and merges leave behind."""

    @staticmethod
    def done(action: str, query: str = "", *, days: float, **what: Any) -> BulkJob:
        """Return a finished job that ended this many days ago."""
        job, _ = bulk.create(bulk.BulkRequest(action, query=query, **what), user=None)
        while bulk.step(job.pk).goes_on:
            pass
        ended = timezone.now() - timedelta(days=days)
        BulkJob.objects.filter(pk=job.pk).update(finished_at=ended)
        job.refresh_from_db()
        assert job.state == BulkJob.State.FINISHED
        return job

    @staticmethod
    def merged(source: str, target: str, *, days: float) -> TagMerge:
        ids = (Tag.objects.get(key=key).pk for key in (source, target))
        merge = merging.start(*ids, user=None)
        assert merging.work(merge.pk)
        ended = timezone.now() - timedelta(days=days)
        TagMerge.objects.filter(pk=merge.pk).update(updated_at=ended)
        merge.refresh_from_db()
        return merge

    def test_the_file_of_an_old_export_goes_and_its_job_stays(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bulk.batches, "batch_size", lambda: 1)
        monkeypatch.setattr(retention, "BATCH_OF_PARTS", 2)
        for number in range(3):
            tagged(f"h{number}", {"sky": 90})
        old, young = (self.done("export", days=days) for days in (31, 29))
        assert old.parts.count() == 3
        assert retention.prune(dry_run=True).export_parts == 3
        told: list[Pruned] = []
        assert retention.prune(report_progress=told.append).export_parts == 3
        assert [so_far.export_parts for so_far in told] == [2, 3]
        old.refresh_from_db()
        assert (old.parts.count(), young.parts.count()) == (0, 3)
        assert old.pruned_at is not None
        assert BulkJob.objects.get(pk=young.pk).pruned_at is None
        assert retention.prune(exports=1).export_parts == 3

    def test_what_an_old_job_noted_goes_and_with_it_the_way_to_undo_archiving(self) -> None:
        asset = tagged("h", {"sky": 90})
        accepted = self.done("accept_tag", tag="sky", asset_ids=(asset.pk,), days=91)
        archived = self.done("archive", days=91)
        assert bulk.can_be_undone(archived)
        assert retention.prune().job_items == 2
        for job in (accepted, archived):
            job.refresh_from_db()
        with pytest.raises(BulkError, match="so old"):
            bulk.undo(archived.pk, user=None)
        # Its decisions are in the log, which is never pruned.
        undoing = bulk.undo(accepted.pk, user=None)
        registry.restore(asset.pk)
        assert not bulk.step(undoing.pk).goes_on
        assert asset.asset_tags.get().decision == AssetTag.Decision.NONE

    def test_a_job_that_is_open_or_being_undone_is_left_alone(self) -> None:
        tagged("h", {"sky": 90})
        archived = self.done("archive", days=91)
        undoing = bulk.undo(archived.pk, user=None)
        assert retention.prune() == Pruned()
        while bulk.step(undoing.pk).goes_on:
            pass
        assert Asset.objects.present().count() == 1
        assert retention.prune().job_items == 1

    def test_the_rows_before_an_old_merge_go_and_it_cannot_be_undone_any_more(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "BATCH_SIZE", 1)
        for number in range(2):
            tagged(f"h{number}", {"sky": 90, "heaven": 70, "sea": 10, "ocean": 20})
        old = self.merged("heaven", "sky", days=91)
        young = self.merged("ocean", "sea", days=89)
        assert retention.prune(dry_run=True).merge_rows == 4
        assert retention.prune().merge_rows == 4
        assert (old.rows.count(), young.rows.count()) == (0, 4)
        with pytest.raises(CurationError, match="UNDO_RETENTION_DAYS"):
            merging.undo(old.pk, user=None)
        merging.undo(young.pk, user=None)
        assert retention.prune(undo=1) == Pruned()  # it is being undone
        assert merging.work(young.pk)
        assert Asset.objects.search("ocean").count() == 2

    def test_pruning_that_was_stopped_goes_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retention, "BATCH_SIZE", 1)
        for number in range(3):
            tagged(f"h{number}", {"sky": 90, "heaven": 70})
        merge = self.merged("heaven", "sky", days=91)

        def stop(_so_far: Pruned) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            retention.prune(report_progress=stop)
        merge.refresh_from_db()
        assert (merge.rows.count(), merge.pruned_at is None) == (4, False)
        assert retention.prune().merge_rows == 4


class TestCommand:
    def test_says_what_it_did_and_how_far_it_is_in_lines(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "BATCH_SIZE", 1)
        monkeypatch.setattr(filestack_tags_prune, "LINE_EVERY", 2)
        for number in range(3):
            delivery(str(number))
        lines = command("--deliveries", "1").splitlines()
        assert [line.partition(";")[0] for line in lines] == [
            "2 deliveries deleted, 0 raw replies emptied",
            "3 deliveries deleted, 0 raw replies emptied",
        ]

    def test_counts_on_one_line_of_a_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Terminal(StringIO):
            def isatty(self) -> bool:
                return True

        monkeypatch.setattr(retention, "BATCH_SIZE", 1)
        for number in range(2):
            delivery(str(number))
        terminal = Terminal()
        call_command("filestack_tags_prune", stdout=terminal, no_color=True)
        shown = terminal.getvalue()
        assert shown.count("\n") == 1
        assert [line.partition(" ")[0] for line in shown.split("\r")] == ["", "1", "2", "2"]

    def test_interrupted_it_says_what_was_done(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retention, "BATCH_SIZE", 1)
        for number in range(3):
            delivery(str(number))
        real = retention._delete

        def delete(ids: list[int]) -> int:
            if WebhookDelivery.objects.count() == 1:
                raise KeyboardInterrupt
            return real(ids)

        monkeypatch.setattr(retention, "_delete", delete)
        with pytest.raises(CommandError, match=r"Stopped\. 2 deliveries deleted") as caught:
            command()
        assert caught.value.returncode == 130
        assert WebhookDelivery.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite has one writer; PostgreSQL and MariaDB run it"
)
class TestAtOnce:
    def test_what_somebody_writes_is_left_to_the_next_time(self, asset: Asset) -> None:
        held = delivery("held")
        held_run = run(asset, delivery=delivery("of a held run"), days=1)
        delivery("free")

        def prune(_: int = 0) -> int:
            try:
                return retention.prune().deliveries
            finally:
                connections.close_all()

        with ThreadPoolExecutor(2) as pool:
            with transactions.atomic():
                transactions.locked(TaggingRun.objects.filter(pk=held_run.pk)).get()
                transactions.locked(WebhookDelivery.objects.filter(pk=held.pk)).get()
                assert pool.submit(prune).result(timeout=10) == 1
                assert keys() == {"held", "of a held run"}
            # Concurrent calls skip each other's locked rows: each is deleted once, or the next
            # time.
            assert sum(pool.map(prune, range(2))) + len(keys()) == 2
        retention.prune()
        assert keys() == set()


def test_old_runs_are_deleted_unless_something_needs_them(script: Any) -> None:
    asset, other = (registry.register(Source.handle(f"h{n}"))[0] for n in range(2))
    old = 366
    current = run(asset, days=old)
    source, sharing = run(asset, days=old), run(other, days=old)
    TaggingRun.objects.filter(pk=sharing.pk).update(shared_from=source)
    Asset.objects.filter(pk=asset.pk).update(current_run=current)
    Asset.objects.filter(pk=other.pk).update(current_run=sharing)
    kept = delivery("failed", state=State.FAILED, days=old)
    needed = {
        current.pk, source.pk, sharing.pk,
        run(asset, days=old, delivery=kept).pk,
        run(asset, days=364).pk,
        run(asset, days=old, state=TaggingRun.State.STARTED).pk,
    }  # fmt: skip
    done = delivery("processed", days=old)
    for state in (TaggingRun.State.FAILED, TaggingRun.State.SUPERSEDED):
        run(asset, days=old, state=state)
    run(asset, days=old, delivery=done)
    assert retention.prune(dry_run=True).runs == 2  # the third still has its delivery
    assert retention.prune().runs == 3
    assert set(TaggingRun.objects.values_list("pk", flat=True)) == needed
    assert retention.prune().runs == 0


def test_decisions_and_their_undo_outlive_the_runs(asset: Asset, script: Any) -> None:
    queue.request([asset.pk])
    queue.tag(asset.pk)
    tag = Tag.objects.get(key="sky")
    curation.reject(asset.pk, tag.pk, user=None)
    queue.request([asset.pk], force=True)
    queue.tag(asset.pk)
    earlier = TaggingRun.objects.order_by("pk")[0]
    TaggingRun.objects.update(finished_at=timezone.now() - timedelta(days=400))
    assert retention.prune().runs == 1
    assert not TaggingRun.objects.filter(pk=earlier.pk).exists()
    curation.undo(TagDecision.objects.get().pk, user=None)
    assert AssetTag.objects.get(asset=asset, tag=tag).decision == AssetTag.Decision.NONE


def test_runs_are_deleted_in_batches(asset: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH_SIZE", 2)
    for _ in range(5):
        run(asset, days=5)
    told: list[int] = []
    assert (
        retention.prune(runs=4, report_progress=lambda so_far: told.append(so_far.runs)).runs
        == 5
    )
    assert told[:3] == [2, 4, 5]


@pytest.mark.parametrize("days", [0, 1, 2, -5])
def test_runs_are_kept_until_no_result_can_come(asset: Asset, settings: Any, days: int) -> None:
    run(asset, days=9)
    with pytest.raises(ConfigurationError, match="runs for 3"):
        retention.prune(runs=days)
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"RUN_RETENTION_DAYS": days}
    assert {message.id for message in check_settings()} <= {
        "filestack_tags.E003", "filestack_tags.E042",
    }  # fmt: skip
    assert check_settings()
    assert TaggingRun.objects.exists()


def test_a_step_that_fails_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    delivery("old")
    OutboundMessage.objects.create(
        endpoint=OutboundEndpoint.objects.create(url="https://hooks.example/", events=[]),
        event="asset.tagged",
        state=OutboundMessage.State.SENT,
        due_at=None,
        created_at=timezone.now() - timedelta(days=31),
    )

    def fail(*args: Any) -> int:
        raise OperationalError("no such cursor")

    monkeypatch.setattr(retention, "_delete", fail)
    with pytest.raises(OperationalError, match="no such cursor"):
        retention.prune()
    assert WebhookDelivery.objects.count() == 1
    assert not OutboundMessage.objects.exists()
    assert not Heartbeat.objects.exists()  # it did not succeed
    monkeypatch.undo()
    assert retention.prune().deliveries == 1
    assert Heartbeat.objects.exists()
