"""Bulk jobs over REST: started once, polled to the end, undone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Q
from rest_framework.test import APIClient

from filestack_tags import curation
from filestack_tags.api.problems import PREFIX
from filestack_tags.curation import bulk
from filestack_tags.models import Asset, AssetTag, BulkJob, Tag

from .rows import person, tagged

pytestmark = pytest.mark.django_db

JOBS = "/api/v1/jobs/"
EDITOR = ("view_asset", "change_asset", "tag_asset", "delete_asset")
REJECT = {"action": "reject_tag", "q": "sky", "tag": "sky", "confidence": [0, 60]}


@pytest.fixture
def api(client_of: Any) -> APIClient:
    made: APIClient = client_of(*EDITOR)
    return made


@pytest.fixture
def run(django_capture_on_commit_callbacks: Any) -> Callable[..., Any]:
    """Post, and run the tasks as after a commit."""

    def post(client: APIClient, path: str, body: Any = None, key: str = "") -> Any:
        headers = {"Idempotency-Key": key} if key else {}
        with django_capture_on_commit_callbacks(execute=True):
            return client.post(path, body, format="json", headers=headers)

    return post


@pytest.fixture
def ids(db: None) -> list[int]:
    return [tagged(f"h{number}", {"sky": 50 + 10 * number}).pk for number in range(3)]


def rejected() -> int:
    return AssetTag.objects.filter(decision=AssetTag.Decision.REJECTED).count()


def owner() -> User:
    return User.objects.get(username="client0")


def test_a_job_is_previewed_asked_for_followed_and_undone(
    api: APIClient, run: Any, ids: list[int]
) -> None:
    shown = run(api, f"{JOBS}preview/", REJECT)
    assert (shown.status_code, shown.json()) == (
        200,
        {
            "assets": 2,
            "assets_is_exact": True,
            "calls": 0,
            "cost": None,
            "calls_left": None,
            "can_be_undone": True,
        },
    )
    assert not BulkJob.objects.exists()
    asked = run(api, JOBS, REJECT)
    assert asked.status_code == 202
    assert asked.json()["state"] == "waiting"
    assert rejected() == 2
    job = api.get(asked["Location"]).json()
    assert (job["state"], job["matched"], job["changed"]) == ("finished", 2, 2)
    assert (job["q"], job["parameters"]["tag"]) == ("sky", "sky")
    assert (job["requested_by"], job["can_be_undone"]) == ("client0", True)
    undoing = run(api, f"{asked['Location']}undo/")
    assert (undoing.status_code, undoing.json()["undoes"]) == (202, job["id"])
    assert rejected() == 0
    again = run(api, f"{asked['Location']}undo/")
    assert (again.status_code, again.json()["type"]) == (409, PREFIX + "conflict")
    assert len(api.get(JOBS, {"state": "finished"}).json()["results"]) == 2
    assert not api.get(JOBS, {"state": "failed"}).json()["results"]


def test_the_same_key_and_body_are_the_same_job_and_another_body_is_refused(
    api: APIClient, run: Any, ids: list[int], client_of: Any
) -> None:
    first = run(api, JOBS, REJECT, key="abc")
    again = run(api, JOBS, REJECT, key="abc")
    assert (first.status_code, again.status_code) == (202, 200)
    assert first["Location"] == again["Location"]
    other = run(api, JOBS, {**REJECT, "confidence": [0, 50]}, key="abc")
    assert (other.status_code, other.json()["type"]) == (422, PREFIX + "idempotency-key-reused")
    assert run(client_of(*EDITOR), JOBS, REJECT, key="abc").status_code == 202
    assert BulkJob.objects.count() == 2
    long = run(api, JOBS, REJECT, key="x" * 201)
    assert (long.status_code, long.json()["parameter"]) == (400, "Idempotency-Key")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "action"),
        ({"action": "undo"}, "action"),
        ({"action": "reject_tag"}, "tag"),
        ({"action": "reject_tag", "tag": "nowhere"}, "tag"),
        ({"action": "add_tag", "tag": "a\x7fb"}, "tag"),
        ({**REJECT, "confidence": [60, 0]}, "confidence"),
        ({**REJECT, "confidence": [1]}, "confidence"),
        ({**REJECT, "format": "csv"}, "format"),
        ({**REJECT, "query": "sky"}, "query"),
        ({"action": "retag", "tagger": "nobody"}, "tagger"),
        ({"action": "retag", "tagger": "os.abort"}, "tagger"),
        ({"action": "retag", "tagger": "os.system"}, "tagger"),
        ({"action": "run_workflow", "tagger": "os.abort"}, "tagger"),
        ({"action": "run_workflow", "tagger": "nobody"}, "tagger"),
        ({"action": "archive", "asset_ids": []}, "asset_ids"),
        ({"action": "archive", "asset_ids": [2**63]}, "asset_ids.0"),
    ],
)
def test_what_cannot_be_done_is_told_by_its_field(
    api: APIClient, run: Any, ids: list[int], body: dict[str, Any], field: str
) -> None:
    for path in (JOBS, f"{JOBS}preview/"):
        reply = run(api, path, body)
        assert (reply.status_code, reply.json()["type"]) == (400, PREFIX + "invalid-values")
        assert field in {error["field"] for error in reply.json()["errors"]}
    assert not BulkJob.objects.exists()


def test_an_unknown_tagger_is_rejected_with_the_allowed_names(
    api: APIClient, run: Any, ids: list[int], settings: Any
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "WORKFLOWS": {"moderation": "wf-1"},
        "TAGGERS": {"own": "tests.scripted.ScriptedTagger"},
        "TAGGER": "tests.scripted.FollowedTagger",
    }
    for path in (JOBS, f"{JOBS}preview/"):
        for tagger in ("tests.scripted.ScriptedTagger", "tests.scripted.FollowedTagger"):
            reply = run(api, path, {"action": "retag", "tagger": tagger})
            assert reply.status_code == 400
            assert reply.json()["errors"] == [
                {
                    "field": "tagger",
                    "detail": f"There is no tagger '{tagger}'. Use one of: filestack, "
                    "workflow, local, workflow:moderation, own.",
                }
            ]
        assert run(api, path, {"action": "retag", "tagger": "own"}).status_code in (200, 202)


def test_a_search_that_cannot_be_read_is_told_with_its_position(
    api: APIClient, run: Any, ids: list[int]
) -> None:
    for path in (JOBS, f"{JOBS}preview/"):
        reply = run(api, path, {"action": "archive", "q": "sky=>80"})
        assert (reply.status_code, reply.json()["position"]) == (400, 4)
    assert Asset.objects.present().count() == 3


def test_what_came_of_each_asset_is_paged(
    api: APIClient, run: Any, ids: list[int], django_assert_num_queries: Any
) -> None:
    body = {**REJECT, "asset_ids": [*ids, 999_999]}
    job = run(api, JOBS, body)["Location"]
    with django_assert_num_queries(6):  # session, user, permissions twice, job, items
        first = api.get(f"{job}items/", {"page_size": 3}).json()
    assert first["results"][0] == {
        "asset": 999_999,
        "outcome": "skipped",
        "reason": "no_match",
        "error": "",
    }
    second = api.get(first["next"]).json()
    assert [row["asset"] for row in second["results"]] == [ids[0]]
    changed = api.get(f"{job}items/", {"outcome": "changed"}).json()["results"]
    assert [row["asset"] for row in changed] == [ids[1], ids[0]]
    reply = api.get(f"{job}items/", {"outcome": "lost"})
    assert (reply.status_code, reply.json()["parameter"]) == (400, "outcome")


def test_an_export_is_downloaded_once_it_is_finished(
    api: APIClient, run: Any, ids: list[int]
) -> None:
    job, _ = bulk.create(bulk.BulkRequest("export", query="sky"), user=owner())
    early = api.get(f"{JOBS}{job.pk}/download/")
    assert (early.status_code, early.json()["type"]) == (409, PREFIX + "conflict")
    done = run(api, JOBS, {"action": "export", "q": "sky", "format": "jsonl"})
    reply = api.get(f"{done['Location']}download/")
    assert reply["Content-Type"] == "application/jsonl; charset=utf-8"
    assert reply["Content-Disposition"].endswith('.jsonl"')
    assert b"".join(reply.streaming_content).count(b"\n") == 3
    other = run(api, JOBS, REJECT)
    assert api.get(f"{other['Location']}download/").status_code == 404


def by_kind(user: Any) -> Q | None:
    """A scope that assets are moved in and out of."""
    return None if user.is_superuser else Q(kind="url" if user.last_name else "handle")


def test_an_export_is_read_while_the_scope_is_what_it_was_asked_with(
    api: APIClient, run: Any, ids: list[int], settings: Any
) -> None:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "ASSET_SCOPE": f"{__name__}.by_kind"}
    place = run(api, JOBS, {"action": "export", "q": "sky"})["Location"]
    for path in ("download/", "items/"):
        assert api.get(place + path).status_code == 200
    User.objects.filter(pk=owner().pk).update(last_name="of another team")
    api.force_authenticate(owner())
    assert api.get(place).status_code == 200
    for path in ("download/", "items/"):
        assert api.get(place + path).status_code == 404
    User.objects.filter(pk=owner().pk).update(last_name="")
    api.force_authenticate(owner())
    assert api.get(f"{place}download/").status_code == 200


def test_a_client_that_is_no_user_has_no_jobs(run: Any, ids: list[int]) -> None:
    bulk.create(bulk.BulkRequest("export", query="sky"), user=None)

    class Machine(AnonymousUser):
        is_authenticated = True

        def has_perm(self, *args: Any) -> bool:
            return args[0] == "filestack_tags.view_asset"

    client = APIClient()
    client.force_authenticate(Machine())
    reply = client.get(JOBS)
    assert (reply.status_code, reply.json()["results"]) == (200, [])


def test_a_hidden_tag_is_unknown_to_who_may_not_search_it(
    api: APIClient, ids: list[int]
) -> None:
    curation.hide(Tag.objects.get(key="sky").pk)
    said = [
        api.post(f"{JOBS}preview/", {"action": "reject_tag", "tag": tag}, format="json").json()
        for tag in ("sky", "nowhere")
    ]
    assert [reply["errors"][0]["detail"] for reply in said] == [
        "There is no tag 'sky'.",
        "There is no tag 'nowhere'.",
    ]


def test_a_job_is_cancelled_and_cancelling_again_is_no_error(
    api: APIClient, ids: list[int]
) -> None:
    job, _ = bulk.create(bulk.BulkRequest("archive"), user=owner())
    for _ in range(2):
        reply = api.post(f"{JOBS}{job.pk}/cancel/")
        assert (reply.status_code, reply.json()["state"]) == (200, "cancelled")
        assert reply.json()["can_be_cancelled"] is False


@pytest.mark.parametrize(
    ("body", "needed"),
    [
        (REJECT, "change_asset"),
        ({"action": "retag"}, "tag_asset"),
        ({"action": "archive"}, "delete_asset"),
    ],
)
def test_each_action_takes_its_own_permission(
    client_of: Any, run: Any, ids: list[int], body: dict[str, Any], needed: str
) -> None:
    lacking = client_of(*({*EDITOR} - {needed}))
    for path in (JOBS, f"{JOBS}preview/"):
        assert run(lacking, path, body).status_code == 403
        assert run(client_of(needed), path, body).status_code == 403  # without view_asset
    assert not BulkJob.objects.exists()
    job, _ = bulk.create(bulk.BulkRequest(**_request(body)), user=owner())
    assert lacking.post(f"{JOBS}{job.pk}/cancel/").status_code == 403
    assert lacking.post(f"{JOBS}{job.pk}/undo/").status_code == 403


def _request(body: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in body.items() if name not in ("q", "confidence")}
    return {"query": body.get("q", ""), **kept}


def test_jobs_of_others_are_not_there_without_the_permission(
    api: APIClient, client_of: Any, ids: list[int]
) -> None:
    job, _ = bulk.create(bulk.BulkRequest("archive"), user=owner())
    other = client_of(*EDITOR)
    for path in ("", "items/", "download/"):
        assert other.get(f"{JOBS}{job.pk}/{path}").status_code == 404
    for path in ("cancel/", "undo/"):
        assert other.post(f"{JOBS}{job.pk}/{path}").status_code == 404
    assert not other.get(JOBS).json()["results"]
    overseer = client_of(*EDITOR, "view_bulkjob")
    assert [row["id"] for row in overseer.get(JOBS).json()["results"]] == [job.pk]


def test_jobs_of_others_are_ended_by_who_may_change_jobs_alone(
    client_of: Any, ids: list[int]
) -> None:
    job, _ = bulk.create(bulk.BulkRequest("export", format="csv"), user=person("ann"))
    looking = client_of("view_asset", "view_bulkjob")
    for path in ("cancel/", "undo/"):
        refused = looking.post(f"{JOBS}{job.pk}/{path}")
        assert refused.status_code == 403
        assert "Another user started this job" in refused.json()["detail"]
    job.refresh_from_db()
    assert job.is_open
    in_charge = client_of("view_asset", "view_bulkjob", "change_bulkjob")
    assert in_charge.post(f"{JOBS}{job.pk}/cancel/").json()["state"] == "cancelled"
    assert in_charge.post(f"{JOBS}{job.pk}/undo/").status_code == 409


def test_who_is_no_user_asks_for_nothing(
    api: APIClient, run: Any, ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Such as a host's service account: without a user a job would have no scope.
    monkeypatch.setattr("filestack_tags.api.base.View.user", None)
    for path in (JOBS, f"{JOBS}preview/"):
        assert run(api, path, {"action": "archive"}).status_code == 403
    assert not BulkJob.objects.exists()


def test_listing_costs_the_same_however_many_there_are(
    api: APIClient, ids: list[int], django_assert_num_queries: Any
) -> None:
    for _ in range(5):
        bulk.create(bulk.BulkRequest("archive"), user=owner())
    with django_assert_num_queries(5):  # session, user, permissions twice, rows
        assert len(api.get(JOBS).json()["results"]) == 5
    for pk in ("abc", "9" * 30, "0"):
        assert api.get(f"{JOBS}{pk}/").status_code == 404
