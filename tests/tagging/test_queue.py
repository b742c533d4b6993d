"""Tagging: leases, retries, failures, jobs, and the sweep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from filestack_tags import tasks
from filestack_tags.assets import registry
from filestack_tags.error_codes import ErrorCode
from filestack_tags.exceptions import (
    ConfigurationError,
    RateLimited,
    ServerError,
    TaggerError,
    UnexpectedReply,
)
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, TaggingRun
from filestack_tags.signals import asset_tagged, tagging_failed
from filestack_tags.tagging import queue as tagging_queue
from filestack_tags.tagging.taggers import PendingJob
from tests import scripted

pytestmark = pytest.mark.django_db

State = Asset.State


def queue(asset: Asset, **kwargs: Any) -> Asset:
    assert tagging_queue.request([asset.pk], **kwargs) == [asset.pk]
    asset.refresh_from_db()
    return asset


def test_a_queued_asset_is_asked_about_once_and_tagged(
    asset: Asset, script: Any, tags_of: Any
) -> None:
    queue(asset, trigger="api")
    assert tagging_queue.tag(asset.pk).state == TaggingRun.State.SUCCEEDED
    assert tagging_queue.tag(asset.pk).state == State.TAGGED
    assert scripted.asked == [Source.handle(asset.reference)]
    assert tags_of(asset) == {"sky": 90}
    run = TaggingRun.objects.get()
    assert (run.tagger, run.trigger, run.http_status) == (
        "tests.scripted.ScriptedTagger", "api", 200,
    )  # fmt: skip
    asset.refresh_from_db()
    assert (asset.due_at, asset.attempts, asset.current_run) == (None, 0, run)


def test_only_what_needs_it_is_queued(asset: Asset, script: Any) -> None:
    other = registry.register(Source.handle("other"))[0]
    gone = registry.register(Source.handle("gone"))[0]
    registry.archive(gone.pk)
    assert tagging_queue.request([asset.pk, gone.pk, 10**9, other.pk]) == [asset.pk, other.pk]
    assert tagging_queue.request([asset.pk]) == []
    assert tagging_queue.request([asset.pk], force=True) == [
        asset.pk
    ]  # now with a fresh answer
    tagging_queue.tag(asset.pk)
    assert tagging_queue.request([asset.pk]) == []
    assert tagging_queue.request([asset.pk], force=True) == [asset.pk]


def test_a_request_may_name_another_tagger(asset: Asset, script: Any, settings: Any) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "TAGGER": "filestack",
        "TAGGERS": {"scripted": "tests.scripted.ScriptedTagger"},
    }
    queue(asset, tagger="scripted")
    assert tagging_queue.tag(asset.pk).state == TaggingRun.State.SUCCEEDED
    assert TaggingRun.objects.get().tagger == "scripted"
    with pytest.raises(ConfigurationError, match="nobody"):
        tagging_queue.request([asset.pk], tagger="nobody")


def test_an_asset_archived_meanwhile_is_not_asked_about(asset: Asset, script: Any) -> None:
    queue(asset)
    registry.archive(asset.pk)
    assert tagging_queue.tag(asset.pk).state == "gone"
    assert tagging_queue.tag(10**9).state == "gone"
    assert not scripted.asked


def test_a_temporary_failure_is_retried_later_and_then_settles(
    asset: Asset, script: Any, tags_of: Any, longest_delay: None
) -> None:
    queue(asset)
    script[:] = [
        *[ServerError("Filestack answered 502.", status=502)] * 2,
        scripted.reply({"sea": 50}),
    ]
    with time_machine.travel(datetime(2026, 1, 1, tzinfo=UTC), tick=False) as clock:
        Asset.objects.update(due_at=timezone.now())
        for attempt, delay in enumerate((15, 30), 1):
            outcome = tagging_queue.tag(asset.pk)
            asset.refresh_from_db()
            assert (asset.tagging_state, asset.attempts) == (State.QUEUED, attempt)
            assert asset.due_at == outcome.retry_at == timezone.now() + timedelta(seconds=delay)
            assert tagging_queue.tag(asset.pk).state == State.QUEUED
            assert len(scripted.asked) == attempt  # not before it is due
            clock.shift(delay)
        tagging_queue.tag(asset.pk)
    assert tags_of(asset) == {"sea": 50}
    failed = TaggingRun.objects.last()
    assert (failed.state, failed.error_code, failed.http_status) == (
        "failed",
        "server_error",
        502,
    )
    asset.refresh_from_db()
    assert (asset.tagging_state, asset.error) == (State.TAGGED, "")


def test_a_retry_never_comes_before_filestack_said(
    asset: Asset, script: Any, longest_delay: None
) -> None:
    reset = timezone.now() + timedelta(minutes=40)
    queue(asset)
    script[:] = [RateLimited("Too many calls.", status=429, retry_at=reset)]
    tagging_queue.tag(asset.pk)
    asset.refresh_from_db()
    assert asset.due_at == reset + timedelta(seconds=15)


def test_a_retry_that_filestack_puts_off_for_ever_comes_within_a_day(
    asset: Asset, script: Any
) -> None:
    queue(asset)
    script[:] = [RateLimited("No.", retry_at=timezone.now() + timedelta(days=900))]
    tagging_queue.tag(asset.pk)
    asset.refresh_from_db()
    assert asset.due_at <= timezone.now() + timedelta(days=1, minutes=1)


def test_retries_are_bounded_and_the_last_error_stays_readable(
    asset: Asset, script: Any, settings: Any
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"MAX_ATTEMPTS": 3}
    script[:] = [ServerError("Filestack answered 502.")]
    queue(asset)
    for _ in range(5):
        Asset.objects.filter(tagging_state=State.QUEUED).update(due_at=timezone.now())
        tagging_queue.tag(asset.pk)
    asset.refresh_from_db()
    assert TaggingRun.objects.count() == 3
    assert asset.tagging_state == State.FAILED
    assert asset.error == "Filestack answered 502."
    assert asset.due_at is None


def test_a_lasting_failure_is_not_retried_and_earlier_tags_stay(
    asset: Asset, script: Any, tags_of: Any, django_capture_on_commit_callbacks: Any
) -> None:
    queue(asset)
    tagging_queue.tag(asset.pk)
    script[:] = [UnexpectedReply("tags.auto gives 'sky' 101.", raw_reply='{"tags": 1}\x00')]
    queue(asset, force=True)
    heard: list[Any] = []
    tagging_failed.connect(
        lambda **kwargs: heard.append(kwargs["run"]), weak=False, dispatch_uid=1
    )
    try:
        with django_capture_on_commit_callbacks(execute=True):
            tagging_queue.tag(asset.pk)
    finally:
        tagging_failed.disconnect(dispatch_uid=1)
    asset.refresh_from_db()
    run = TaggingRun.objects.first()
    assert (asset.tagging_state, asset.error) == (
        State.FAILED,
        "tags.auto gives 'sky' 101.",
    )
    assert run.raw_reply == '{"tags": 1}�'
    assert tags_of(asset) == {"sky": 90}
    assert heard == [run]


def test_a_missing_setting_fails_the_run_with_its_fix(asset: Asset, settings: Any) -> None:
    settings.FILESTACK_TAGS = {"TAGGER": "no.such.Tagger"}
    queue(asset)
    tagging_queue.tag(asset.pk)
    run = TaggingRun.objects.get()
    assert run.error_code == "configuration"
    assert "TAGGER" in run.error


def test_a_tagger_that_raises_anything_is_tried_again(asset: Asset, script: Any) -> None:
    queue(asset)
    script[:] = [KeyError("secret")]
    tagging_queue.tag(asset.pk)
    asset.refresh_from_db()
    assert asset.tagging_state == State.QUEUED
    assert TaggingRun.objects.get().error_code == "tagger_crashed"
    assert "secret" not in asset.error


def test_two_workers_with_one_asset_ask_once(asset: Asset, script: Any) -> None:
    queue(asset)

    def meanwhile(source: Source) -> Any:
        assert tagging_queue.tag(asset.pk).state == State.RUNNING
        return scripted.reply({"sky": 1})

    script[:] = [meanwhile]
    tagging_queue.tag(asset.pk)
    assert len(scripted.asked) == 1


def test_a_worker_that_dies_is_found_by_the_sweep(
    asset: Asset, script: Any, tags_of: Any
) -> None:
    queue(asset)

    def die(source: Source) -> Any:
        raise SystemExit

    script[:] = [die, scripted.reply({"sky": 70})]
    with pytest.raises(SystemExit):
        tagging_queue.tag(asset.pk)
    asset.refresh_from_db()
    assert asset.tagging_state == State.RUNNING
    assert tagging_queue.due() == []
    with time_machine.travel(timezone.now() + timedelta(seconds=361), tick=False):
        assert tasks.sweep() == {"assets": 1}
        tagging_queue.tag(asset.pk)
    assert tags_of(asset) == {"sky": 70}
    assert TaggingRun.objects.last().error_code == ErrorCode.ABANDONED


def test_an_asset_whose_worker_always_dies_is_given_up(
    asset: Asset, script: Any, settings: Any
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"MAX_ATTEMPTS": 2}
    queue(asset)

    def die(source: Source) -> Any:
        raise SystemExit

    script[:] = [die]
    for _ in range(2):
        with pytest.raises(SystemExit):
            tagging_queue.tag(asset.pk)
        Asset.objects.update(due_at=timezone.now())
    assert tagging_queue.tag(asset.pk).state == State.FAILED
    asset.refresh_from_db()
    assert "2 attempts" in asset.error
    assert asset.due_at is None


def test_the_result_of_a_worker_thought_dead_is_used_when_it_comes(
    asset: Asset, script: Any, tags_of: Any
) -> None:
    queue(asset)

    def slow(source: Source) -> Any:
        Asset.objects.update(due_at=timezone.now())
        script[:] = [scripted.reply({"second": 2})]
        tagging_queue.tag(asset.pk)
        assert tags_of(asset) == {"second": 2}
        return scripted.reply({"first": 1})

    script[:] = [slow]
    tagging_queue.tag(asset.pk)
    assert tags_of(asset) == {"first": 1}
    assert set(TaggingRun.objects.values_list("state", flat=True)) == {"succeeded"}
    asset.refresh_from_db()
    assert asset.tagging_state == State.TAGGED


def test_the_failure_of_a_worker_thought_dead_disturbs_nobody(
    asset: Asset, script: Any
) -> None:
    queue(asset)

    def slow(source: Source) -> Any:
        Asset.objects.update(due_at=timezone.now())
        script[:] = [scripted.reply({"second": 2})]
        tagging_queue.tag(asset.pk)
        raise TaggerError("Too late.")

    script[:] = [slow]
    tagging_queue.tag(asset.pk)
    asset.refresh_from_db()
    assert asset.tagging_state == State.TAGGED


def test_a_file_overwritten_while_it_is_tagged_is_tagged_again(
    asset: Asset, script: Any, tags_of: Any
) -> None:
    queue(asset)

    def overwritten(source: Source) -> Any:
        registry.content_changed(asset.pk, facts=registry.Facts(size=3), at=timezone.now())
        return scripted.reply({"old": 90})

    script[:] = [overwritten, scripted.reply({"new": 80})]
    tagging_queue.tag(asset.pk)
    asset.refresh_from_db()
    assert asset.tags_are_stale
    assert tagging_queue.request([asset.pk]) == [asset.pk]
    tagging_queue.tag(asset.pk)
    assert tags_of(asset) == {"new": 80}


def test_a_sweep_finds_what_is_overdue_until_somebody_claims_it(
    asset: Asset, script: Any
) -> None:
    queue(asset)
    assert tagging_queue.due() == []
    Asset.objects.update(due_at=timezone.now() - timedelta(seconds=61))
    assert tagging_queue.due() == tagging_queue.due() == [asset.pk]
    assert tagging_queue.tag(asset.pk).state == TaggingRun.State.SUCCEEDED
    assert tagging_queue.due() == []


def test_the_signal_is_sent_after_the_commit(
    asset: Asset, script: Any, django_capture_on_commit_callbacks: Any
) -> None:
    heard: list[Any] = []
    asset_tagged.connect(lambda **kwargs: heard.append(kwargs), weak=False, dispatch_uid=1)
    try:
        queue(asset)
        with django_capture_on_commit_callbacks() as callbacks:
            tagging_queue.tag(asset.pk)
        assert heard == []
        callbacks[0]()
    finally:
        asset_tagged.disconnect(dispatch_uid=1)
    assert heard[0]["asset"] == asset
    assert heard[0]["run"] == TaggingRun.objects.get()


class TestJobs:
    """Taggers that reply later."""

    @pytest.fixture(autouse=True)
    def _followed(self, script: Any, settings: Any) -> None:
        settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
            "TAGGER": "tests.scripted.FollowedTagger"
        }
        script[:] = [PendingJob("wf-1", "job-1", raw="{}")]

    def test_a_job_keeps_its_run_open_until_the_poll_is_due(
        self, asset: Asset, script: Any, tags_of: Any
    ) -> None:
        queue(asset)
        assert tagging_queue.tag(asset.pk).state == State.RUNNING
        run = TaggingRun.objects.get()
        assert (run.state, run.job_id, run.workflow_id) == ("started", "job-1", "wf-1")
        assert tagging_queue.tag(asset.pk).state == State.RUNNING
        script[:] = [scripted.reply({"sky": 90})]
        with time_machine.travel(timezone.now() + timedelta(seconds=601), tick=False):
            tagging_queue.tag(asset.pk)
        assert tags_of(asset) == {"sky": 90}
        assert TaggingRun.objects.get().state == "succeeded"

    def test_a_question_that_fails_is_asked_again_and_costs_no_attempt(
        self, asset: Asset, script: Any
    ) -> None:
        queue(asset)
        tagging_queue.tag(asset.pk)
        script[:] = [ServerError("Filestack answered 502.")]
        Asset.objects.update(due_at=timezone.now())
        outcome = tagging_queue.tag(asset.pk)
        asset.refresh_from_db()
        assert outcome.retry_at == asset.due_at
        assert (asset.tagging_state, asset.attempts) == (State.RUNNING, 1)
        assert TaggingRun.objects.get().state == "started"

    def test_a_job_that_never_ends_is_failed_at_the_deadline(
        self, asset: Asset, script: Any
    ) -> None:
        queue(asset)
        tagging_queue.tag(asset.pk)
        with time_machine.travel(timezone.now() + timedelta(hours=48), tick=False):
            tagging_queue.tag(asset.pk)
        asset.refresh_from_db()
        assert asset.tagging_state == State.FAILED
        assert TaggingRun.objects.get().error_code == "workflow_deadline"

    def test_a_question_that_fails_past_the_deadline_ends_the_job(
        self, asset: Asset, script: Any, settings: Any
    ) -> None:
        settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"MAX_ATTEMPTS": 1}
        queue(asset)
        tagging_queue.tag(asset.pk)
        script[:] = [ServerError("Filestack answered 502.")]
        with time_machine.travel(timezone.now() + timedelta(hours=48), tick=False):
            tagging_queue.tag(asset.pk)
        asset.refresh_from_db()
        assert asset.tagging_state == State.FAILED

    def test_a_job_whose_webhook_overtook_the_answer_is_not_waited_for(
        self, asset: Asset, script: Any, tags_of: Any, deliver: Any
    ) -> None:
        from filestack_tags.testing.payloads import fs_workflow

        def overtaken(source: Source) -> Any:
            deliver(
                fs_workflow(source.reference, tags={"sky": 90}, job_id="job-1", workflow="wf-1")
            )
            return PendingJob("wf-1", "job-1", raw="{}")

        script[:] = [overtaken]
        queue(asset)
        tagging_queue.tag(asset.pk)
        asset.refresh_from_db()
        assert tags_of(asset) == {"sky": 90}
        assert asset.tagging_state == State.TAGGED
        assert TaggingRun.objects.exclude(state="superseded").get().job_id == "job-1"

    def test_a_tagger_that_cannot_be_asked_fails_its_job(
        self, asset: Asset, settings: Any
    ) -> None:
        settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
            "TAGGER": "tests.scripted.ScriptedTagger"
        }
        queue(asset)
        tagging_queue.tag(asset.pk)
        Asset.objects.update(due_at=timezone.now())
        tagging_queue.tag(asset.pk)
        run = TaggingRun.objects.get()
        assert run.error_code == "configuration"
        assert "follow" in run.error


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        (registry.Facts(), True),
        (registry.Facts(mimetype="image/png"), True),
        (registry.Facts(mimetype="IMAGE/PNG"), True),
        (registry.Facts(mimetype="video/mp4"), False),
        (registry.Facts(mimetype="image/png", store_status="Stored"), True),
        (registry.Facts(mimetype="image/png", store_status="InTransit"), False),
    ],
)
def test_stored_images_and_unknown_types_want_tags(
    db: None, facts: registry.Facts, wanted: bool
) -> None:
    asset, _ = registry.register(Source.handle("h"), facts=facts)
    assert tagging_queue.wants_tagging(asset) is wanted


def test_nothing_wants_tags_when_switched_off(asset: Asset, settings: Any) -> None:
    settings.FILESTACK_TAGS = {"AUTO_TAG": False}
    assert not tagging_queue.wants_tagging(asset)


STARTED = PendingJob("wf", "job-1", raw="{}")


@pytest.mark.parametrize("answer", [STARTED, ServerError("Filestack answered 502.")])
@pytest.mark.parametrize("change", ["archived", "overwritten"])
def test_a_job_of_an_asset_that_changed_meanwhile_stays_open_for_its_webhook(
    asset: Asset, script: Any, settings: Any, change: str, answer: Any
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "TAGGER": "tests.scripted.FollowedTagger",
        "AUTO_TAG": False,
    }

    def change_and_answer(source: Source) -> Any:
        if change == "archived":
            registry.archive(asset.pk)
        else:
            registry.content_changed(asset.pk, facts=registry.Facts(size=2), at=timezone.now())
        if isinstance(answer, Exception):
            raise answer
        return answer

    queue(asset)
    if answer is not STARTED:  # the job runs already, and its poll fails
        script[:] = [STARTED]
        tagging_queue.tag(asset.pk)
        Asset.objects.update(due_at=timezone.now())
    script[:] = [change_and_answer]
    tagging_queue.tag(asset.pk)
    run = TaggingRun.objects.get()
    assert (run.state, run.job_id) == (TaggingRun.State.STARTED, "job-1")
    asset.refresh_from_db()
    assert asset.due_at is None
    assert asset.tagging_state in (State.NEW, State.STALE)
