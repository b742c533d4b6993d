"""Health: codes for probes, figures for staff users, and never a 500."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, ProgrammingError, connections
from django.test import Client
from django.utils import timezone

from filestack_tags import tasks
from filestack_tags.assets import registry
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, Circuit, Heartbeat
from filestack_tags.operations import health, heartbeat
from filestack_tags.tagging import queue
from tests.api.rows import person

READY, LIVE = "/health/", "/health/live/"

pytestmark = pytest.mark.django_db


def staff(*permissions: str, **facts: Any) -> Client:
    client = Client()
    client.force_login(person("ann", *permissions, **facts))
    return client


def test_a_process_that_answers_is_alive_whatever_the_database_does(client: Client) -> None:
    assert client.get(LIVE).json() == {"status": "ok"}


def test_all_is_well(client: Client) -> None:
    heartbeat.beat("sweep")
    response = client.get(READY)
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert "no-cache" in response.headers["Cache-Control"]


def test_what_somebody_should_look_at_is_a_word_and_still_a_200(client: Client) -> None:
    heartbeat.beat("sweep")
    Circuit.objects.create(
        tagger="filestack",
        opened_at=timezone.now(),
        retry_at=timezone.now(),
        reason="Secretive.",
    )
    response = client.get(READY)
    assert response.status_code == 200
    assert response.json() == {"status": "degraded", "reasons": ["circuit_open"]}


def test_a_stranger_costs_three_statements(
    client: Client, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(3):
        client.get(READY)


@pytest.mark.parametrize("error", [OperationalError, InterfaceError, ProgrammingError])
@pytest.mark.parametrize("who", ["stranger", "staff"])
def test_a_database_that_is_down_is_a_503_with_a_word(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Any, who: str
) -> None:
    client = staff("view_heartbeat", is_staff=True) if who == "staff" else Client()

    def fail() -> None:
        raise error("connection to user:password@host refused")

    monkeypatch.setattr(health, "problems", fail)
    monkeypatch.setattr(health, "snapshot", fail)
    response = client.get(READY)
    assert response.status_code == 503
    assert response.json() == {"status": "unavailable", "reasons": ["database"]}
    assert "password" not in caplog.text
    assert client.get(LIVE).status_code == 200


def test_settings_that_cannot_be_read_are_a_503(client: Client, settings: Any) -> None:
    settings.FILESTACK_TAGS = "not a dict"
    response = client.get(READY)
    assert response.status_code == 503
    assert response.json()["reasons"] == ["configuration"]


def test_staff_who_may_look_at_heartbeats_see_figures() -> None:
    asset, _ = registry.register(Source.handle("h"))
    queue.request([asset.pk])
    Asset.objects.update(due_at=timezone.now() - 2 * queue.SWEEP_AFTER)
    tasks.sweep()
    Circuit.objects.create(
        tagger="filestack", opened_at=timezone.now(), retry_at=timezone.now(), reason="Why."
    )
    found = staff("view_heartbeat", is_staff=True).get(READY).json()
    assert found["status"] == "degraded"
    figures = found["figures"]
    assert figures["queued"] == 1
    assert figures["heartbeats"]["sweep"]["found"] == {"assets": 1}
    assert figures["circuits"][0]["reason"] == "Why."
    assert figures["budgets"]["day"] == {"used": 0, "left": None}


@pytest.mark.parametrize(
    ("permissions", "facts"),
    [
        ((), {"is_staff": True}),
        (("view_heartbeat",), {"is_staff": False}),
        (("view_heartbeat",), {"is_staff": True, "is_active": False}),
    ],
)
def test_nobody_else_sees_figures(permissions: Any, facts: Any) -> None:
    assert "figures" not in staff(*permissions, **facts).get(READY).json()


def test_sessions_out_of_reach_are_no_error(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    heartbeat.beat("sweep")

    def fail(*args: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr("django.contrib.auth.middleware.get_user", fail)
    assert client.get(READY).json() == {"status": "ok"}


@pytest.mark.parametrize("path", [READY, LIVE])
@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
def test_nothing_but_get_and_head_is_answered(client: Client, path: str, method: str) -> None:
    assert getattr(client, method)(path).status_code == 405


@pytest.mark.parametrize("path", [READY, LIVE])
def test_probes_need_no_login_and_a_head_will_do(settings: Any, path: str) -> None:
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    response = Client().head(path)
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize("path", [READY, LIVE])
def test_no_transaction_is_begun_before_the_view(
    client: Client, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    database = connections["default"]
    monkeypatch.setitem(database.settings_dict, "ATOMIC_REQUESTS", True)
    monkeypatch.setattr("django.db.transaction.Atomic.__enter__", lambda self: 1 / 0)
    assert client.get(path).status_code == 200


def test_an_old_heartbeat_is_degraded(client: Client) -> None:
    heartbeat.beat("sweep")
    Heartbeat.objects.update(finished_at=timezone.now() - timedelta(hours=1))
    assert client.get(READY).json()["reasons"] == ["sweep_overdue"]
