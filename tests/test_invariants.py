"""The guarantees of docs/architecture.md, each by its number there.

Those that need two connections at once are in ``tests/db/test_concurrency.py``; that every search
equals a brute-force evaluation is in ``tests/search/test_oracle.py``.
"""

from __future__ import annotations

import json
import logging
import os
import pkgutil
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

import filestack_tags
from filestack_tags import curation, metrics, tasks
from filestack_tags.assets import registry
from filestack_tags.db.text import label_key
from filestack_tags.filestack.sources import Source
from filestack_tags.models import (
    Asset,
    AssetTag,
    Tag,
    TaggingRun,
    WebhookDelivery,
    score_of,
)
from filestack_tags.tagging import queue, results
from filestack_tags.testing import EmulatorApp, EmulatorConfig, EmulatorServer
from filestack_tags.testing.payloads import fp_upload, fs_workflow
from filestack_tags.webhooks import handlers, inbox, processing
from tests import examples, scripted, signed_headers

HANDLE = "VJQTvCboRVivWJ2BpKgd"
labels = st.sampled_from(["sky", "Sky", "sea", "no person", "straße", "STRASSE", "ﬁsh"])
confidences = st.integers(0, 100)
ACTS = ("accept", "reject", "withdraw", "add", "archive", "restore")
replies = st.builds(
    scripted.reply,
    st.dictionaries(labels, confidences, max_size=4),
    st.dictionaries(labels, confidences, max_size=2),
)


def rows_of(asset: Asset) -> set[tuple[Any, ...]]:
    return set(
        AssetTag.objects.filter(asset=asset).values_list(
            "tag__key", "confidence", "source", "decision", "decided_by", "decided_at"
        )
    )


def counts_of() -> dict[str, int]:
    return dict(Tag.objects.filter(asset_count__gt=0).values_list("key", "asset_count"))


def apply(asset: Asset, reply: Any, *, content_version: int = 1, at: Any = None) -> TaggingRun:
    run = TaggingRun.objects.create(
        asset=asset, tagger="t", trigger="code", content_version=content_version
    )
    results.apply(run.pk, reply, result_at=at or timezone.now())
    run.refresh_from_db()
    return run


class ResultProperties(TestCase):
    """Invariants 1, 2 and 3, for replies and decisions of every kind."""

    def setUp(self) -> None:
        self.asset = registry.register(Source.handle(HANDLE))[0]

    @examples(50)
    @given(st.lists(replies | st.tuples(st.sampled_from(ACTS), labels), max_size=8))
    def test_scores_and_counts_follow_whatever_is_done(self, steps: list[Any]) -> None:
        for step in steps:
            if not isinstance(step, tuple):
                apply(self.asset, step)
                continue
            act, name = step
            if act in ("archive", "restore"):
                getattr(registry, act)(self.asset.pk)
            elif act == "add":
                curation.add(self.asset.pk, name, user=None, confidence=55)
            elif tag := Tag.objects.filter(
                key=label_key(name), asset_tags__asset=self.asset
            ).first():
                getattr(curation, act)(self.asset.pk, tag.pk, user=None)
        self.asset.refresh_from_db()
        archived = self.asset.deleted_at is not None
        rows = AssetTag.objects.filter(asset=self.asset)
        for row in rows:
            assert row.score == score_of(row.confidence, row.decision, archived=archived)
        found = rows.filter(score__gte=0).values_list("tag__key", flat=True)
        assert counts_of() == dict.fromkeys(found, 1)

    @examples(50)
    @given(st.lists(replies, min_size=1, max_size=4))
    def test_1_applying_a_result_twice_equals_applying_it_once(self, given: list[Any]) -> None:
        for reply in given:
            run = apply(self.asset, reply)
            once, counts = (
                rows_of(self.asset),
                counts_of(),
            )
            for again in (scripted.reply({"other": 1}), reply):
                results.apply(run.pk, again, result_at=timezone.now())
                assert (rows_of(self.asset), counts_of()) == (once, counts)
            apply(self.asset, reply)
            assert (rows_of(self.asset), counts_of()) == (once, counts)

    @examples(50)
    @given(
        st.lists(
            st.tuples(st.integers(1, 3), st.integers(0, 5), replies), min_size=1, max_size=5
        ),
        st.randoms(use_true_random=False),
    )
    def test_2_the_newest_result_wins_in_whatever_order_they_arrive(
        self, given: list[Any], random: Any
    ) -> None:
        # One result for each (content version, time): which of two equal ones wins is not defined.
        unique = list({(version, moment): reply for version, moment, reply in given}.items())
        newest = max(unique, key=lambda item: item[0])[1]
        random.shuffle(unique)
        self.asset.content_version = 3
        self.asset.save()
        start = timezone.now()
        for (version, moment), reply in unique:
            apply(
                self.asset, reply, content_version=version, at=start + timedelta(seconds=moment)
            )
        shown = rows_of(self.asset)
        AssetTag.objects.filter(asset=self.asset).delete()
        Asset.objects.filter(pk=self.asset.pk).update(tags_version=0, tags_at=None)
        apply(self.asset, newest)
        assert {row[:3] for row in shown} == {row[:3] for row in rows_of(self.asset)}

    @examples(50)
    @given(
        replies,
        st.dictionaries(labels, st.sampled_from(["accept", "reject", "add"]), max_size=4),
        st.lists(replies, min_size=1, max_size=3),
    )
    def test_3_no_result_changes_a_decided_row(
        self, first: Any, decisions: dict[str, str], later: list[Any]
    ) -> None:
        apply(self.asset, first)
        for name, decision in decisions.items():
            row = curation.add(self.asset.pk, name, user=None, confidence=55)
            if decision != "add":
                getattr(curation, decision)(self.asset.pk, row.tag_id, user=None)
        decided = {row for row in rows_of(self.asset) if row[3] != AssetTag.Decision.NONE}
        for reply in later:
            apply(self.asset, reply)
        registry.content_changed(self.asset.pk, facts=registry.Facts(), at=timezone.now())
        apply(self.asset, later[0], content_version=2)
        assert decided <= rows_of(self.asset)
        shown = [row[0] for row in rows_of(self.asset) if row[3] != AssetTag.Decision.REJECTED]
        assert counts_of() == dict.fromkeys(shown, 1)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("score", "decision"), [(50, 0), (-2, 0), (90, AssetTag.Decision.REJECTED), (None, 0)]
)
def test_the_database_refuses_a_row_whose_score_breaks_the_rule(
    asset: Asset, score: int | None, decision: int
) -> None:
    tag = Tag.objects.create(key="sky", name="sky")
    with pytest.raises(IntegrityError), transaction.atomic():
        AssetTag.objects.create(
            asset=asset, tag=tag, confidence=90, score=score, decision=decision
        )
    AssetTag.objects.create(asset=asset, tag=tag, confidence=90, score=90)


