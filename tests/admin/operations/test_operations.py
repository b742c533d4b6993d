"""Circuits, usage, heartbeats and backfills, and what the index page shows about them."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import ProgrammingError
from django.test import Client
from django.utils import timezone

from filestack_tags.models import Backfill, Circuit, DailyUsage, Heartbeat
from filestack_tags.operations import heartbeat
from filestack_tags.templatetags import filestack_tags as tags

pytestmark = pytest.mark.django_db

APP = "/admin/filestack_tags/"
CIRCUITS = f"{APP}circuit/"
REASON = "Filestack refused tags (HTTP 200): Invalid <Application>. Check API_KEY."
LEDGERS = ("circuit", "dailyusage", "heartbeat", "backfill")
VIEWS = tuple(f"view_{name}" for name in LEDGERS)


@pytest.fixture
def opened() -> Circuit:
    heartbeat.beat("sweep", assets=2, deliveries=0)
    return Circuit.objects.create(
        tagger="filestack",
        failures=1,
        opened_at=timezone.now(),
        retry_at=timezone.now(),
        error_code="invalid_application",
        reason=REASON,
    )


def test_the_apps_index_says_why_nothing_is_tagged(
    opened: Circuit, client_of: Any, page: Any
) -> None:
    shown = page(client_of("view_circuit", "view_asset").get(APP))
    assert REASON in shown.text
    assert "<Application>" not in shown.html
    assert shown.links["View paused calls"] == CIRCUITS


def test_who_may_not_look_at_circuits_is_not_told(
    opened: Circuit, client_of: Any, page: Any
) -> None:
    assert "API_KEY" not in page(client_of("view_asset").get(APP)).text


def test_the_index_says_nothing_while_all_is_well(client_of: Any, page: Any) -> None:
    heartbeat.beat("sweep")
    assert "messagelist" not in page(client_of("view_circuit").get(APP)).html


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("path", ["/admin/", APP, "/admin/auth/"])
def test_the_admins_index_says_it_once_where_this_app_comes_before_the_admin(
    opened: Circuit, settings: Any, page: Any, client: Client, is_first: bool, path: str
) -> None:
    if is_first:
        others = [app for app in settings.INSTALLED_APPS if app != "filestack_tags"]
        settings.INSTALLED_APPS = ["filestack_tags", *others]
    client.force_login(User.objects.create_superuser("root"))
    told = page(client.get(path)).text.count(REASON)
    assert told == (path == APP or (is_first and path == "/admin/"))


def test_the_admin_opens_before_the_first_migration(
    client_of: Any, page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ProgrammingError('relation "filestack_tags_circuit" does not exist')

    monkeypatch.setattr(tags, "problems", fail)
    assert "messagelist" not in page(client_of("view_circuit").get(APP)).html


def test_an_open_circuit_is_closed_by_a_button(opened: Circuit, client_of: Any) -> None:
    Circuit.objects.create(tagger="workflow")
    operator = client_of("view_circuit", "change_circuit")
    chosen = list(Circuit.objects.values_list("pk", flat=True))
    data = {"action": "try_again", "index": 0, "_selected_action": chosen}
    response = operator.post(CIRCUITS, data, follow=True)
    assert [str(message) for message in response.context["messages"]] == [
        "Calls to 1 tagger were resumed."
    ]
    opened.refresh_from_db()
    assert (opened.opened_at, opened.retry_at, opened.failures) == (None, None, 0)


def test_trying_again_needs_its_permission(opened: Circuit, client_of: Any, page: Any) -> None:
    viewer = client_of("view_circuit")
    assert "action" not in page(viewer.get(CIRCUITS)).inputs
    data = {"action": "try_again", "index": 0, "_selected_action": [opened.pk]}
    viewer.post(CIRCUITS, data, follow=True)
    opened.refresh_from_db()
    assert opened.opened_at is not None


def test_a_circuits_page_shows_the_reason(opened: Circuit, client_of: Any, page: Any) -> None:
    shown = page(client_of("view_circuit").get(f"{CIRCUITS}{opened.pk}/change/"))
    assert REASON in shown.text


def test_heartbeats_and_backfills_show_what_they_came_to(
    opened: Circuit, client_of: Any, page: Any
) -> None:
    client = client_of(*VIEWS)
    assert "assets 2, deliveries 0" in page(client.get(f"{APP}heartbeat/")).text
    row = Backfill.objects.create(
        query="untagged", options={"limit": 5}, counts={"succeeded": 4}
    )
    shown = page(client.get(f"{APP}backfill/{row.pk}/change/"))
    assert '"limit": 5' in shown.text
    assert '"succeeded": 4' in shown.text
    DailyUsage.objects.create(day=date(2026, 3, 10), calls=12)
    assert "12" in page(client.get(f"{APP}dailyusage/")).text


@pytest.mark.parametrize("name", LEDGERS)
def test_they_are_read_only_for_superusers_too(
    opened: Circuit, client: Client, name: str
) -> None:
    client.force_login(User.objects.create_superuser("root"))
    row: Any = {
        "circuit": lambda: opened,
        "dailyusage": lambda: DailyUsage.objects.create(day=date(2026, 3, 10)),
        "heartbeat": lambda: Heartbeat.objects.get(),
        "backfill": lambda: Backfill.objects.create(),
    }[name]()
    path = f"{APP}{name}/"
    assert client.get(path).status_code == 200
    assert client.get(f"{path}{row.pk}/change/").status_code == 200
    assert client.get(f"{path}add/").status_code == 403
    for suffix in (f"{row.pk}/change/", f"{row.pk}/delete/", "add/"):
        assert client.post(f"{path}{suffix}", {"post": "yes"}).status_code == 403
