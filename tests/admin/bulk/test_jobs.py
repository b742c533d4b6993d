"""Bulk jobs in the admin: from the list over a preview to the job's page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db.models import Q, Value
from django.db.models.functions import Concat
from django.test import Client

from filestack_tags import curation
from filestack_tags.assets import registry
from filestack_tags.curation import bulk
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, AssetTag, BulkJob
from tests.api.rows import person

pytestmark = pytest.mark.django_db

LIST = "/admin/filestack_tags/asset/"
JOBS = "/admin/filestack_tags/bulkjob/"
ASK = f"{JOBS}ask/"
EDITOR = ("view_asset", "change_asset", "tag_asset", "delete_asset")


@pytest.fixture
def ids() -> list[int]:
    made = []
    for number in range(3):
        asset, _ = registry.register(Source.handle(f"h{number}"))
        curation.add(asset.pk, "sky", user=None)
        made.append(asset.pk)
    registry.register(Source.handle("other"))
    return made


@pytest.fixture
def run(django_capture_on_commit_callbacks: Any) -> Callable[..., Any]:
    """Post, and run the tasks as after a commit."""

    def post(client: Client, path: str, **said: Any) -> Any:
        with django_capture_on_commit_callbacks(execute=True):
            return client.post(path, said)

    return post


def test_all_that_match_are_tagged_from_the_list_over_a_preview(
    ids: list[int], client_of: Any, page: Any, run: Any
) -> None:
    client = client_of(*EDITOR)
    answer = client.post(
        f"{LIST}?q=sky",
        {"action": "in_bulk", "select_across": "1", "_selected_action": ids[0], "index": "0"},
    )
    asked = parse_qs(urlsplit(answer["Location"]).query)
    assert asked == {"query": ["sky"]}
    form = page(client.get(answer["Location"]))
    assert form.inputs["query"] == "sky"
    said = {"query": "sky", "action": "add_tag", "tag": "blue", "key": form.inputs["key"]}
    shown = page(client.post(ASK, {**said, "preview": "1"}))
    assert "3 assets match." in shown.text
    assert not BulkJob.objects.exists()
    first = run(client, ASK, **said, confirmed="1")
    again = run(client, ASK, **said, confirmed="1")
    assert first["Location"] == again["Location"]
    job = BulkJob.objects.get()
    assert (job.state, job.changed, job.trigger) == ("finished", 3, "admin")
    assert AssetTag.objects.filter(tag__key="blue").count() == 3
    seen = page(client.get(first["Location"]))
    assert "3 of 3" in seen.text
    assert not seen.inline


@pytest.mark.parametrize("action", ["workflow", "retag"])
@pytest.mark.parametrize("tagger", ["os.system", "tests.scripted.Tagger", "workflow:other"])
def test_a_form_cannot_name_a_tagger_that_is_not_offered(
    ids: list[int],
    client_of: Any,
    page: Any,
    run: Any,
    settings: Any,
    action: str,
    tagger: str,
) -> None:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "WORKFLOWS": {"look": "wf-1"}}
    form = {"query": "sky", "action": action, "tagger": tagger}
    shown = page(run(client_of(*EDITOR), ASK, **form, confirmed="1"))
    assert "is not one of the available choices" in shown.text
    assert not BulkJob.objects.exists()


def test_what_is_changed_after_the_preview_is_previewed_again(
    ids: list[int], client_of: Any, page: Any, run: Any
) -> None:
    client = client_of(*EDITOR)
    said = {"query": "sky", "action": "archive"}
    shown = page(client.post(ASK, {**said, "preview": "1"}))
    other = {**said, "query": "sky handle:h1", "confirmed": "1"}
    again = page(client.post(ASK, {**other, "previewed": shown.inputs["previewed"]}))
    assert "1 asset matches." in again.text
    assert "The form was changed after the preview" in again.text
    assert not BulkJob.objects.exists()
    run(client, ASK, **other, previewed=again.inputs["previewed"])
    assert BulkJob.objects.get().changed == 1


def test_what_was_ticked_is_all_that_is_changed(
    ids: list[int], client_of: Any, page: Any, run: Any
) -> None:
    client = client_of(*EDITOR)
    answer = client.post(LIST, {"action": "in_bulk", "_selected_action": ids[:2], "index": "0"})
    form = page(client.get(answer["Location"]))
    run(
        client,
        ASK,
        asset_ids=form.inputs["asset_ids"],
        action="archive",
        confirmed="1",
    )
    assert set(Asset.objects.exclude(deleted_at=None).values_list("pk", flat=True)) == set(
        ids[:2]
    )
    shown = page(client.get(f"{JOBS}{BulkJob.objects.get().pk}/change/")).text
    assert "(2 selected assets)" in shown
    assert "all assets" not in shown


def test_what_was_archived_comes_back_by_undo(
    ids: list[int], client_of: Any, page: Any, run: Any
) -> None:
    client = client_of(*EDITOR)
    job = run(client, ASK, query="sky", action="archive", confirmed="1")["Location"]
    shown = page(client.get(job))
    assert "Undo" in shown.text
    undoing = run(client, f"{JOBS}{BulkJob.objects.get().pk}/undo/")["Location"]
    assert "3 of 3" in page(client.get(undoing)).text
    assert Asset.objects.search("sky").count() == 3
    assert "Undo " not in page(client.get(job)).text


def test_an_export_is_downloaded(ids: list[int], client_of: Any, run: Any) -> None:
    client = client_of("view_asset")
    job = run(client, ASK, query="sky", action="export", format="jsonl", confirmed="1")
    pk = BulkJob.objects.get().pk
    assert job["Location"] == f"{JOBS}{pk}/change/"
    answer = client.get(f"{JOBS}{pk}/download/")
    assert answer["Content-Disposition"] == f'attachment; filename="assets-{pk}.jsonl"'
    assert b"".join(answer.streaming_content).count(b"\n") == 3


def test_a_job_that_waits_is_polled_and_cancelled(ids: list[int], client_of: Any) -> None:
    client = client_of(*EDITOR)
    user = person("root", is_superuser=True)
    job, _ = bulk.create(bulk.BulkRequest("add_tag", tag="x"), user=user)
    client.force_login(user.__class__.objects.get(pk=user.pk))
    BulkJob.objects.update(requested_by=user)
    user.is_staff = True
    user.save()
    assert client.get(f"{JOBS}{job.pk}/progress/").json()["is_open"]
    client.post(f"{JOBS}{job.pk}/cancel/")
    assert not client.get(f"{JOBS}{job.pk}/progress/").json()["is_open"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"query": "sky=>1", "action": "export"}, "sky"),
        ({"action": "accept_tag", "tag": "never"}, "There is no tag"),
        ({"action": "add_tag"}, "takes the name of a tag"),
        ({"action": "export", "asset_ids": "x"}, "selection is invalid"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_started(
    said: dict[str, str], told: str, client_of: Any, page: Any
) -> None:
    shown = page(client_of(*EDITOR).post(ASK, {**said, "confirmed": "1"}))
    assert told in shown.text
    assert not BulkJob.objects.exists()


def test_who_may_only_look_may_only_export(ids: list[int], client_of: Any, page: Any) -> None:
    client = client_of("view_asset")
    form = page(client.get(ASK)).html
    assert 'value="export"' in form
    assert 'value="add_tag"' not in form
    refused = client.post(ASK, {"action": "add_tag", "tag": "x", "confirmed": "1"})
    assert refused.status_code == 200
    assert not BulkJob.objects.exists()
    assert client_of().get(ASK).status_code == 403


def test_other_peoples_jobs_are_seen_with_permission_only(
    ids: list[int], client_of: Any, run: Any
) -> None:
    run(client_of(*EDITOR), ASK, query="sky", action="export", confirmed="1")
    pk = BulkJob.objects.get().pk
    other = client_of("view_asset")
    for path in ("change/", "progress/", "download/"):
        assert other.get(f"{JOBS}{pk}/{path}").status_code == 404
    auditor = client_of("view_bulkjob")
    assert auditor.get(f"{JOBS}{pk}/change/").status_code == 200
    assert auditor.get(f"{JOBS}{pk}/download/").status_code == 403
    assert auditor.get(JOBS).status_code == 200


def test_the_list_of_jobs_takes_a_bounded_number_of_queries(
    ids: list[int], client_of: Any, run: Any, django_assert_max_num_queries: Any
) -> None:
    client = client_of(*EDITOR)
    for _ in range(5):
        run(client, ASK, query="sky", action="export", confirmed="1")
    with django_assert_max_num_queries(9):
        assert client.get(JOBS).status_code == 200


def test_a_job_of_somebody_else_is_ended_by_who_may_change_jobs_alone(
    ids: list[int], client_of: Any, page: Any
) -> None:
    job, _ = bulk.create(bulk.BulkRequest("export", format="csv"), user=person("ann"))
    place = f"{JOBS}{job.pk}/"
    looking = client_of("view_asset", "view_bulkjob")
    assert "Cancel job" not in page(looking.get(f"{place}change/")).text
    for verb in ("cancel", "undo"):
        told = page(looking.post(f"{place}{verb}/", follow=True)).text
        assert "Another user started this job" in told
    job.refresh_from_db()
    assert job.is_open
    in_charge = client_of("view_asset", "view_bulkjob", "change_bulkjob")
    assert "Cancel job" in page(in_charge.get(f"{place}change/")).text
    assert "The job was canceled." in page(in_charge.post(f"{place}cancel/", follow=True)).text
    job.refresh_from_db()
    assert job.state == "cancelled"
    # The permission of the action is required as well.
    added, _ = bulk.create(bulk.BulkRequest("add_tag", tag="x"), user=person("bob"))
    assert in_charge.post(f"{JOBS}{added.pk}/cancel/").status_code == 403


def only_the_first(user: Any) -> Q:
    return Q(reference="h0")


def test_an_export_is_for_the_scope_it_was_asked_with(
    ids: list[int], client_of: Any, page: Any, run: Any, settings: Any
) -> None:
    client = client_of(*EDITOR)
    place = run(client, ASK, query="sky", action="export", confirmed="1")["Location"]
    download = f"{JOBS}{BulkJob.objects.get().pk}/download/"
    assert download in page(client.get(place)).html
    settings.FILESTACK_TAGS = {
        **settings.FILESTACK_TAGS,
        "ASSET_SCOPE": f"{__name__}.only_the_first",
    }
    shown = page(client.get(place))
    assert "The assets that you can see have changed" in shown.text
    assert download not in shown.html
    assert client.get(download).status_code == 404


def test_what_was_skipped_is_named_where_one_may_see_it(
    ids: list[int], client_of: Any, page: Any, run: Any, settings: Any
) -> None:
    Asset.objects.filter(pk__in=ids).update(filename=Concat(Value("cat-"), "reference"))
    client = client_of(*EDITOR)
    chosen = ",".join(map(str, ids))
    run(client, ASK, asset_ids=chosen, action="add_tag", tag="sky", confirmed="1")
    place = f"{JOBS}{BulkJob.objects.get().pk}/change/"
    shown = page(client.get(place))
    assert shown.links["cat-h1"] == f"{LIST}{ids[1]}/change/"
    settings.FILESTACK_TAGS = {
        **settings.FILESTACK_TAGS,
        "ASSET_SCOPE": f"{__name__}.only_the_first",
    }
    shown = page(client.get(place))
    assert {name for name in shown.links if name.startswith("cat-")} == {"cat-h0"}
    assert "cat-h1" not in shown.html
    assert f"{LIST}{ids[1]}/" not in shown.html
    assert f" {ids[1]} skipped" in shown.text