@pytest.mark.django_db
def test_1_a_result_that_changes_nothing_writes_no_row(
    asset: Asset, django_assert_num_queries: Any
) -> None:
    apply(asset, scripted.reply({"sky": 90, "sea": 50}))
    run = TaggingRun.objects.create(asset=asset, tagger="t", trigger="code", content_version=1)
    # PostgreSQL looks up the names of tags and of aliases in one statement.
    with django_assert_num_queries(9 if connection.vendor == "postgresql" else 10) as captured:
        results.apply(run.pk, scripted.reply({"sea": 50, "sky": 90}), result_at=timezone.now())
    assert not [
        query["sql"]
        for query in captured.captured_queries
        if "assettag" in query["sql"] and not query["sql"].startswith("SELECT")
    ]


@pytest.mark.django_db
@pytest.mark.parametrize("step", ["handle", "close"])
def test_4_an_accepted_delivery_that_dies_in_processing_has_its_effect_once(
    deliver: Any, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    real_handle, real_close = handlers.HANDLERS["fs.workflow"], WebhookDelivery.close

    def dying(real: Any) -> Any:
        def die(*args: Any, **kwargs: Any) -> Any:
            real(*args, **kwargs)
            raise SystemExit  # as a killed process: no handler runs, the transaction is lost

        return die

    if step == "handle":
        monkeypatch.setattr(handlers, "HANDLERS", {"fs.workflow": dying(real_handle)})
    else:
        monkeypatch.setattr(WebhookDelivery, "close", dying(real_close))
    with pytest.raises(SystemExit):
        deliver(fs_workflow(HANDLE, tags={"sky": 90}, job_id="job-1"))
    monkeypatch.undo()
    assert not AssetTag.objects.exists()
    assert WebhookDelivery.objects.get().state == WebhookDelivery.State.PROCESSING

    with time_machine.travel(timezone.now() + timedelta(seconds=361), tick=False):
        (delivery_id,) = inbox.due()
        (outcome,) = processing.process([delivery_id])
        assert outcome.state == WebhookDelivery.State.PROCESSED
        assert processing.process([delivery_id]) == []
    assert AssetTag.objects.get().confidence == 90
    assert TaggingRun.objects.get().state == TaggingRun.State.SUCCEEDED


@pytest.mark.django_db
def test_4_a_delivery_whose_task_never_reached_the_broker_is_found(
    client: Any, script: Any
) -> None:
    body = json.dumps(fp_upload(HANDLE)).encode()
    headers = signed_headers(body)
    # The callbacks after the commit never run: the process crashed before them.
    response = client.post(
        "/filestack/webhook/", body, content_type="application/json", headers=headers
    )
    assert response.status_code == 200
    assert tasks.sweep() == {"deliveries": 1}
    (delivery_id,) = inbox.due()
    processing.process([delivery_id])
    with time_machine.travel(timezone.now() + timedelta(seconds=200), tick=False):
        (asset_id,) = queue.due()
        queue.tag(asset_id)
    assert Asset.objects.get().tagging_state == Asset.State.TAGGED


@pytest.mark.django_db
def test_4_an_error_is_kept_and_the_delivery_is_tried_again(
    deliver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> Any:
        Asset.objects.create(kind="handle", reference="half", digest="half")
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(handlers, "HANDLERS", {"fs.workflow": fail})
    deliver(fs_workflow(HANDLE, tags={"sky": 90}))
    delivery = WebhookDelivery.objects.get()
    assert delivery.state == WebhookDelivery.State.RECEIVED
    assert "the disk is full" in delivery.error
    assert not Asset.objects.exists()
    monkeypatch.undo()
    with time_machine.travel(delivery.due_at, tick=False):
        processing.process([delivery.pk])
    assert Asset.objects.search("sky>=90").exists()


@pytest.mark.django_db
def test_4_a_delivery_that_can_never_be_processed_is_given_up_visibly(
    deliver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> Any:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr(handlers, "HANDLERS", {"fs.workflow": fail})
    deliver(fs_workflow(HANDLE, tags={"sky": 90}))
    delivery = WebhookDelivery.objects.get()
    for _ in range(10):
        WebhookDelivery.objects.filter(state="received").update(due_at=timezone.now())
        processing.process([delivery.pk])
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == (WebhookDelivery.State.FAILED, 9)
    monkeypatch.undo()
    assert tasks.replay([delivery.pk]) == [delivery.pk]
    processing.process([delivery.pk])
    assert Asset.objects.search("sky>=90").exists()


@pytest.mark.django_db
def test_5_no_asset_stays_queued_or_running_whatever_its_tagger_does(script: Any) -> None:
    """Every way in which a tagger can end, repeatedly: the sweep brings each asset to a final
    state.
    """

    def die(source: Source) -> Any:
        raise SystemExit

    endings = [
        scripted.reply({"a": 1}),
        die,
        KeyError(),
        queue.TaggerError("x", retryable=True),
    ]
    ids = [registry.register(Source.handle(f"h{n}"))[0].pk for n in range(len(endings))]
    queue.request(ids)
    moment = timezone.now()
    for _ in range(12):
        moment += timedelta(hours=2)
        with time_machine.travel(moment, tick=False):
            for pk in queue.due():
                script[:] = [endings[ids.index(pk)]]
                try:
                    queue.tag(pk)
                except SystemExit:
                    continue
    states = dict(Asset.objects.values_list("pk", "tagging_state"))
    assert [states[pk] for pk in ids] == ["tagged", "failed", "failed", "failed"]
    assert not Asset.objects.exclude(due_at=None).exists()
    assert Asset.objects.filter(tagging_state="failed", error="").count() == 0


@pytest.mark.django_db
def test_6_no_secret_reaches_a_row_a_log_a_metric_or_a_message(
    deliver: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    secrets = ("CANARY-KEY", "CANARY-APP-SECRET", "CANARY-WEBHOOK")
    caplog.set_level(logging.DEBUG)
    counted: list[Any] = []
    end = metrics.subscribe(lambda told: counted.append((told.name, dict(told.labels))))
    settings.FILESTACK_TAGS = {
        "API_KEY": secrets[0],
        "APP_SECRET": secrets[1],
        "WEBHOOK_SECRETS": [secrets[2]],
    }
    try:
        # An account that knows neither the key nor the secret.
        with EmulatorApp(EmulatorConfig()) as app, EmulatorServer(app) as server:
            settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
                "CDN_URL": server.url, "API_URL": f"{server.url}/api",
            }  # fmt: skip
            for source in (Source.handle("abc"), Source.url("https://example.com/a.jpg")):
                asset, _ = tasks.register(source)
                queue.tag(asset.pk)
        refused = deliver(b"{}", **{"FS-Signature": "0" * 64})
    finally:
        end()
    assert TaggingRun.objects.filter(state="failed").count() == 2
    seen = [
        *(str(row) for model in (Asset, TaggingRun) for row in model.objects.values()),
        *(record.getMessage() for record in caplog.records),
        *map(str, counted),
        refused.content.decode(),
        repr(filestack_tags.conf.get_settings()),
    ]
    for text in seen:
        for secret in (*secrets, "security=", "policy=", "signature="):
            assert secret not in text


def test_8_no_setting_is_read_at_import_and_a_wrong_one_is_a_check() -> None:
    modules = [
        module.name
        for module in pkgutil.walk_packages(filestack_tags.__path__, "filestack_tags.")
        if not module.name.endswith("__main__")
    ]
    script = f"""
import importlib, django
from celery import Celery
from django.conf import settings
settings.configure(
    FILESTACK_TAGS="not a dict", ROOT_URLCONF="filestack_tags.urls", SECRET_KEY="x",
    INSTALLED_APPS=["django.contrib.admin.apps.SimpleAdminConfig", "django.contrib.auth",
        "django.contrib.contenttypes", "django.contrib.sessions", "django.contrib.messages",
        "rest_framework", "filestack_tags"],
    DATABASES={{}},
)
Celery("host", set_as_current=True)
django.setup()
for name in {modules!r}:
    importlib.import_module(name)
from django.core.checks import run_checks
print([message.id for message in run_checks() if message.id.startswith("filestack_tags")])
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=os.environ,
        check=False,
    )
    assert done.stdout.strip() == "['filestack_tags.E001']", done.stderr
