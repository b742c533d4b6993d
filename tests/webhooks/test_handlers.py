"""The effect of each of Filestack's events, with recorded payloads through the endpoint."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from filestack_tags import tasks
from filestack_tags.assets import registry
from filestack_tags.db.datetimes import to_database_time
from filestack_tags.error_codes import ErrorCode
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, TaggingRun, WebhookDelivery
from filestack_tags.testing.payloads import event, fp_upload, fs_workflow
from filestack_tags.webhooks import handlers
from tests import scripted

pytestmark = pytest.mark.django_db

HANDLE = "VJQTvCboRVivWJ2BpKgd"
STARTED = datetime(2019, 3, 11, 13, 49, 20, tzinfo=UTC)
"""Shortly before the recorded job was created."""
DOCUMENTED = {
    "fp.upload", "fp.converse", "fp.overwrite", "fp.delete", "fs.workflow",
    "fp.video_converse", "fp.scan", "fp.export", "fp.dialog",
}  # fmt: skip


def configure(settings: Any, **values: Any) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | values


def test_every_documented_action_has_its_line_in_the_table() -> None:
    assert set(handlers.HANDLERS) == DOCUMENTED


def test_an_upload_registers_the_file_and_tags_it(
    deliver: Any, payload: Any, script: Any, tags_of: Any
) -> None:
    deliver(payload("webhook_fp_upload.json"))
    asset = Asset.objects.get()
    assert (asset.reference, asset.filename, asset.mimetype, asset.size) == (
        HANDLE, "example.png", "image/png", 158584,
    )  # fmt: skip
    assert asset.key == "kWg9mVtRTauGxsPhCHcp_example.png"
    assert asset.uploaded_at.year == 2018
    assert asset.tagging_state == Asset.State.TAGGED
    assert tags_of(asset) == {"sky": 90}
    assert TaggingRun.objects.get().trigger == TaggingRun.Trigger.UPLOAD


def test_a_file_in_transit_is_tagged_when_it_is_stored(
    deliver: Any, payload: Any, script: Any
) -> None:
    deliver(payload("webhook_fp_upload_intransit.json"))
    assert Asset.objects.get().tagging_state == Asset.State.NEW
    deliver(fp_upload(HANDLE))
    assert Asset.objects.get().tagging_state == Asset.State.TAGGED


def test_a_second_upload_event_does_not_pay_again(
    deliver: Any, payload: Any, script: Any
) -> None:
    deliver(payload("webhook_fp_upload.json"))
    deliver(fp_upload(HANDLE))
    assert TaggingRun.objects.count() == 1


def test_the_upload_event_alone_need_not_lead_to_a_call(
    deliver: Any, payload: Any, script: Any, settings: Any
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"AUTO_TAG_UPLOADS": False}
    deliver(payload("webhook_fp_upload.json"))
    assert Asset.objects.get().tagging_state == Asset.State.NEW
    assert not scripted.asked


def test_files_that_are_no_images_are_registered_only(deliver: Any, script: Any) -> None:
    deliver(fp_upload(HANDLE, mimetype="application/pdf", filename="a.pdf"))
    assert Asset.objects.get().tagging_state == Asset.State.NEW
    assert not scripted.asked


@pytest.mark.parametrize(
    ("name", "reference", "filename"),
    [
        ("webhook_fp_upload_2019_nested.json", "xK88QArxRiyVvFzo4p33", "01 (1).png"),
        ("webhook_fp_upload_with_tags.json", HANDLE, "example.png"),
    ],
)
def test_older_and_richer_upload_shapes_are_read(
    deliver: Any, payload: Any, script: Any, name: str, reference: str, filename: str
) -> None:
    deliver(payload(name))
    asset = Asset.objects.get()
    assert (asset.reference, asset.filename) == (reference, filename)
    if "with_tags" in name:
        assert asset.upload_tags == {"tenant": "7", "upload_id": "0190c0de"}


@pytest.mark.parametrize("place", ["text", "data", "beside"])
def test_upload_tags_are_read_wherever_they_are(deliver: Any, place: str) -> None:
    body = fp_upload(HANDLE, mimetype="application/pdf")
    holder = {"text": body["text"], "data": body["text"].setdefault("data", {}), "beside": body}
    holder[place]["upload_tags"] = {"tenant": "9"}
    deliver(body)
    assert Asset.objects.get().upload_tags == {"tenant": "9"}


@pytest.mark.parametrize(
    "tasks",
    [
        "resize=width:240,height:240", "security=p:x,s:y/resize=h:2000/tags=version:2",
        "cache=false/tags", "output=format:jpg", "tags",
    ],
)  # fmt: skip
def test_conversions_of_a_known_file_cost_nothing(
    deliver: Any, script: Any, payload: Any, tags_of: Any, tasks: str
) -> None:
    """As after the admin's thumbnails, and after a call with tasks before its tags."""
    deliver(payload("webhook_fp_upload.json"))
    before = Asset.objects.values().get()
    scripted.asked.clear()
    body = json.loads(payload("webhook_fp_converse.json"))
    body["text"]["url"] = f"/{tasks}/{HANDLE}"
    body["text"]["link"] |= {
        "handle": HANDLE,
        "url": f"https://cdn.filestackcontent.com/{HANDLE}",
    }
    deliver(body)
    assert scripted.asked == []
    assert Asset.objects.values().get() == before
    assert WebhookDelivery.objects.first().state == WebhookDelivery.State.IGNORED


