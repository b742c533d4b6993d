"""Runs, workflows, uploads and deliveries over REST."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from filestack_tags.api.problems import PREFIX
from filestack_tags.models import Asset, TaggingRun, WebhookDelivery

from .rows import tagged

pytestmark = pytest.mark.django_db

RUNS, UPLOADS, DELIVERIES = (f"/api/v1/{name}/" for name in ("runs", "uploads", "deliveries"))
SEEN = ("view_asset", "view_taggingrun")


@pytest.fixture
def asset(db: None) -> Asset:
    made = tagged("h1", {"sky": 90})
    TaggingRun.objects.filter(asset=made).update(raw_reply='{"tags": "raw"}')
    return made


# Runs


def test_runs_are_listed_by_asset_and_state_and_only_one_shows_its_reply(
    client_of: Any, asset: Asset, django_assert_num_queries: Any
) -> None:
    api = client_of("view_taggingrun")
    for number in range(4):
        tagged(f"more{number}", {"sky": 80})
    with django_assert_num_queries(5):  # session, user, permissions twice, rows
        page = api.get(RUNS, {"page_size": 2}).json()
    assert len(page["results"]) == 2
    assert "raw_reply" not in page["results"][0]
    (run,) = api.get(RUNS, {"asset": asset.pk, "state": "succeeded"}).json()["results"]
    assert (run["asset"], run["tagger"], run["state"]) == (asset.pk, "scripted", "succeeded")
    assert not api.get(RUNS, {"state": "failed"}).json()["results"]
    assert api.get(f"{RUNS}{run['id']}/").json() == {**run, "raw_reply": "", "notes": ""}
    shown = client_of("view_taggingrun", "search_hidden").get(f"{RUNS}{run['id']}/").json()
    assert shown == {**run, "raw_reply": '{"tags": "raw"}', "notes": ""}
    for wrong in ({"state": "lost"}, {"asset": "x"}, {"asset": "9" * 25}, {"kind": "a"}):
        assert api.get(RUNS, wrong).status_code == 400
    Asset.objects.filter(pk=asset.pk).update(deleted_at=timezone.now())
    assert api.get(f"{RUNS}{run['id']}/").status_code == 404


# Workflows


def test_a_workflow_is_run_on_an_asset_and_its_runs_are_listed(
    client_of: Any, asset: Asset, settings: Any
) -> None:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "WORKFLOWS": {"check": "id-1"}}
    api = client_of(*SEEN, "tag_asset")
    place = f"/api/v1/assets/{asset.pk}/workflows/"
    reply = api.post(place, {"workflow": "check"}, format="json")
    assert (reply.status_code, reply.json()) == (
        202,
        {"id": asset.pk, "state": "queued", "queued": True},
    )
    asset.refresh_from_db()
    assert (asset.queued_for, asset.queued_by) == ("workflow:check", "api")
    assert api.post(place, {"workflow": "check"}, format="json").json()["queued"] is True
    Asset.objects.update(tagging_state=Asset.State.RUNNING, due_at=timezone.now())
    assert api.post(place, {"workflow": "check"}, format="json").json()["queued"] is False
    TaggingRun.objects.create(
        asset=asset, tagger="workflow:check", trigger="api", content_version=1
    )
    assert [run["tagger"] for run in api.get(place).json()["results"]] == ["workflow:check"]
    for body in ({"workflow": "other"}, {}):
        reply = api.post(place, body, format="json")
        assert (reply.status_code, reply.json()["errors"][0]["field"]) == (400, "workflow")
    for pk in ("999999", "x"):
        assert api.get(place.replace(str(asset.pk), pk)).status_code == 404


# Uploads


def test_a_permit_is_short_allows_to_store_alone_and_is_kept_nowhere(
    client_of: Any, settings: Any
) -> None:
    reply = client_of("add_asset").post(f"{UPLOADS}permit/")
    assert reply.status_code == 200
    assert reply["Cache-Control"] == "no-store"
    said = reply.json()
    policy = json.loads(base64.urlsafe_b64decode(said["policy"]))
    assert sorted(policy["call"]) == ["pick", "store"]
    assert 0 < said["expires_in"] <= 600
    assert policy["expiry"] <= (timezone.now() + timedelta(seconds=601)).timestamp()
    assert settings.FILESTACK_TAGS["APP_SECRET"] not in reply.content.decode()
    assert said["max_size"] == policy["maxSize"]


def test_without_a_key_uploads_are_not_set_up_and_nothing_more_is_told(
    client_of: Any, settings: Any
) -> None:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "API_KEY": ""}
    reply = client_of("add_asset").post(f"{UPLOADS}permit/")
    assert (reply.status_code, reply.json()["type"]) == (503, PREFIX + "not-configured")
    assert "API_KEY" not in reply.content.decode()


def test_a_file_that_was_stored_is_registered_once(client_of: Any) -> None:
    api = client_of("add_asset", "tag_asset")
    body = {
        "handle": "STORED1",
        "filename": "a.jpg",
        "mimetype": "image/jpeg",
        "size": 12,
        "status": "Stored",
        "tag": False,
    }
    first = api.post(f"{UPLOADS}complete/", body, format="json")
    again = api.post(f"{UPLOADS}complete/", body, format="json")
    assert (first.status_code, again.status_code) == (201, 200)
    shown = first.json()
    assert (shown["reference"], shown["size"], shown["uploader"]) == ("STORED1", 12, "client0")
    assert first["Location"].endswith(f"/assets/{shown['id']}/")
    for wrong in ({"handle": "a b"}, {"handle": "a", "size": -1}, {"handle": "a", "x": 1}, {}):
        assert api.post(f"{UPLOADS}complete/", wrong, format="json").status_code == 400
    refused = client_of("add_asset").post(
        f"{UPLOADS}complete/", {"handle": "b", "tag": True}, format="json"
    )
    assert refused.status_code == 403
    assert Asset.objects.count() == 1


# Deliveries


def test_operators_read_deliveries_and_replay_them(
    client_of: Any, django_assert_num_queries: Any
) -> None:
    for number in range(3):
        WebhookDelivery.objects.create(
            event_key=str(number),
            raw_body=b"{\xff}",
            action="fp.upload",
            state="failed",
            due_at=None,
        )
    api = client_of("view_webhookdelivery", "replay_webhookdelivery")
    with django_assert_num_queries(5):  # session, user, permissions twice, rows
        page = api.get(DELIVERIES, {"state": "failed", "action": "fp.upload"}).json()
    assert len(page["results"]) == 3
    assert "body" not in page["results"][0]
    assert api.get(DELIVERIES, {"action": "fp.\x00"}).status_code == 400
    assert api.get(DELIVERIES, {"state": "odd"}).status_code == 400
    place = f"{DELIVERIES}{page['results'][0]['id']}/"
    assert api.get(place).json()["body"] == "{�}"
    reply = api.post(f"{place}replay/")
    assert (reply.status_code, reply.json()["replayed"]) == (202, True)
    assert api.post(f"{place}replay/").json()["replayed"] is False


# Permissions


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("get", RUNS, ("view_taggingrun",)),
        ("get", f"{RUNS}1/", ("view_taggingrun",)),
        ("get", "/api/v1/assets/1/workflows/", SEEN),
        ("post", "/api/v1/assets/1/workflows/", ("view_asset", "tag_asset")),
        ("post", f"{UPLOADS}permit/", ("add_asset",)),
        ("post", f"{UPLOADS}complete/", ("add_asset",)),
        ("get", DELIVERIES, ("view_webhookdelivery",)),
        ("get", f"{DELIVERIES}1/", ("view_webhookdelivery",)),
        (
            "post",
            f"{DELIVERIES}1/replay/",
            ("view_webhookdelivery", "replay_webhookdelivery"),
        ),
    ],
)
def test_each_request_takes_all_of_its_permissions(
    client_of: Any, method: str, path: str, needed: tuple[str, ...]
) -> None:
    for lacking in needed:
        client = client_of(*({*needed} - {lacking}))
        assert getattr(client, method)(path, {}, format="json").status_code == 403
    assert getattr(client_of(*needed), method)(path, {}, format="json").status_code != 403
    assert getattr(APIClient(), method)(path, {}, format="json").status_code in (401, 403)
