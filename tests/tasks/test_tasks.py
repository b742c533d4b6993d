"""Enqueueing: after the commit, and never lost with the broker."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from celery.signals import task_postrun, task_prerun
from django.utils import timezone
from kombu.exceptions import OperationalError

from filestack_tags import metrics, tasks
from filestack_tags.exceptions import ServerError
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, WebhookDelivery
from filestack_tags.tagging import queue
from filestack_tags.tasks import worker
from filestack_tags.testing.payloads import fp_upload
from tests import scripted

pytestmark = pytest.mark.django_db


class Sent(SimpleNamespace):
    """A task, as signals pass their sender."""

    __hash__ = object.__hash__


HANDLE = Source.handle("VJQTvCboRVivWJ2BpKgd")


def test_registering_tags_the_file_after_the_commit(
    script: Any, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        asset, created = tasks.register(HANDLE, trigger="api")
        assert (created, asset.tagging_state) == (True, Asset.State.QUEUED)
        assert not scripted.asked
    asset.refresh_from_db()
    assert asset.tagging_state == Asset.State.TAGGED
    with django_capture_on_commit_callbacks(execute=True):
        assert tasks.register(HANDLE)[1] is False
    assert len(scripted.asked) == 1


@pytest.mark.parametrize(
    ("name", "is_eager", "left"),
    [
        ("filestack_tags.sweep", False, True),
        ("filestack_tags.sweep", True, False),
        ("shop.bill", False, False),
    ],
)
def test_a_task_leaves_the_connection_that_the_last_one_broke(
    monkeypatch: pytest.MonkeyPatch, name: str, is_eager: bool, left: bool
) -> None:
    asked: list[bool] = []
    kept = SimpleNamespace(close_if_unusable_or_obsolete=lambda: asked.append(True))
    monkeypatch.setattr(worker, "connections", {"default": kept})
    task = Sent(name=name, request=SimpleNamespace(is_eager=is_eager))
    task_prerun.send(sender=task)
    task_postrun.send(sender=task)
    assert bool(asked) is left


@pytest.mark.parametrize(("auto", "tag", "state"), [
    (True, None, "queued"), (True, False, "new"), (False, None, "new"), (False, True, "queued"),
])  # fmt: skip
def test_the_caller_may_overrule_auto_tagging(
    settings: Any, auto: bool, tag: bool | None, state: str
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"AUTO_TAG": auto}
    assert tasks.register(HANDLE, tag=tag)[0].tagging_state == state


def test_a_broker_that_is_down_costs_nothing_but_time(
    script: Any, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("connection refused: redis://user:password@host")

    monkeypatch.setattr(tasks.tag_asset, "apply_async", refuse)
    counted: list[str] = []
    end = metrics.subscribe(lambda told: counted.append(told.name))
    with django_capture_on_commit_callbacks(execute=True):
        asset, _ = tasks.register(HANDLE)
    end()
    assert "broker.unreachable" in counted
    assert "left to the recovery task" in caplog.text
    assert "password" not in caplog.text
    monkeypatch.undo()
    Asset.objects.update(due_at=timezone.now() - timedelta(seconds=61))
    with django_capture_on_commit_callbacks(execute=True):
        assert tasks.sweep() == {"assets": 1}
    asset.refresh_from_db()
    assert asset.tagging_state == Asset.State.TAGGED


@pytest.mark.parametrize(("minutes", "sent"), [(5, True), (60, False)])
def test_only_short_waits_are_left_to_the_broker(
    script: Any, monkeypatch: pytest.MonkeyPatch, minutes: int, sent: bool
) -> None:
    asset, _ = tasks.register(HANDLE)
    script[:] = [ServerError("502", retry_at=timezone.now() + timedelta(minutes=minutes))]
    countdowns: list[float] = []
    monkeypatch.setattr(
        tasks.tag_asset,
        "apply_async",
        lambda args, countdown: countdowns.append(countdown),
    )
    tasks.tag_asset.run(asset.pk)
    assert len(countdowns) == sent
    assert all(countdown >= minutes * 60 - 1 for countdown in countdowns)


def test_a_retry_in_eager_mode_waits_for_the_sweep(script: Any) -> None:
    script[:] = [ServerError("502")]
    asset, _ = tasks.register(HANDLE)
    tasks.tag_asset.delay(asset.pk)
    asset.refresh_from_db()
    assert (asset.tagging_state, asset.attempts) == (Asset.State.QUEUED, 1)


def test_deliveries_are_replayed_once_they_are_done(
    deliver: Any, script: Any, django_capture_on_commit_callbacks: Any
) -> None:
    deliver(fp_upload(HANDLE.reference))
    (delivery,) = WebhookDelivery.objects.all()
    with django_capture_on_commit_callbacks(execute=True):
        assert tasks.replay([delivery.pk, 10**9]) == [delivery.pk]
        assert tasks.replay([delivery.pk]) == []
    delivery.refresh_from_db()
    assert delivery.state == WebhookDelivery.State.PROCESSED
    assert len(scripted.asked) == 1


def test_a_listener_that_fails_does_not_disturb_the_work(
    script: Any,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: Any,
) -> None:
    def listener(told: metrics.Measurement) -> None:
        raise RuntimeError

    end = metrics.subscribe(listener)
    asset, _ = tasks.register(HANDLE)
    with django_capture_on_commit_callbacks(execute=True):
        assert queue.tag(asset.pk).state == "succeeded"
    end()
    assert "metrics listener failed on tagging.completed" in caplog.text


def test_many_assets_are_queued_with_a_task_for_each_process_that_they_fill(
    script: Any, settings: Any, monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:  # fmt: skip
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "TAGGING_CONCURRENCY": 4,
        "AUTO_TAG": False,
    }
    ids = [tasks.register(Source.handle(f"h{number}"))[0].pk for number in range(10)]
    sent: list[int] = []
    with monkeypatch.context() as patch, django_capture_on_commit_callbacks(execute=True):
        patch.setattr(tasks.tag_asset, "apply_async", lambda args: sent.extend(args))
        assert tasks.request_tagging(ids) == ids
    assert sent == [ids[0], ids[4], ids[8]]
    tasks.tag_asset(sent[0])
    assert set(Asset.objects.values_list("tagging_state", flat=True)) == {"tagged"}