def test_an_overwrite_marks_the_tags_stale_and_tags_again(
    deliver: Any, payload: Any, script: Any, tags_of: Any
) -> None:
    deliver(payload("webhook_fp_upload.json"))
    script[:] = [scripted.reply({"sea": 70})]
    deliver(payload("webhook_fp_overwrite.json"))
    asset = Asset.objects.get()
    assert (asset.content_version, asset.tags_version) == (2, 2)
    assert asset.size == 436688
    assert tags_of(asset) == {"sea": 70}
    assert TaggingRun.objects.first().trigger == TaggingRun.Trigger.OVERWRITE


def test_an_overwrite_without_auto_tagging_leaves_stale_tags_to_be_seen(
    deliver: Any, payload: Any, script: Any, settings: Any, tags_of: Any
) -> None:
    deliver(payload("webhook_fp_upload.json"))
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"AUTO_TAG": False}
    deliver(payload("webhook_fp_overwrite.json"))
    asset = Asset.objects.get()
    assert asset.tagging_state == Asset.State.STALE
    assert asset.tags_are_stale
    assert tags_of(asset) == {"sky": 90}


def test_an_overwrite_of_an_unknown_file_registers_it(
    deliver: Any, payload: Any, script: Any
) -> None:
    deliver(payload("webhook_fp_overwrite.json"))
    asset = Asset.objects.get()
    assert (asset.content_version, asset.tagging_state) == (2, Asset.State.TAGGED)


def test_an_older_overwrite_that_comes_late_changes_nothing(
    deliver: Any, payload: Any, script: Any
) -> None:
    deliver(payload("webhook_fp_upload.json"))
    text = {"url": f"https://cdn.filestackcontent.com/{HANDLE}", "size": 3}
    deliver(event("fp.overwrite", text, timestamp=1600000000))
    deliver(event("fp.overwrite", text | {"size": 2}, timestamp=1599999999))
    asset = Asset.objects.get()
    assert (asset.content_version, asset.size) == (2, 3)


def test_a_deleted_file_is_hidden_and_keeps_its_tags(
    deliver: Any, payload: Any, script: Any, tags_of: Any
) -> None:
    deliver(payload("webhook_fp_upload.json"))
    deliver(payload("webhook_fp_delete.json"))
    asset = Asset.objects.get()
    assert asset.deleted_at is not None
    assert tags_of(asset) == {"sky": 90}
    assert not Asset.objects.search("sky").exists()


def test_an_upload_event_that_comes_after_its_deletion_does_not_bring_the_file_back(
    deliver: Any, payload: Any, script: Any
) -> None:
    deliver(payload("webhook_fp_delete.json"))
    deliver(payload("webhook_fp_upload.json"))
    asset = Asset.objects.get()
    assert asset.deleted_at is not None
    assert not scripted.asked


@pytest.mark.parametrize("action", sorted(DOCUMENTED - {
    "fp.upload", "fp.overwrite", "fp.delete", "fs.workflow"}))  # fmt: skip
def test_events_that_say_nothing_of_tags_are_stored_and_ignored(
    deliver: Any, action: str
) -> None:
    deliver(event(action, {"url": f"https://cdn.filestackcontent.com/{HANDLE}"}))
    assert WebhookDelivery.objects.get().state == WebhookDelivery.State.IGNORED
    assert not Asset.objects.exists()


