"""The pure parts of the chaos run, and its checks: every invariant can be seen to break."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from filestack_tags.db.text import reference_digest
from filestack_tags.models import (
    Asset,
    AssetTag,
    BulkJob,
    BulkJobItem,
    DailyUsage,
    ModelFile,
    OutboundMessage,
    Tag,
    TaggingRun,
    TagMerge,
    WebhookDelivery,
)

from . import canned, crashing, plan
from .emulator import owner
from .invariants import Facts, judge

HANDLE = "HANDLE"


def test_the_same_seed_draws_the_same_plan() -> None:
    drawn = plan.draw("seed", kills=20, seconds=100)
    assert drawn == plan.draw("seed", kills=20, seconds=100)
    assert drawn != plan.draw("another", kills=20, seconds=100)


def test_a_plan_holds_every_kind_as_often_as_asked_for_and_within_its_time() -> None:
    drawn = plan.draw("seed", kills=20, seconds=100)
    assert Counter(strike.kind for strike in drawn) == dict.fromkeys(plan.KINDS, 20)
    assert all(0 < strike.at < 100 for strike in drawn)
    assert drawn == sorted(drawn)


def test_every_kind_has_one_lane() -> None:
    assert Counter(kind for lane in plan.LANES for kind in lane) == dict.fromkeys(plan.KINDS, 1)


@pytest.mark.parametrize("events", [0, 1, 99, 1000])
def test_a_mix_holds_as_many_events_as_asked_for(events: int) -> None:
    assert plan.mix(events).events == events


def test_labels_tell_the_versions_of_all_files_apart() -> None:
    seen = [canned.labels(canned.content("s", file, n)) for file in range(200) for n in (0, 1)]
    assert len({tuple(sorted(labels.items())) for labels in seen}) == len(seen)


def test_an_armed_point_kills_the_first_process_that_comes_by(tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir()
    crashing.arm(tmp_path, plan.AFTER_CALL, 1, whole_group=False)

    def come_by() -> int:
        program = "from tests.chaos import crashing, plan; crashing.crash(plan.AFTER_CALL)"
        environment = os.environ | {crashing.DIRECTORY: str(tmp_path)}
        return subprocess.run([sys.executable, "-c", program], env=environment).returncode

    assert come_by() == -signal.SIGKILL
    assert come_by() == 0
    (line,) = (tmp_path / "crashes.log").read_text().splitlines()
    assert line.split("\t")[1] == plan.AFTER_CALL


def test_a_point_that_is_armed_leaves_the_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(crashing.DIRECTORY, str(tmp_path))
    (tmp_path / "tokens").mkdir()
    crashing.arm(tmp_path, plan.BEFORE_CALL, 1, whole_group=True)
    assert crashing.take(plan.AFTER_CALL) is None
    assert crashing.take(plan.BEFORE_CALL) == crashing.WITH_ITS_GROUP
    crashing.arm(tmp_path, plan.BEFORE_CALL, 2, whole_group=True)
    assert crashing.disarm(tmp_path) == 1
    assert crashing.take(plan.BEFORE_CALL) is None


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's tables are read")
def test_the_process_behind_a_connection_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert owner(client.getsockname()[1], port) == os.getpid()
        assert owner(port, port) is None


@pytest.fixture
def facts(db: None) -> Facts:
    """One file that was uploaded, tagged once, and given a tag by hand."""
    asset = Asset.objects.create(
        kind=Asset.Kind.HANDLE,
        reference=HANDLE,
        digest=reference_digest("handle", HANDLE),
        tagging_state=Asset.State.TAGGED,
        tags_version=1,
    )
    run = TaggingRun.objects.create(
        asset=asset, tagger="filestack", state="succeeded", trigger="upload", content_version=1
    )
    labels = canned.labels(canned.content("seed", 1, 0))
    for name, confidence in (*labels.items(), ("by hand", 100)):
        tag = Tag.objects.create(key=name, name=name, asset_count=1)
        decision = AssetTag.Decision.ADDED if name == "by hand" else AssetTag.Decision.NONE
        AssetTag.objects.create(
            asset=asset,
            tag=tag,
            confidence=confidence,
            score=confidence,
            decision=decision,
            run=run,
        )
    delivery("fp.upload:1", state="processed", asset=asset)
    DailyUsage.objects.create(day=timezone.now().date(), calls=1)
    ended = {"due_at": None}
    OutboundMessage.objects.create(endpoint_id=1, event="asset.tagged", state="sent", **ended)
    ModelFile.objects.create(field="a.b.c", row="1", state="registered", **ended)
    TagMerge.objects.create(source_id=1, target_id=2, state="merged", **ended)
    for ids_digest in ("", "digest"):
        job = BulkJob.objects.create(
            action="retag",
            ids_digest=ids_digest,
            ceiling=asset.pk,
            state="finished",
            done=1,
            changed=1,
            **ended,
        )
    BulkJobItem.objects.create(job=job, asset=asset, outcome="changed")
    return Facts(
        seed="seed",
        files={HANDLE: {"serial": 1, "version": 0, "overwrites": 0, "deleted": False}},
        accepted={"fp.upload:1"},
        failing=set(),
        refused={"fp.delete:2"},
        undelivered=0,
        decisions={(HANDLE, "by hand"): AssetTag.Decision.ADDED},
        calls=Counter({HANDLE: 1}),
    )


def delivery(key: str, **values: Any) -> None:
    if values.get("state", "received") not in ("received", "processing"):
        values["due_at"] = None
    WebhookDelivery.objects.create(event_key=key, raw_body=b"{}", **values)


def machine_rows() -> Any:
    return AssetTag.objects.filter(decision=AssetTag.Decision.NONE)


def test_everything_holds_of_rows_that_are_right(facts: Facts) -> None:
    assert not [finding for finding in judge(facts) if finding.broken]


PROCESSED = "every event answered 2xx is processed"
OPEN = "no work is left open"
COUNTED = "no asset of a bulk job is counted twice"
TAGGED = "every asset is tagged, or failed with a reason"
NEWEST = "tags are those of the newest content"
HIDDEN = "deleted files are hidden, and no others"
DECIDED = "people's decisions are as they made them"
BUDGET = "calls made are counted, and within the budget"
DAMAGE: list[tuple[str, Callable[[Facts], object]]] = [
    (PROCESSED, lambda facts: WebhookDelivery.objects.all().delete()),
    (PROCESSED, lambda facts: WebhookDelivery.objects.update(state="failed")),
    (PROCESSED, lambda facts: facts.failing.add("fp.upload:1")),
    (
        "no event with a wrong signature is stored",
        lambda facts: delivery("fp.delete:2", state="processed"),
    ),
    (OPEN, lambda facts: delivery("fp.upload:3", state="processing")),
    (OPEN, lambda facts: Asset.objects.update(tagging_state="running", due_at=timezone.now())),
    (OPEN, lambda facts: TaggingRun.objects.update(state="started")),
    (
        OPEN,
        lambda facts: OutboundMessage.objects.update(state="waiting", due_at=timezone.now()),
    ),
    (OPEN, lambda facts: ModelFile.objects.update(state="waiting", due_at=timezone.now())),
    (OPEN, lambda facts: BulkJob.objects.update(state="running", due_at=timezone.now())),
    (OPEN, lambda facts: TagMerge.objects.update(state="undoing", due_at=timezone.now())),
    (OPEN, lambda facts: TagMerge.objects.update(state="merging", error="stopped")),
    (COUNTED, lambda facts: BulkJob.objects.filter(ids_digest="").update(done=2, changed=2)),
    (COUNTED, lambda facts: BulkJob.objects.exclude(ids_digest="").update(done=2, changed=2)),
    (COUNTED, lambda facts: BulkJob.objects.update(done=2)),
    (COUNTED, lambda facts: BulkJob.objects.update(action="export")),
    (TAGGED, lambda facts: Asset.objects.update(tagging_state="stale")),
    (TAGGED, lambda facts: Asset.objects.update(tagging_state="failed", error=" ")),
    (TAGGED, lambda facts: facts.files.update(OTHER=facts.files[HANDLE])),
    (NEWEST, lambda facts: machine_rows().update(confidence=7, score=7)),
    (NEWEST, lambda facts: machine_rows()[:1].get().delete()),
    (NEWEST, lambda facts: facts.files[HANDLE].update(version=1)),
    (HIDDEN, lambda facts: Asset.objects.update(deleted_at=timezone.now())),
    (HIDDEN, lambda facts: facts.files[HANDLE].update(deleted=True)),
    ("no event had its effect twice", lambda facts: Asset.objects.update(content_version=2)),
    (DECIDED, lambda facts: AssetTag.objects.exclude(decision=0).update(decision=1)),
    (DECIDED, lambda facts: AssetTag.objects.exclude(decision=0).delete()),
    (DECIDED, lambda facts: AssetTag.objects.update(decision=1)),
    (
        "no row is there twice",
        lambda facts: Asset.objects.create(kind="handle", reference=HANDLE, digest="other"),
    ),
    ("every tag's count of assets is right", lambda facts: Tag.objects.update(asset_count=2)),
    (
        "every call that was paid for has its run",
        lambda facts: facts.calls.update({HANDLE: 1}),
    ),
    (BUDGET, lambda facts: facts.calls.update({HANDLE: 1})),
]


@pytest.mark.parametrize(
    ("name", "damage"), DAMAGE, ids=[f"{name} {n}" for n, (name, _) in enumerate(DAMAGE)]
)
def test_every_invariant_can_break(
    facts: Facts, name: str, damage: Callable[[Facts], object]
) -> None:
    damage(facts)
    broken = {finding.name: finding for finding in judge(facts) if finding.broken}
    assert name in broken
    assert broken[name].examples


def test_every_invariant_has_been_broken(facts: Facts) -> None:
    assert {finding.name for finding in judge(facts)} == {name for name, _ in DAMAGE}


def test_more_calls_than_the_budget_allows_are_told(facts: Facts, settings: Any) -> None:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "BUDGET_PER_DAY": 1}
    assert not [finding for finding in judge(facts) if finding.broken]
    DailyUsage.objects.update(calls=2)
    assert [finding.name for finding in judge(facts) if finding.broken] == [BUDGET]
