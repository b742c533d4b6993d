"""Denied by default, whatever the host's REST framework settings are."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from django.contrib.auth.models import AnonymousUser
from rest_framework.request import Request
from rest_framework.test import APIClient, APIRequestFactory
from rest_framework.throttling import ScopedRateThrottle

from filestack_tags.api import base
from filestack_tags.api.problems import PREFIX
from filestack_tags.models import Asset

from .rows import person, tagged

pytestmark = pytest.mark.django_db

ENDPOINTS = [
    ("get", "/api/v1/assets/", "view_asset", 200),
    ("head", "/api/v1/assets/", "view_asset", 200),
    ("get", "/api/v1/assets/{pk}/", "view_asset", 200),
    ("get", "/api/v1/assets/count/", "view_asset", 200),
    ("get", "/api/v1/assets/facets/", "view_asset", 200),
    ("get", "/api/v1/assets/histogram/?tag=sky", "view_asset", 200),
    ("post", "/api/v1/assets/", "add_asset", 201),
    ("patch", "/api/v1/assets/{pk}/", "change_asset", 200),
    ("delete", "/api/v1/assets/{pk}/", "delete_asset", 204),
    ("post", "/api/v1/assets/{pk}/retag/", "tag_asset", 202),
    ("get", "/api/v1/assets/{pk}/tags/", "view_asset", 200),
    ("get", "/api/v1/assets/{pk}/tags/sky/", "view_asset", 200),
    ("post", "/api/v1/assets/{pk}/tags/", "change_asset", 201),
    ("put", "/api/v1/assets/{pk}/tags/sky/", "change_asset", 200),
    ("patch", "/api/v1/assets/{pk}/tags/sky/", "change_asset", 200),
    ("get", "/api/v1/decisions/", "view_tagdecision", 200),
    ("get", "/api/v1/decisions/1/", "view_tagdecision", 404),
    ("get", "/api/v1/tags/complete/", "view_tag", 200),
    ("patch", "/api/v1/tags/sky/", "change_tag", 200),
    ("post", "/api/v1/tags/sky/aliases/", "change_tag", 201),
    ("delete", "/api/v1/tags/sky/aliases/x/", "change_tag", 404),
    ("get", "/api/v1/tags/sky/merge/?into=sky", "change_tag", 409),
    ("post", "/api/v1/tags/sky/merge/", "change_tag", 400),
    ("get", "/api/v1/merges/1/", "view_tag", 404),
    ("post", "/api/v1/merges/1/undo/", "change_tag", 404),
    ("get", "/api/v1/tags/", "view_tag", 200),
    ("get", "/api/v1/tags/sky/", "view_tag", 200),
]
BODIES: dict[tuple[str, str], Any] = {
    ("post", "assets/"): {"handle": "another"},
    ("post", "assets/{pk}/tags/"): {"name": "new"},
    ("put", "assets/{pk}/tags/sky/"): {"decision": "accepted"},
    ("patch", "assets/{pk}/tags/sky/"): {"decision": "accepted"},
    ("post", "tags/sky/aliases/"): {"name": "new"},
}
ALL = {row[2] for row in ENDPOINTS}


@pytest.mark.parametrize(("method", "path", "needed", "status"), ENDPOINTS)
def test_each_action_needs_its_own_permission_and_no_other(
    client_of: Any, method: str, path: str, needed: str, status: int
) -> None:
    asset = tagged("h1", {"sky": 90})
    path = path.format(pk=asset.pk)
    body = BODIES.get((method, path.rpartition("/api/v1/")[2].replace(str(asset.pk), "{pk}")))
    others = client_of(*(ALL - {needed}))
    refused = getattr(others, method)(path, body, format="json")
    assert refused.status_code == 403
    allowed = getattr(client_of(needed), method)(path, body, format="json")
    assert allowed.status_code == status


@pytest.mark.parametrize(("method", "path", "needed", "status"), ENDPOINTS)
def test_nothing_is_open_to_the_public(
    settings: Any, method: str, path: str, needed: str, status: int
) -> None:
    settings.REST_FRAMEWORK = {
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"]
    }
    asset = tagged("h1", {"sky": 90})
    reply = getattr(APIClient(), method)(
        path.format(pk=asset.pk), {"handle": "x"} if method == "post" else None, format="json"
    )
    assert reply.status_code in (401, 403)
    assert Asset.objects.present().count() == 1


def test_authentication_is_the_hosts_and_a_challenge_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from rest_framework.authentication import BasicAuthentication

    monkeypatch.setattr(base.View, "authentication_classes", [BasicAuthentication])
    reply = APIClient().get("/api/v1/assets/")
    assert reply.status_code == 401
    assert reply.json()["type"] == PREFIX + "not-authenticated"
    assert reply["WWW-Authenticate"].startswith("Basic")


def test_throttling_is_the_hosts_and_says_when_to_come_back(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rest_framework.throttling import BaseThrottle

    class Never(BaseThrottle):
        def allow_request(self, request: Any, view: Any) -> bool:
            return False

        def wait(self) -> float:
            return 7.2

    monkeypatch.setattr(base.View, "throttle_classes", [Never])
    reply = api.get("/api/v1/assets/")
    assert reply.status_code == 429
    assert reply.json()["type"] == PREFIX + "throttled"
    assert reply["Retry-After"] == "8"


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("get", "/api/v1/assets/", "read"),
        ("post", "/api/v1/assets/", "write"),
        ("post", "/api/v1/assets/{pk}/retag/", "operate"),
    ],
)
def test_reading_writing_and_operating_are_throttled_apart(
    api: APIClient, monkeypatch: pytest.MonkeyPatch, method: str, path: str, scope: str
) -> None:
    path = path.format(pk=tagged("h1").pk)

    class Rates(ScopedRateThrottle):
        THROTTLE_RATES: ClassVar[Any] = {f"filestack_tags_{scope}": "0/day"}

    monkeypatch.setattr(base.View, "throttle_classes", [Rates])
    assert getattr(api, method)(path, {}, format="json").status_code == 429
    others = {"read", "write", "operate"} - {scope}
    rates = {f"filestack_tags_{other}": "0/day" for other in others}
    monkeypatch.setattr(Rates, "THROTTLE_RATES", rates)
    assert getattr(api, method)(path, {}, format="json").status_code != 429, "it has no rate"


class _Unlisted:
    action = "explode"


@pytest.mark.parametrize("user", [None, AnonymousUser()])
def test_a_request_without_user_is_denied(user: Any) -> None:
    request = Request(APIRequestFactory().get("/"))
    request.user = user
    assert base.OperationPermission().has_permission(request, _Unlisted()) is False  # type: ignore[arg-type]  # the part of a view that it uses


def test_an_action_that_lists_no_permission_is_denied_to_superusers_too() -> None:
    request = Request(APIRequestFactory().get("/"))
    request.user = person("root", is_superuser=True)
    assert base.OperationPermission().has_permission(request, _Unlisted()) is False  # type: ignore[arg-type]  # the part of a view that it uses