def test_unknown_actions_are_stored_and_counted(deliver: Any) -> None:
    deliver(event("fp.telepathy", {}))
    delivery = WebhookDelivery.objects.get()
    assert delivery.state == WebhookDelivery.State.IGNORED
    assert delivery.outcome == "Unknown action 'fp.telepathy'."


def test_an_upload_that_names_no_file_fails_readably(deliver: Any) -> None:
    deliver(event("fp.upload", {"filename": "x.jpg"}))
    delivery = WebhookDelivery.objects.get()
    assert delivery.state == WebhookDelivery.State.FAILED
    assert delivery.error
    assert "Traceback" not in delivery.error


@pytest.mark.parametrize("key", ["jobid", "job", None])
def test_a_workflow_of_an_upload_is_applied_under_any_name_of_its_job(
    deliver: Any, payload: Any, tags_of: Any, key: str | None
) -> None:
    body = json.loads(payload("webhook_fs_workflow_tags.json"))
    if key:
        body["text"][key] = "2c22748c-ce65-4979-8071-530b467e4d8b"
    deliver(body)
    run = TaggingRun.objects.get()
    assert run.state == TaggingRun.State.SUCCEEDED
    assert run.trigger == TaggingRun.Trigger.WORKFLOW
    assert run.workflow_id == "c516519f-3755-4fb5-85a4-15ae4b31d475"
    assert tags_of(run.asset)["umbrella"] == 97
    if key:
        assert run.job_id == body["text"][key]


def test_the_form_without_envelope_is_applied_once(
    deliver: Any, payload: Any, tags_of: Any
) -> None:
    inner = json.loads(payload("webhook_fs_workflow_tags.json"))["text"] | {"jobid": "job-1"}
    deliver(inner)
    deliver({"id": 9, "action": "fs.workflow", "timestamp": 1552312203, "text": inner})
    assert tags_of(Asset.objects.get())["umbrella"] == 97
    assert WebhookDelivery.objects.count() == 2
    assert TaggingRun.objects.get().job_id == "job-1"


def test_several_tags_tasks_are_merged_by_the_higher_confidence(
    deliver: Any, tags_of: Any
) -> None:
    body = fs_workflow(HANDLE, tags={"sky": 60, "sea": 50})
    results = body["text"]["results"]
    results["Another name"] = {"data": {"tags": {"auto": {"sky": 80}, "user": None}}}
    deliver(body)
    assert tags_of(Asset.objects.get()) == {"sky": 80, "sea": 50}


def test_a_failed_task_beside_a_good_one_is_told_and_the_tags_are_applied(
    deliver: Any, tags_of: Any
) -> None:
    body = fs_workflow(HANDLE, tags={"sky": 60})
    body["text"]["results"]["tags_2"] = {"error": "service temporarily unavailable"}
    deliver(body)
    assert tags_of(Asset.objects.get()) == {"sky": 60}
    assert "service temporarily unavailable" in WebhookDelivery.objects.get().outcome


def test_a_failed_tags_task_in_a_finished_workflow_fails_the_run(
    deliver: Any, payload: Any
) -> None:
    deliver(payload("webhook_fs_workflow_task_error.json"))
    run = TaggingRun.objects.get()
    assert run.state == TaggingRun.State.FAILED
    assert "service temporarily unavailable" in run.error
    assert Asset.objects.get().tagging_state == Asset.State.FAILED


def test_a_failed_workflow_leaves_earlier_tags(
    deliver: Any, payload: Any, script: Any, tags_of: Any
) -> None:
    deliver(payload("webhook_fp_upload.json"))
    asset = Asset.objects.get()
    TaggingRun.objects.create(
        asset=asset, tagger="workflow", trigger="code", content_version=1,
        job_id="2c22748c-ce65-4979-8071-530b467e4d8b",
    )  # fmt: skip
    deliver(payload("webhook_fs_workflow_failed.json"))
    assert TaggingRun.objects.first().state == TaggingRun.State.FAILED
    asset.refresh_from_db()
    assert asset.tagging_state == Asset.State.TAGGED
    assert tags_of(asset) == {"sky": 90}


def test_a_failed_workflow_of_an_unknown_job_without_results_is_ignored(
    deliver: Any, payload: Any
) -> None:
    deliver(payload("webhook_fs_workflow_failed.json"))
    assert WebhookDelivery.objects.get().state == WebhookDelivery.State.IGNORED
    assert not Asset.objects.exists()


