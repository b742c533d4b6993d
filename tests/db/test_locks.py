"""Row locks and writes are ordered, so that no two writers deadlock."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from traceback import walk_stack
from typing import Any
from unittest.mock import patch

import pytest
import time_machine
from django.db import OperationalError, connection
from django.utils import timezone

from filestack_tags import curation
from filestack_tags.assets import registry
from filestack_tags.assets.registry import Facts
from filestack_tags.curation import merging
from filestack_tags.db import transactions
from filestack_tags.fields import AssetOf
from filestack_tags.filestack.errors import ServerError
from filestack_tags.filestack.sources import Source
from filestack_tags.model_files import storing
from filestack_tags.models import (
    Asset,
    AssetTag,
    ModelFile,
    Tag,
    TagDecision,
    TaggingRun,
    WebhookDelivery,
)
from filestack_tags.operations import retention
from filestack_tags.tagging import asset_leases, queue
from filestack_tags.tagging.taggers import PendingJob
from filestack_tags.tasks import actions
from filestack_tags.testing.payloads import fp_delete, fp_overwrite, fp_upload, fs_workflow
from filestack_tags.webhooks import handlers, inbox, processing
from tests import scripted, signed_headers
from tests.hosts.shop.models import Photo

KEYS = {
    "filestack_tags_asset": {"id", "digest"},
    "filestack_tags_taggingrun": {"id", "job_id"},
    "filestack_tags_webhookdelivery": {"id", "event_key"},
    "filestack_tags_tag": {"id", "key"},
    "filestack_tags_circuit": {"id", "tagger"},
    "filestack_tags_dailyusage": {"id", "day"},
    "filestack_tags_modelfile": {"id", "field", "row"},
    "shop_photo": {"id"},
}
"""Columns by which a row may be found for writing: each is unique alone, or all together."""

WORKFLOW = "c516519f-3755-4fb5-85a4-15ae4b31d475"
"""The workflow of the recorded payloads."""

STORED = ("shop_photo", "filestack_tags_modelfile", "filestack_tags_asset")
"""The order in which :mod:`~filestack_tags.model_files.storing` locks the rows of a host's file."""

WRITES = re.compile(r"^(INSERT|UPDATE|DELETE|WITH held)|FOR (NO KEY )?UPDATE")


def receive(event: Mapping[str, Any]) -> int:
    body = json.dumps(event).encode()
    headers = signed_headers(body)
    return inbox.receive(body, headers).delivery_id


def unable(events: Any) -> Any:
    raise RuntimeError("a fault of our own")


