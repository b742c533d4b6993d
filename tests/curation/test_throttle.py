"""Users write, and create tag names, no faster than the settings allow."""

from __future__ import annotations

from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db.models import Q
from django.test import Client
from rest_framework.test import APIClient

from filestack_tags import curation
from filestack_tags.api.problems import PREFIX
from filestack_tags.curation import bulk, throttle
from filestack_tags.exceptions import LimitExceeded
from filestack_tags.models import Asset, BulkJob, Tag
from tests.api.rows import person, tagged

pytestmark = pytest.mark.django_db

NOW = "2026-11-30T10:59:30Z"


@pytest.fixture(autouse=True)
def _empty_cache() -> Any:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def asset() -> Asset:
    return tagged("h1", {"sky": 90})


def client(name: str = "editor") -> APIClient:
    made = APIClient()
    made.force_login(person(name, "view_asset", "change_asset", "tag_asset", is_staff=True))
    return made


def limit(settings: Any, **values: Any) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | values


def add(api: APIClient, asset: Asset, name: str) -> Any:
    return api.post(f"/api/v1/assets/{asset.pk}/tags/", {"name": name}, format="json")


def test_writes_have_a_limit_by_default(asset: Asset) -> None:
    api = client()
    path = f"/api/v1/assets/{asset.pk}/"
    with time_machine.travel(NOW, tick=False):
        codes = [
            api.post(f"{path}tags/", {"bad": 1}, format="json").status_code for _ in range(600)
        ]
        assert set(codes) == {400}
        reply = api.patch(path, {"filename": "x"}, format="json")
        assert (reply.status_code, reply.json()["type"]) == (429, PREFIX + "throttled")
        assert reply["Retry-After"] == "30"
        assert api.get(path).status_code == 200
        assert client("other").patch(path, {"filename": "x"}, format="json").status_code == 200
    with time_machine.travel("2026-11-30T11:00:00Z", tick=False):
        assert api.patch(path, {"filename": "x"}, format="json").status_code == 200


@pytest.mark.parametrize("value", [None, 2])
def test_the_limit_on_writes_is_a_setting(
    asset: Asset, settings: Any, value: int | None
) -> None:
    limit(settings, WRITES_PER_MINUTE=value)
    api = client()
    with time_machine.travel(NOW, tick=False):
        codes = [add(api, asset, "sky").status_code for _ in range(3)]
    assert codes == [200, 200, 429 if value else 200]


def test_new_names_have_a_limit_and_known_ones_have_none(asset: Asset, settings: Any) -> None:
    limit(settings, NEW_TAGS_PER_HOUR=2)
    api = client()
    with time_machine.travel(NOW, tick=False):
        assert [add(api, asset, name).status_code for name in ("a", "b", "c")] == [
            201,
            201,
            429,
        ]
        reply = add(api, asset, "c")
        assert (reply.json()["type"], reply["Retry-After"]) == (PREFIX + "throttled", "30")
        assert [add(api, asset, name).status_code for name in ("a", "SKY")] == [200, 200]
        assert add(client("other"), asset, "c").status_code == 201
    assert not Tag.objects.filter(key="d").exists()


def test_the_limit_is_one_in_the_api_the_admin_and_bulk_jobs(
    asset: Asset, settings: Any
) -> None:
    limit(settings, NEW_TAGS_PER_HOUR=1)
    api = client()
    browser = Client()
    browser.force_login(_user("editor"))
    with time_machine.travel(NOW, tick=False):
        assert add(api, asset, "a").status_code == 201
        shown = browser.post(
            f"/admin/filestack_tags/asset/{asset.pk}/decide/",
            {"add": "1", "add-name": "b", "add-confidence": "100"},
            follow=True,
        ).content.decode()
        assert "Too many new tag names" in shown
        body = {"action": "add_tag", "tag": "b"}
        assert api.post("/api/v1/jobs/", body, format="json").status_code == 429
        with pytest.raises(LimitExceeded):
            bulk.create(
                bulk.BulkRequest("add_tag", tag="b"), user=_user("editor"), trigger="admin"
            )
        bulk.create(bulk.BulkRequest("add_tag", tag="b"), user=_user("editor"))  # by code
    assert BulkJob.objects.count() == 1
    curation.add(asset.pk, "c", user=_user("editor"))
    assert not Tag.objects.filter(key="b").exists()


def scope(user: Any) -> Q:
    return Q(filename="")


def test_users_with_one_scope_share_a_limit(asset: Asset, settings: Any) -> None:
    limit(settings, NEW_TAGS_PER_HOUR_IN_SCOPE=1, ASSET_SCOPE=f"{__name__}.scope")
    with time_machine.travel(NOW, tick=False):
        assert add(client(), asset, "a").status_code == 201
        assert add(client("other"), asset, "b").status_code == 429


def test_new_names_have_limits_by_default(settings: Any) -> None:
    limit(settings, ASSET_SCOPE=f"{__name__}.scope")
    users = [person(f"user{number}") for number in range(6)]
    with time_machine.travel(NOW, tick=False):
        for user in users[:5]:
            for number in range(200):
                throttle.count_new_tag(f"{user.username} {number}", user=user)
            with pytest.raises(LimitExceeded):
                throttle.count_new_tag("one more", user=user)
        with pytest.raises(LimitExceeded):  # 1,000 names in the scope
            throttle.count_new_tag("one more", user=users[5])
        limit(settings, ASSET_SCOPE="")
        throttle.count_new_tag("one more", user=users[5])


def _user(name: str) -> User:
    return User.objects.get(username=name)