def test_a_job_under_way_leaves_its_run_open(deliver: Any, asset: Asset) -> None:
    TaggingRun.objects.create(
        asset=asset, tagger="workflow", trigger="code", content_version=1, job_id="job-1"
    )
    body = fs_workflow(HANDLE, tags={}, job_id="job-1")
    body["text"] |= {"results": {}, "status": "Started"}
    deliver(body)
    assert TaggingRun.objects.get().state == TaggingRun.State.STARTED


def test_a_webhook_without_job_id_finds_the_run_that_waits_for_it(
    deliver: Any, asset: Asset, payload: Any
) -> None:
    run = TaggingRun.objects.create(
        asset=asset, tagger="workflow", trigger="code", content_version=1,
        job_id="job-7", workflow_id="c516519f-3755-4fb5-85a4-15ae4b31d475",
        started_at=to_database_time(STARTED),
    )  # fmt: skip
    deliver(payload("webhook_fs_workflow_tags.json"))
    run.refresh_from_db()
    assert run.state == TaggingRun.State.SUCCEEDED
    assert TaggingRun.objects.count() == 1


@pytest.mark.parametrize("tagger", ["workflow", "workflow:look"])
def test_a_webhook_that_overtakes_the_answer_to_its_call_gives_the_run_its_job(
    deliver: Any, asset: Asset, settings: Any, tagger: str
) -> None:
    configure(settings, WORKFLOW_ID="wf-1", WORKFLOWS={"look": "wf-1", "other": "wf-2"})
    run = TaggingRun.objects.create(
        asset=asset, tagger=tagger, trigger="code", content_version=1
    )
    deliver(fs_workflow(HANDLE, tags={"sky": 60}, job_id="job-9", workflow="wf-1"))
    run.refresh_from_db()
    assert (run.state, run.job_id, run.workflow_id) == ("succeeded", "job-9", "wf-1")


def test_a_webhook_that_comes_after_its_worker_was_given_up_is_that_runs_result(
    deliver: Any, asset: Asset, settings: Any
) -> None:
    configure(settings, WORKFLOW_ID="wf-1", REGISTER_FROM_WORKFLOWS=())
    run = TaggingRun.objects.create(
        asset=asset, tagger="workflow", trigger="code", content_version=1,
        state="failed", error_code=ErrorCode.ABANDONED,
    )  # fmt: skip
    deliver(fs_workflow(HANDLE, tags={"sky": 60}, job_id="job-9", workflow="wf-1"))
    run.refresh_from_db()
    assert (run.state, run.job_id, run.error_code) == ("succeeded", "job-9", "")


@pytest.mark.parametrize(
    "waiting",
    [
        {"tagger": "workflow", "workflow_id": "wf-2"},
        {"tagger": "workflow:other"},
        {"tagger": "filestack"},
        {"tagger": "workflow", "job_id": "job-8"},
        {"tagger": "workflow", "started_at": timezone.now() + timedelta(hours=4)},
        {"tagger": "workflow", "state": "failed", "error_code": "workflow_failed"},
    ],
    ids=["another workflow", "another name", "no workflow", "another job", "later", "closed"],
)
def test_a_run_that_waits_for_something_else_is_not_this_jobs(
    deliver: Any, asset: Asset, settings: Any, waiting: dict[str, Any]
) -> None:
    configure(settings, WORKFLOW_ID="wf-1", WORKFLOWS={"other": "wf-2"})
    run = TaggingRun.objects.create(asset=asset, trigger="code", content_version=1, **waiting)
    before = (run.state, run.job_id)
    deliver(fs_workflow(HANDLE, tags={"sky": 60}, job_id="job-9", workflow="wf-1"))
    run.refresh_from_db()
    assert (run.state, run.job_id) == before
    opened = TaggingRun.objects.get(job_id="job-9")
    assert (opened.state, opened.tagger, opened.workflow_id) == (
        "succeeded", "workflow", "wf-1",
    )  # fmt: skip