def everything(script: Any, settings: Any) -> None:
    """Call every service that writes, on every code path."""
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "TAGGER": "tests.scripted.FollowedTagger",
        "LEASE_SECONDS": 300,
        "WORKFLOW_ID": WORKFLOW,
    }
    with time_machine.travel(timezone.now(), tick=False) as clock:

        def process(event: Mapping[str, Any]) -> None:
            (outcome,) = processing.process([receive(event)])
            assert outcome.state == WebhookDelivery.State.PROCESSED

        def later(**how_long: float) -> None:
            clock.shift(timedelta(**how_long))

        # A duplicate upload; a failing call, a lease that expires, a reply.
        upload = fp_upload("h")
        delivery = receive(upload)
        receive(upload)
        assert inbox.due() == [delivery]
        (pk,) = processing.process([delivery])[0].to_tag
        later(seconds=61)
        assert queue.due() == [pk]
        script[:] = [ServerError("Filestack answered 502."), scripted.reply({"sky": 90})]
        assert queue.tag(pk).retry_at
        later(hours=1)
        assert isinstance(
            asset_leases.acquire([pk])[0], asset_leases.Lease
        )  # and its process dies
        later(hours=1)
        assert queue.tag(pk).state == TaggingRun.State.SUCCEEDED
        assert inbox.replay([delivery]) == [delivery]
        assert processing.process([delivery])[0].state == WebhookDelivery.State.PROCESSED

        # A polled job, one that another run already has, one that never ends.
        script[:] = [PendingJob(WORKFLOW, "job-1", raw="{}")]
        assert queue.request([pk], force=True) == [pk]
        assert queue.tag(pk).state == Asset.State.RUNNING
        later(hours=1)
        script[:] = [ServerError("Filestack answered 502.")]
        assert queue.tag(pk).retry_at
        process(fs_workflow("h", tags={"sky": 80, "sea": 70}, job_id="job-1"))
        process(fs_workflow("h", tags={"sea": 75}, job_id="job-2"))
        queue.request([pk], force=True)
        script[:] = [PendingJob(WORKFLOW, "job-2", raw="{}")]
        assert queue.tag(pk).state == Asset.State.TAGGED
        queue.request([pk], force=True)
        script[:] = [PendingJob(WORKFLOW, "job-3", raw="{}")]
        queue.tag(pk)
        later(hours=48)
        assert queue.tag(pk).state == Asset.State.FAILED

        # A job whose answer is lost: its webhook finds the run by the file.
        queue.request([pk], tagger="workflow")
        assert isinstance(asset_leases.acquire([pk])[0], asset_leases.Lease)
        process(fs_workflow("h", tags={"sea": 60}, job_id="job-4"))
        assert TaggingRun.objects.get(job_id="job-4").trigger == TaggingRun.Trigger.CODE

        sea = Tag.objects.get(key="sea").pk
        curation.reject(pk, sea, user=None)
        curation.accept(pk, sea, user=None)
        curation.withdraw(pk, sea, user=None)
        curation.change(pk, sea, 40, user=None)
        curation.undo(TagDecision.objects.order_by("pk").last().pk, user=None)  # type: ignore[union-attr]  # there is one
        sun = curation.add(pk, "sun", user=None).tag_id
        curation.withdraw(pk, sun, user=None)
        curation.rename(sun, "Sunshine")
        curation.remove_alias(curation.add_alias(sun, "sol").pk)
        curation.set_minimum(sun, 50)
        curation.hide(sun)
        ocean = curation.add(pk, "ocean", user=None).tag_id
        merged = merging.start(ocean, sea, user=None)
        assert merging.work(merged.pk)
        merging.undo(merged.pk, user=None)
        assert merging.work(merged.pk)

        later(seconds=1)
        process(fp_overwrite("h"))
        later(seconds=1)
        facts = registry.Facts(size=1)
        assert registry.content_changed(pk, facts=facts, at=timezone.now())
        later(seconds=1)
        process(fp_delete("h"))
        assert registry.restore(pk)
        assert registry.archive(pk)
        registry.register(Source.handle("h"), facts=facts)
        with patch.dict(handlers.HANDLERS, {"fp.export": unable}):
            failing = receive({"id": 2, "action": "fp.export", "text": {}})
            assert processing.process([failing])[0].retry_at
        nonsense = receive({"id": 1, "action": "fp.upload", "text": {}})
        assert processing.process([nonsense])[0].state == WebhookDelivery.State.FAILED

        later(days=100)
        pruned = retention.prune()
        assert pruned.deliveries > 5
        assert pruned.raw_replies


def what_there_is() -> dict[str, Any]:
    rows = AssetTag.objects.order_by("tag__key")
    return {
        "tags": list(rows.values_list("tag__key", "confidence", "decision", "score")),
        "counts": dict(Tag.objects.values_list("key", "asset_count")),
        "asset": Asset.objects.values("tagging_state", "attempts", "content_version").get(),
        "runs": list(TaggingRun.objects.order_by("id").values_list("state", "job_id")),
        "deliveries": list(
            WebhookDelivery.objects.order_by("id").values_list("state", "duplicates")
        ),
    }


