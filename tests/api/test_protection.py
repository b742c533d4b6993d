"""What responses and error pages must not reveal, and values that filters reject."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import RequestFactory
from django.views.debug import technical_500_response
from rest_framework.test import APIClient

from filestack_tags.api.filters import AssetFilters
from filestack_tags.api.problems import PREFIX
from filestack_tags.conf import get_settings

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("name", sorted({*AssetFilters().fields} - {"q"}))
@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_filter_is_rejected(api: APIClient, name: str, value: str) -> None:
    for path in ("assets/", "assets/count/"):
        reply = api.get(f"/api/v1/{path}", {name: value})
        assert reply.status_code == 400
        assert reply.json()["type"].startswith(PREFIX)


def test_an_empty_search_finds_all(api: APIClient) -> None:
    assert api.get("/api/v1/assets/", {"q": ""}).status_code == 200


def test_an_empty_asset_of_decisions_is_rejected(api: APIClient) -> None:
    assert api.get("/api/v1/decisions/", {"asset": ""}).status_code == 400


def test_an_error_page_does_not_show_the_password_of_redis(settings: Any) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "REDIS_URL": "redis://:hunter2@r/0", "API_KEY": "hunter2", "APP_SECRET": "hunter2",
        "WEBHOOK_SECRETS": ["hunter2"],
    }  # fmt: skip
    settings.DEBUG = True
    configured = get_settings()
    assert "hunter2" not in repr(configured)
    assert configured.REDIS_URL == "redis://:hunter2@r/0"
    assert "hunter2" not in repr(settings.FILESTACK_TAGS["REDIS_URL"])
    page = technical_500_response(RequestFactory().get("/"), ValueError, ValueError(), None)
    assert "FILESTACK_TAGS" in page.content.decode()
    assert "hunter2" not in page.content.decode()


def test_replies_are_not_shown_in_frames(api: APIClient) -> None:
    for path in ("assets/", "nothing/"):
        assert api.get(f"/api/v1/{path}")["X-Frame-Options"] == "DENY"


def test_a_project_without_protection_from_frames_is_warned(settings: Any) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"WEBHOOK_SECRETS": ["w"]}
    frames = "django.middleware.clickjacking.XFrameOptionsMiddleware"
    settings.MIDDLEWARE = [each for each in settings.MIDDLEWARE if each != frames]
    assert "filestack_tags.W015" in [
        each.id for each in run_checks(include_deployment_checks=True)
    ]
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, frames]
    assert "filestack_tags.W015" not in [
        each.id for each in run_checks(include_deployment_checks=True)
    ]