def test_of_two_runs_that_wait_the_last_one_before_the_job_is_its(
    deliver: Any, asset: Asset, settings: Any
) -> None:
    configure(settings, WORKFLOW_ID="wf-1")
    now = timezone.now()
    given_up, started, later = (
        TaggingRun.objects.create(
            asset=asset, tagger="workflow", trigger="code", content_version=1,
            started_at=now + timedelta(minutes=minutes), **columns,
        )
        for minutes, columns in (
            (-20, {"state": "failed", "error_code": ErrorCode.ABANDONED}), (-10, {}), (10, {}),
        )
    )  # fmt: skip
    deliver(fs_workflow(HANDLE, tags={"sky": 60}, job_id="job-9", workflow="wf-1"))
    assert TaggingRun.objects.get(job_id="job-9") == started
    assert TaggingRun.objects.filter(pk__in=(given_up.pk, later.pk), job_id=None).count() == 2


@pytest.mark.parametrize("status", ["Started", "pending"])
def test_tags_of_a_job_that_goes_on_are_not_its_result(
    deliver: Any, asset: Asset, status: str, tags_of: Any
) -> None:
    TaggingRun.objects.create(
        asset=asset, tagger="workflow", trigger="code", content_version=1, job_id="job-1"
    )
    deliver(fs_workflow(HANDLE, tags={"sky": 60}, job_id="job-1", status=status))
    assert TaggingRun.objects.get().state == TaggingRun.State.STARTED
    deliver(fs_workflow(HANDLE, tags={"sky": 60, "sea": 50}, job_id="job-1"))
    assert tags_of(asset) == {"sky": 60, "sea": 50}


def test_an_unknown_job_that_goes_on_is_left_until_its_end(deliver: Any) -> None:
    deliver(fs_workflow(HANDLE, tags={"sky": 60}, job_id="job-1", status="Started"))
    assert WebhookDelivery.objects.get().state == WebhookDelivery.State.IGNORED
    assert not Asset.objects.exists()
    deliver(fs_workflow(HANDLE, tags={"sky": 60}, job_id="job-1"))
    assert Asset.objects.get().tagging_state == Asset.State.TAGGED


def test_a_failed_task_of_an_unknown_job_without_an_end_opens_no_run(
    deliver: Any, payload: Any
) -> None:
    body = json.loads(payload("webhook_fs_workflow_task_error.json"))
    body["text"]["status"] = "Queued"
    deliver(body)
    delivery = WebhookDelivery.objects.get()
    assert delivery.state == WebhookDelivery.State.IGNORED
    assert "is in progress (status 'Queued')." in delivery.outcome
    assert not TaggingRun.objects.exists()


def test_a_failed_job_keeps_the_tags_that_it_has(deliver: Any, tags_of: Any) -> None:
    deliver(fs_workflow(HANDLE, tags={"sky": 60}, status="Failed"))
    assert tags_of(Asset.objects.get()) == {"sky": 60}
    assert "The workflow failed." in WebhookDelivery.objects.get().outcome


@pytest.mark.parametrize(
    ("allowed", "registered"),
    [
        (("*",), True),
        (("look",), True),
        (("wf-1",), True),
        (("lo*", "x"), True),
        ((), False),
        (("Look", "wf-2", "ook"), False),
    ],
)
def test_whose_jobs_make_a_file_known_is_a_setting(
    deliver: Any, settings: Any, allowed: tuple[str, ...], registered: bool
) -> None:
    configure(settings, WORKFLOWS={"look": "wf-1"}, REGISTER_FROM_WORKFLOWS=allowed)
    deliver(fs_workflow(HANDLE, tags={"sky": 60}, workflow="wf-1"))
    delivery = WebhookDelivery.objects.get()
    assert Asset.objects.exists() is registered
    if registered:
        assert delivery.state == WebhookDelivery.State.PROCESSED
        assert TaggingRun.objects.get().tagger == "workflow:look"
        assert delivery.outcome == (
            "Applied 1 tag(s) of 1 task(s) of the workflow look (wf-1). Run succeeded."
        )
    else:
        assert delivery.state == WebhookDelivery.State.IGNORED
        assert delivery.outcome == (
            "Nothing was applied: this job of the workflow look (wf-1) was not started here, and "
            "its file is not registered. To have such files registered, add the workflow to "
            "REGISTER_FROM_WORKFLOWS, then replay this delivery."
        )


def test_the_job_of_a_known_file_is_applied_whoever_may_register(
    deliver: Any, asset: Asset, settings: Any, tags_of: Any
) -> None:
    configure(settings, REGISTER_FROM_WORKFLOWS=())
    deliver(fs_workflow(HANDLE, tags={"sky": 60}))
    assert tags_of(asset) == {"sky": 60}