@pytest.mark.django_db(transaction=True)
class TestEveryWriter:
    def test_finds_its_rows_by_a_key_and_nothing_else(self, script: Any, settings: Any) -> None:
        statements: list[str] = []

        def record(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
            if WRITES.search(sql):
                statements.append(sql)
            return execute(sql, *rest)

        with connection.execute_wrapper(record):
            everything(script, settings)
        assert len(statements) > 50
        for table, keys in KEYS.items():
            column = re.compile(rf"""[`"]{table}[`"]\.[`"](\w+)[`"]""")
            for sql in statements:
                condition = sql.partition(" WHERE ")[2]
                assert set(column.findall(condition)) <= keys, sql

    def test_survives_a_deadlock_at_each_statement(
        self, script: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transactions, "FIRST_PAUSE", 0)
        monkeypatch.setattr(transactions, "TRIES", 50)
        failed: set[tuple[str, ...]] = set()

        def deadlock(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
            place = (sql, *(frame.f_code.co_name for frame, _ in walk_stack(None)))
            if WRITES.search(sql) and place not in failed:
                failed.add(place)
                raise OperationalError(1213, "Deadlock found when trying to get lock")
            return execute(sql, *rest)

        everything(script, settings)
        undisturbed = what_there_is()
        for model in (AssetTag, Asset, Tag, WebhookDelivery):
            model.objects.all().delete()
        with connection.execute_wrapper(deadlock):
            everything(script, settings)
        assert len(failed) > 50
        assert what_there_is() == undisturbed


def photos(store: Callable[[Photo], storing.Stored]) -> None:
    """Save, replace, remove and delete files of host rows, and store them."""
    with time_machine.travel(timezone.now(), tick=False) as clock:
        photo = Photo.objects.create(file="photos/a.jpg")
        assert store(photo).state == ModelFile.State.WAITING  # its storage is unreachable
        clock.shift(timedelta(hours=1))
        assert store(photo).state == ModelFile.State.REGISTERED
        assert Photo.objects.get().asset is not None
        photo.refresh_from_db()
        photo.file = "photos/b.jpg"
        photo.save()
        assert store(photo).state == ModelFile.State.REGISTERED
        Photo.objects.update(file="photos/c.jpg")  # sends no signals
        entry = ModelFile.objects.get()
        assert storing.retry([entry.pk]) == 0
        (changed,) = [rows for rows, _ in storing.changes(storing._field(entry.field)) if rows]
        assert storing.sync(storing._field(entry.field), changed, ()) == 1
        photo.refresh_from_db()
        photo.file = ""
        photo.save()
        assert not ModelFile.objects.exists()
        photo.file = "photos/words.txt"
        photo.save()
        assert store(photo).state == ModelFile.State.SKIPPED
        assert storing.retry([ModelFile.objects.get().pk]) == 1
        photo.delete()
        assert not ModelFile.objects.exists()
    assert Asset.objects.exclude(deleted_at=None).count() == Asset.objects.count() == 2


@pytest.mark.django_db(transaction=True)
class TestTheFilesOfAHostsRows:
    @pytest.fixture
    def store(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Photo], storing.Stored]:
        """Store the file of a photo; the first time, its storage is unreachable."""
        is_away = [True]

        def offer(field: AssetOf, entry: ModelFile) -> storing._Offer:
            if entry.name.endswith(".txt"):
                raise storing._Skipped("Words are not tagged.")
            if is_away and is_away.pop():
                raise ServerError("The storage answered 502.")
            return storing._Offer(Source.handle(f"h{len(entry.name)}{entry.name[7]}"), Facts())

        monkeypatch.setattr(storing, "_offer", offer)
        monkeypatch.setattr(actions, "publish", lambda *args, **options: None)
        return lambda photo: storing.store(ModelFile.objects.get(row=str(photo.pk)).pk)

    def test_are_locked_before_what_is_noted_of_them_and_that_before_the_asset(
        self, store: Callable[[Photo], storing.Stored]
    ) -> None:
        """In each transaction; a row that is already locked may be written again at any time."""
        if not connection.features.has_select_for_update:
            pytest.skip("SQLite has one writer at a time and locks no rows")
        orders: list[list[str]] = []
        table = re.compile("|".join(STORED))
        within: list[object] = [None]

        def record(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
            name = WRITES.search(sql) and table.search(sql)
            if name:
                outermost = connection.atomic_blocks[0] if connection.in_atomic_block else sql
                if within[0] is not outermost:
                    within[0] = outermost
                    orders.append([])
                if name[0] not in orders[-1]:
                    orders[-1].append(name[0])
                columns = set(
                    re.findall(
                        rf"""[`"]{name[0]}[`"]\.[`"](\w+)[`"]""", sql.partition(" WHERE ")[2]
                    )
                )
                assert columns <= KEYS[name[0]], sql
            return execute(sql, *rest)

        with connection.execute_wrapper(record):
            photos(store)
        assert orders
        for order in orders:
            assert order == sorted(order, key=STORED.index)
        assert [*STORED] in orders

    def test_survive_a_deadlock_at_each_statement(
        self, store: Callable[[Photo], storing.Stored], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transactions, "FIRST_PAUSE", 0)
        monkeypatch.setattr(transactions, "TRIES", 50)
        failed: set[tuple[str, ...]] = set()

        def deadlock(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
            place = (sql, *(frame.f_code.co_name for frame, _ in walk_stack(None)))
            # Retrying the host's own writes is not our task, nor those in its transactions, such as
            # in delete().
            is_ours = "run_with_retry" in place and "_deleted" not in place
            if WRITES.search(sql) and is_ours and place not in failed:
                failed.add(place)
                raise OperationalError(1213, "Deadlock found when trying to get lock")
            return execute(sql, *rest)

        with connection.execute_wrapper(deadlock):
            photos(store)
        assert len(failed) > 10
