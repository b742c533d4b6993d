"""Results of workflow jobs: without tags, in progress, failed, and of jobs with the same id."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from filestack_tags.assets import registry
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, TaggingRun, WebhookDelivery
from filestack_tags.signals import asset_registered, asset_tagged
from filestack_tags.testing.payloads import fp_overwrite, fp_upload, fs_workflow

HANDLE = "VJQTvCboRVivWJ2BpKgd"
UNSAFE = {"sfw_1": {"data": {"sfw": False}}}
RULES = {"unsafe": "sfw eq false", "sky": 'tags.auto kex "sky"'}
FOUND = {"unsafe": True, "sky": False}
State = TaggingRun.State

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _rules(settings: Any) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"RULES": RULES, "AUTO_TAG": False}


@pytest.fixture
def hidden() -> Iterator[list[Asset]]:
    """The assets that the receiver in ``docs/workflows.md`` hides."""
    text = (Path(__file__).parents[2] / "docs" / "workflows.md").read_text("utf-8")
    (example,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        if "def moderate" in block
    )
    assets_hidden: list[Asset] = []
    names: dict[str, Any] = {"hide": assets_hidden.append}
    exec(example, names)  # noqa: S102  the project's own document
    yield assets_hidden
    asset_tagged.disconnect(names["moderate"])


def started_here(asset: Asset, **values: Any) -> TaggingRun:
    """A run that waits for its job, as after a call of ``run_workflow``."""
    asset.tagging_state = Asset.State.RUNNING
    asset.attempts, asset.due_at = 1, timezone.now()
    asset.save()
    columns: dict[str, Any] = {"job_id": "job-1", "workflow_id": "wf-1"} | values
    return TaggingRun.objects.create(
        asset=asset, tagger="workflow", trigger="code",
        content_version=asset.content_version, **columns,
    )  # fmt: skip


def unsafe(**values: Any) -> dict[str, Any]:
    return fs_workflow(HANDLE, results=UNSAFE, workflow="wf-1", job_id="job-1", **values)


class TestWithoutTags:
    """A workflow "sfw → (true) tags" of an unsafe file: its tags task does not run."""

    def test_of_an_upload_registers_the_file_and_reaches_the_documented_receiver(
        self, deliver: Any, hidden: list[Asset]
    ) -> None:
        registered: list[Asset] = []

        def hear(asset: Asset, **kwargs: Any) -> None:
            registered.append(asset)

        asset_registered.connect(hear)
        deliver(unsafe())
        asset_registered.disconnect(hear)
        asset = Asset.objects.get()
        run = TaggingRun.objects.get()
        assert registered == hidden == [asset]
        assert (run.state, run.rule_results, run.trigger) == (
            State.SUCCEEDED,
            FOUND,
            "workflow",
        )
        assert json.loads(run.raw_reply) == UNSAFE
        delivery = WebhookDelivery.objects.get()
        assert (delivery.state, delivery.asset) == (WebhookDelivery.State.PROCESSED, asset)
        assert delivery.outcome.startswith("No tags were applied")
        # It does not affect the file's own tagging: its upload may be tagged by another call.
        assert asset.tagging_state == Asset.State.NEW

    def test_of_an_upload_leaves_the_file_to_its_own_tagging(
        self, deliver: Any, script: Any, settings: Any, hidden: list[Asset]
    ) -> None:
        settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"AUTO_TAG": True}
        deliver(unsafe())
        deliver(fp_upload(HANDLE))
        assert Asset.objects.get().tagging_state == Asset.State.TAGGED

    def test_of_a_job_started_here_is_no_failure_and_is_not_called_again(
        self, deliver: Any, asset: Asset, hidden: list[Asset]
    ) -> None:
        run = started_here(asset)
        deliver(unsafe())
        run.refresh_from_db()
        asset.refresh_from_db()
        assert (run.state, run.error_code, run.rule_results) == (State.SUCCEEDED, "", FOUND)
        assert (asset.tagging_state, asset.due_at) == (Asset.State.TAGGED, None)
        assert (asset.error_code, asset.current_run) == ("", run)
        assert hidden == [asset]

    def test_leaves_the_tags_of_the_same_content(
        self, deliver: Any, asset: Asset, tags_of: Any, hidden: list[Asset]
    ) -> None:
        deliver(fs_workflow(HANDLE, tags={"sky": 90}, job_id="job-0"))
        asset.refresh_from_db()
        shown = asset.current_run
        started_here(asset)
        deliver(unsafe())
        asset.refresh_from_db()
        assert tags_of(asset) == {"sky": 90}
        assert (asset.tagging_state, asset.current_run) == (Asset.State.TAGGED, shown)
        assert hidden == [asset]

    def test_takes_the_tags_of_an_earlier_content_away(
        self, deliver: Any, asset: Asset, tags_of: Any
    ) -> None:
        deliver(fs_workflow(HANDLE, tags={"sky": 90}, job_id="job-0"))
        deliver(fp_overwrite(HANDLE))
        asset.refresh_from_db()
        started_here(asset)
        deliver(unsafe())
        assert tags_of(asset) == {}
        asset.refresh_from_db()
        assert (asset.tags_version, asset.tagging_state) == (2, Asset.State.TAGGED)

    @pytest.mark.parametrize("tags_first", [True, False])
    def test_tags_of_the_same_content_count_in_either_order(
        self, deliver: Any, asset: Asset, tags_of: Any, tags_first: bool
    ) -> None:
        started_here(asset)
        tags = fs_workflow(HANDLE, tags={"sky": 90}, job_id="job-2", created=1)
        for body in (tags, unsafe()) if tags_first else (unsafe(), tags):
            deliver(body)
        assert tags_of(asset) == {"sky": 90}

    def test_for_a_content_that_was_overwritten_since_is_recorded_only(
        self, deliver: Any, asset: Asset, hidden: list[Asset]
    ) -> None:
        run = started_here(asset)
        deliver(fp_overwrite(HANDLE))
        deliver(unsafe())
        run.refresh_from_db()
        asset.refresh_from_db()
        assert (run.state, run.rule_results) == (State.SUPERSEDED, FOUND)
        assert (asset.tagging_state, asset.tags_version) == (Asset.State.NEW, 0)
        assert hidden == []

    @pytest.mark.parametrize(
        "results",
        [
            {},
            {"a": None},
            {"a": []},
            {"a": {"data": None}},
            {"store_1": {"url": "https://cdn.filestackcontent.com/x"}},
            {"sfw_1": {"data": {"sfw": False}}, "virus": {"error": "unavailable"}},
        ],
    )
    def test_any_finished_job_of_an_upload_is_recorded(
        self, deliver: Any, results: dict[str, Any]
    ) -> None:
        deliver(fs_workflow(HANDLE, results=results))
        assert TaggingRun.objects.get().rule_results.keys() == RULES.keys()
        assert Asset.objects.get().tagging_state == Asset.State.NEW

    def test_files_of_other_workflows_are_not_registered(
        self, deliver: Any, settings: Any
    ) -> None:
        settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"REGISTER_FROM_WORKFLOWS": ()}
        deliver(unsafe())
        assert not Asset.objects.exists()
        assert "REGISTER_FROM_WORKFLOWS" in WebhookDelivery.objects.get().outcome

    @pytest.mark.parametrize("name", ["sfw", "caption", "sentiment", "virus",
        "virus_infected", "video_sfw", "video_tags_as_file"])  # fmt: skip
    def test_recorded_payloads_register_their_file(
        self, deliver: Any, payload: Any, name: str
    ) -> None:
        deliver(payload(f"webhook_fs_workflow_{name}.json"))
        assert WebhookDelivery.objects.get().state == WebhookDelivery.State.PROCESSED
        run = TaggingRun.objects.get()
        assert (run.state, run.asset.tagging_state) == (State.SUCCEEDED, Asset.State.NEW)


class TestRulesOnEveryResult:
    def test_of_a_result_older_than_the_tags_that_are_shown(
        self, deliver: Any, hidden: list[Asset]
    ) -> None:
        deliver(fs_workflow(HANDLE, tags={"sea": 90}, job_id="job-2"))
        body = fs_workflow(HANDLE, tags={"sky": 1}, results=UNSAFE, job_id="job-3", created=1)
        deliver(body)
        run = TaggingRun.objects.get(job_id="job-3")
        assert (run.state, run.rule_results) == (
            State.SUPERSEDED,
            {"unsafe": True, "sky": True},
        )
        assert hidden == [run.asset]
        outcome = WebhookDelivery.objects.get(runs=run).outcome
        assert outcome.startswith("Nothing was applied of 1 tag(s)")

    @pytest.mark.parametrize("is_started_here", [True, False])
    @pytest.mark.parametrize("status", ["Failed", "failed", "Error"])
    def test_of_a_job_that_failed_after_some_tasks(
        self,
        deliver: Any,
        asset: Asset,
        hidden: list[Asset],
        is_started_here: bool,
        status: str,
    ) -> None:
        if is_started_here:
            started_here(asset)
        deliver(unsafe(status=status))
        run = TaggingRun.objects.get()
        asset.refresh_from_db()
        assert run.rule_results == FOUND
        assert hidden == [asset]
        if is_started_here:
            assert (run.error_code, asset.tagging_state) == ("workflow_failed", "failed")
        else:
            assert (run.state, asset.tagging_state) == (State.SUCCEEDED, Asset.State.NEW)
            assert "The workflow failed." in WebhookDelivery.objects.get().outcome

    def test_of_a_job_whose_tags_task_failed(
        self, deliver: Any, payload: Any, hidden: list[Asset]
    ) -> None:
        deliver(payload("webhook_fs_workflow_task_error.json"))
        run = TaggingRun.objects.get()
        assert (run.state, run.rule_results) == (
            State.FAILED,
            {"unsafe": False, "sky": False},
        )
        assert hidden == []

    def test_not_of_a_call_that_brought_nothing(self, asset: Asset, script: Any) -> None:
        from filestack_tags.exceptions import TaggerError
        from filestack_tags.tagging import queue

        script[:] = [TaggerError("Refused.", code="request_rejected", raw_reply="policy error")]
        queue.request([asset.pk])
        queue.tag(asset.pk)
        assert TaggingRun.objects.get().rule_results == {}


class TestStatus:
    @pytest.mark.parametrize(
        "status",
        ["Started", "pending", "Running", "Queued", "Done", "FinishedSoon", "", None, 7],
    )
    @pytest.mark.parametrize("is_started_here", [True, False])
    def test_tags_that_come_later_are_not_lost(
        self, deliver: Any, asset: Asset, tags_of: Any, status: Any, is_started_here: bool
    ) -> None:
        if is_started_here:
            started_here(asset)
        partial = fs_workflow(HANDLE, tags={"sky": 60}, workflow="wf-1", job_id="job-1")
        partial["text"]["status"] = status
        deliver(partial)
        assert tags_of(asset) == {}
        outcome = WebhookDelivery.objects.get().outcome
        assert outcome.startswith("Nothing was applied: this job of the workflow wf-1 is in")
        end = fs_workflow(HANDLE, tags={"sky": 60, "sea": 50}, workflow="wf-1", job_id="job-1")
        deliver(end)
        assert tags_of(asset) == {"sky": 60, "sea": 50}
        assert TaggingRun.objects.get().state == State.SUCCEEDED

    def test_a_result_after_the_end_says_that_nothing_was_applied(
        self, deliver: Any, asset: Asset, tags_of: Any
    ) -> None:
        for number in (60, 70):
            deliver(fs_workflow(HANDLE, tags={"sky": number}, workflow="wf-1", job_id="job-1"))
        first, second = WebhookDelivery.objects.order_by("pk")
        assert tags_of(asset) == {"sky": 60}
        assert first.outcome == (
            "Applied 1 tag(s) of 1 task(s) of the workflow wf-1. Run succeeded."
        )
        assert second.outcome == (
            "Nothing was applied: this job of the workflow wf-1 had ended before (succeeded)."
        )
        assert TaggingRun.objects.get().delivery == first


class TestIdentity:
    @pytest.mark.parametrize("workflow", ["wf-1", "wf-2"])
    @pytest.mark.parametrize(
        "source", ["VJQTvCboRVivWJ2BpKgd", "OTHERhandle", "https://example.com/a.jpg"]
    )
    def test_jobs_with_the_same_id_are_applied_to_their_own_files(
        self, deliver: Any, asset: Asset, tags_of: Any, workflow: str, source: str
    ) -> None:
        deliver(fs_workflow(HANDLE, tags={"sky": 60}, workflow="wf-1", job_id="job-1"))
        body = fs_workflow(source, tags={"sea": 70}, workflow=workflow, job_id="job-1")
        deliver(body)
        is_same = (workflow, source) == ("wf-1", HANDLE)
        assert TaggingRun.objects.count() == (1 if is_same else 2)
        other = Asset.objects.get(reference=source)
        assert tags_of(other) == ({"sky": 60} if is_same else {"sea": 70})

    def test_a_job_started_here_for_a_url_may_be_told_with_another_spelling(
        self, deliver: Any, tags_of: Any
    ) -> None:
        asset, _ = registry.register(Source.url("https://example.com/a.jpg"))
        started_here(asset)
        deliver(
            fs_workflow(
                "https://example.com/./a.jpg", tags={"sky": 1}, workflow="wf-1", job_id="job-1"
            )
        )
        assert tags_of(asset) == {"sky": 1}
        assert Asset.objects.count() == 1

    def test_bodies_without_envelope_that_differ_are_both_stored(self, deliver: Any) -> None:
        """The same job and status twice, as for two files of one job."""
        for handle in ("first", "second"):
            body = fs_workflow(handle, tags={"sky": 60}, job_id="job-1")["text"]
            deliver(body)
            assert deliver(body).content == b"Duplicate.\n"
        assert WebhookDelivery.objects.count() == 2
        assert Asset.objects.filter(tagging_state=Asset.State.TAGGED).count() == 2