def test_an_ignored_job_is_applied_when_it_is_replayed_under_another_setting(
    deliver: Any, settings: Any, django_capture_on_commit_callbacks: Any
) -> None:
    configure(settings, REGISTER_FROM_WORKFLOWS=())
    deliver(fs_workflow(HANDLE, tags={"sky": 60}))
    configure(settings, REGISTER_FROM_WORKFLOWS=("*",))
    with django_capture_on_commit_callbacks(execute=True):
        tasks.replay([WebhookDelivery.objects.get().pk])
    assert Asset.objects.search("sky>=60").exists()


@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"])
def test_a_job_of_an_absurd_time_is_no_error_in_any_time_zone(
    deliver: Any, settings: Any, admin_client: Client, moment: str, zone: str, use_tz: bool
) -> None:
    settings.USE_TZ, settings.TIME_ZONE = use_tz, zone
    body = fs_workflow(HANDLE, tags={"sky": 60})
    body["text"] |= {"createdAt": moment, "updatedAt": moment}
    deliver(body)
    delivery = WebhookDelivery.objects.get()
    assert delivery.state == WebhookDelivery.State.PROCESSED, delivery.error
    run = TaggingRun.objects.get()
    assert 1969 <= run.started_at.year <= run.result_at.year
    # A time in the future is limited to five minutes from now.
    assert run.result_at.year <= (timezone.now() + timedelta(minutes=6)).year
    page = admin_client.get(f"/admin/filestack_tags/taggingrun/{run.pk}/change/")
    assert page.status_code == 200


def test_a_job_of_the_content_before_an_overwrite_does_not_count_as_new(
    deliver: Any, payload: Any, script: Any, tags_of: Any
) -> None:
    deliver(payload("webhook_fp_upload.json"))
    text = {"url": f"https://cdn.filestackcontent.com/{HANDLE}"}
    deliver(event("fp.overwrite", text, timestamp=1600000000))
    deliver(payload("webhook_fs_workflow_tags.json"))
    assert tags_of(Asset.objects.get()) == {"sky": 90}
    assert TaggingRun.objects.first().state == TaggingRun.State.SUPERSEDED


@pytest.mark.parametrize("sources", [[], [HANDLE, "6GKA0wnQWO7tKaGu2YXA"]])
def test_an_unknown_job_must_name_one_source(deliver: Any, sources: list[str]) -> None:
    body = fs_workflow(HANDLE, tags={"sky": 60})
    body["text"]["sources"] = sources
    deliver(body)
    delivery = WebhookDelivery.objects.get()
    assert delivery.state == WebhookDelivery.State.FAILED
    assert f"names {len(sources)} sources" in delivery.error


def test_a_source_may_be_an_external_url(deliver: Any) -> None:
    body = fs_workflow(HANDLE, tags={"sky": 60})
    body["text"]["sources"] = ["https://example.com/a b.jpg?x=1#f"]
    deliver(body)
    (asset,) = Asset.objects.search("sky")
    assert (asset.kind, asset.reference) == ("url", "https://example.com/a%20b.jpg?x=1")


@pytest.mark.parametrize(
    "source",
    [
        f"https://cdn.filestackcontent.com/{HANDLE}",
        f"https://cdn.filestackcontent.com/AKEY/security=p:eyJ9==,s:abc/resize=w:10/{HANDLE}",
        f"https://www.filestackapi.com/api/file/{HANDLE}?policy=p&signature=s",
        f"https://cdn.photos.example/AKEY/{HANDLE}",
    ],
)
def test_a_job_about_a_link_to_a_stored_file_is_about_that_file(
    deliver: Any, tags_of: Any, settings: Any, source: str
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "CDN_URL": "https://cdn.photos.example"
    }
    known, _ = registry.register(Source.handle(HANDLE))
    deliver(fs_workflow(source, tags={"sky": 60}))
    assert Asset.objects.get() == known
    assert tags_of(known) == {"sky": 60}


def test_a_job_about_an_external_url_is_about_the_asset_of_that_request(
    deliver: Any, tags_of: Any
) -> None:
    known, _ = registry.register(Source.url("https://h.com/a%20b.jpg"))
    deliver(fs_workflow("https://H.com/x/../a b.jpg#top", tags={"sky": 60}))
    assert Asset.objects.get() == known
    assert tags_of(known) == {"sky": 60}
