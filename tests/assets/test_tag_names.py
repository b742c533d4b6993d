"""One rule decides which tag names a user may see, wherever names are shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from filestack_tags import curation
from filestack_tags.curation import bulk
from filestack_tags.exceptions import BulkError
from filestack_tags.models import Asset, BulkJob, Tag, TagAlias, TagDecision, TaggingRun
from tests.api.rows import person, tagged

pytestmark = pytest.mark.django_db

API = "/api/v1/"
ADMIN = "/admin/filestack_tags/"
PERMISSIONS = (
    *("view_asset", "add_asset", "change_asset", "tag_asset", "delete_asset"),
    *("view_tagdecision", "view_taggingrun", "view_bulkjob"),
)
SECRET, LABEL, ALLOWED = "quokka", "weapon", "zebra"


@pytest.fixture
def asset(settings: Any) -> Asset:
    """An asset with a hidden tag, a sensitive one that was rejected, and one that was accepted."""
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "HIDE_SENSITIVE": True, "SENSITIVE_LABELS": [LABEL, ALLOWED],
    }  # fmt: skip
    made = tagged("h1", {SECRET: 90, LABEL: 80, ALLOWED: 70, "sky": 60})
    ids = dict(Tag.objects.values_list("key", "pk"))
    curation.accept(made.pk, ids[SECRET], user=None)
    curation.reject(made.pk, ids[LABEL], user=None)
    curation.accept(made.pk, ids[ALLOWED], user=None)
    curation.accept(made.pk, ids["sky"], user=None)
    curation.hide(ids[SECRET], hidden=True)
    TagAlias.objects.create(key="roo", tag_id=ids[SECRET])
    TaggingRun.objects.update(
        raw_reply=json.dumps(
            {"tags": {"auto": {SECRET: 90, LABEL: 80, "sky": 60}, "user": None}}
        )
    )
    bulk.create(bulk.BulkRequest("accept_tag", query="include:hidden", tag=SECRET), user=None)
    return made


@pytest.fixture
def user(db: None) -> User:
    return person("viewer", *PERMISSIONS, is_staff=True)


@pytest.fixture
def api(user: User) -> APIClient:
    client = APIClient()
    client.force_login(user)
    return client


@pytest.fixture
def admin(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


PAGES: list[Callable[[Asset], str]] = [
    lambda asset: f"{API}decisions/",
    lambda asset: f"{API}decisions/?asset={asset.pk}",
    lambda asset: f"{API}assets/?include=facets",
    lambda asset: f"{API}assets/{asset.pk}/",
    lambda asset: f"{API}assets/{asset.pk}/tags/",
    lambda asset: f"{API}jobs/",
    lambda asset: f"{API}jobs/{BulkJob.objects.get().pk}/",
    lambda asset: f"{API}runs/{TaggingRun.objects.get().pk}/",
    lambda asset: f"{ADMIN}tagdecision/",
    lambda asset: f"{ADMIN}tagdecision/?q={SECRET[:3]}",
    lambda asset: f"{ADMIN}asset/",
    lambda asset: f"{ADMIN}asset/{asset.pk}/change/",
    lambda asset: f"{ADMIN}asset/{asset.pk}/runs/",
    lambda asset: f"{ADMIN}taggingrun/{TaggingRun.objects.get().pk}/change/",
    lambda asset: f"{ADMIN}bulkjob/",
    lambda asset: f"{ADMIN}bulkjob/{BulkJob.objects.get().pk}/change/",
]


@pytest.mark.parametrize("number", range(len(PAGES)))
def test_no_page_shows_a_hidden_name(admin: Client, asset: Asset, number: int) -> None:
    reply = admin.get(PAGES[number](asset))
    assert reply.status_code == 200
    shown = reply.content.decode()
    assert SECRET not in shown
    assert LABEL not in shown


def test_users_with_the_permission_see_all(user: User, asset: Asset) -> None:
    client = APIClient()
    client.force_login(person("curator", *PERMISSIONS, "search_hidden", is_staff=True))
    keys = {row["tag"] for row in client.get(f"{API}decisions/").json()["results"]}
    assert keys == {SECRET, LABEL, ALLOWED, "sky"}
    assert client.get(f"{API}jobs/").json()["results"][0]["parameters"]["tag"] == SECRET
    page = client.get(f"{ADMIN}asset/{asset.pk}/change/").content.decode()
    assert SECRET in page
    assert LABEL in page


def test_the_log_shows_a_sensitive_tag_where_a_person_accepted_it(
    api: APIClient, admin: Client, asset: Asset
) -> None:
    keys = {row["tag"] for row in api.get(f"{API}decisions/").json()["results"]}
    assert keys == {ALLOWED, "sky"}
    log = admin.get(f"{ADMIN}tagdecision/").content.decode()
    assert ALLOWED in log


@pytest.mark.parametrize("key", [SECRET, LABEL])
def test_a_decision_about_a_hidden_name_is_not_there(
    api: APIClient, admin: Client, asset: Asset, key: str
) -> None:
    decision = TagDecision.objects.get(tag__key=key)
    assert api.get(f"{API}decisions/{decision.pk}/").status_code == 404
    assert api.post(f"{API}decisions/{decision.pk}/undo/").status_code == 404
    reply = admin.post(
        f"{ADMIN}asset/{asset.pk}/decide/", {"undo": str(decision.pk)}, follow=True
    )
    assert "The decision or the tag does not exist." in reply.content.decode()
    assert not TagDecision.objects.exclude(undoes=None).exists()


@pytest.mark.parametrize("verb", ["accept", "reject", "withdraw"])
def test_deciding_by_id_does_not_name_a_hidden_tag(
    admin: Client, asset: Asset, verb: str
) -> None:
    tag = Tag.objects.get(key=SECRET)
    path = f"{ADMIN}asset/{asset.pk}/decide/"
    shown = admin.post(path, {verb: str(tag.pk)}, follow=True).content.decode()
    assert SECRET not in shown
    assert TagDecision.objects.filter(tag=tag).count() == 1


def test_adding_a_tag_by_its_alias_does_not_name_the_hidden_tag(
    api: APIClient, admin: Client, asset: Asset
) -> None:
    other = tagged("h2", {"sky": 50})
    reply = api.post(f"{API}assets/{other.pk}/tags/", {"name": "roo"}, format="json")
    assert (reply.status_code, reply.json()["tag"]) == (201, None)
    third = tagged("h3", {"sky": 50})
    shown = admin.post(
        f"{ADMIN}asset/{third.pk}/decide/",
        {"add": "1", "add-name": "roo", "add-confidence": "100"},
        follow=True,
    ).content.decode()
    for text in (reply.content.decode(), str(reply.headers), shown):
        assert SECRET not in text
    assert "Added roo." in shown


@pytest.mark.parametrize("name", [SECRET, "roo", LABEL, "never seen"])
def test_a_bulk_job_about_a_hidden_tag_is_as_about_none(
    user: User, asset: Asset, name: str
) -> None:
    for ask in (bulk.create, bulk.preview):
        with pytest.raises(BulkError, match=f"^There is no tag '{name}'"):
            ask(bulk.BulkRequest("accept_tag", tag=name), user=user)
