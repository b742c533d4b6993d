"""An expired session: each script gets a 401, and a login leads back to a page."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from .everything import make_everything, own_pages, standard_pages

pytestmark = pytest.mark.django_db

SCRIPT = {"X-Requested-With": "XMLHttpRequest"}


@pytest.fixture
def pages(db: None) -> dict[str, str]:
    rows = make_everything(User.objects.create_superuser("root"))
    pk = {model._meta.model_name: row.pk for model, row in rows.items()}
    app = "/admin/filestack_tags/"
    forms = {
        "decide": f"{app}asset/{pk['asset']}/decide/",
        "review-decide": f"{app}asset/review/decide/?tag=animal&low=10",
        "cancel": f"{app}bulkjob/{pk['bulkjob']}/cancel/",
        "undo-job": f"{app}bulkjob/{pk['bulkjob']}/undo/",
        "undo-merge": f"{app}tagmerge/{pk['tagmerge']}/undo/",
        "permit": f"{app}asset/upload/permit/",
        "stored": f"{app}asset/upload/stored/",
        "secret": f"{app}outboundendpoint/{pk['outboundendpoint']}/secret/",
    }
    return {**standard_pages(rows), **own_pages(rows), **forms}


def target(response: Any) -> str:
    """Return where a login leads."""
    assert response.status_code == 302
    address = urlsplit(response["Location"])
    assert address.path == reverse("admin:login")
    return parse_qs(address.query)["next"][0]


@pytest.mark.parametrize("method", ["get", "post"])
def test_every_script_is_told_that_the_session_ended(
    pages: dict[str, str], method: str
) -> None:
    for name, url in pages.items():
        if name == "app":
            continue  # Django's own page
        response = getattr(Client(), method)(url, headers=SCRIPT)
        assert response.status_code == 401, name
        reply = response.json()
        assert reply["error"].startswith("Your session has expired"), name
        assert reply["login"] == "/admin/login/", name


@pytest.mark.parametrize("method", ["get", "post"])
def test_every_login_leads_to_a_page_that_opens(
    pages: dict[str, str], method: str, client: Client
) -> None:
    client.force_login(User.objects.get(username="root"))
    for name, url in pages.items():
        page = target(getattr(Client(), method)(url))
        assert client.get(page, follow=True).status_code == 200, name


def test_a_form_leads_back_to_the_page_that_it_was_on(pages: dict[str, str]) -> None:
    page = f"{pages['review']}?tag=animal&low=10"
    for name in ("decide", "asset", "cancel"):
        for origin, expected in (
            (f"http://testserver{page}", page),
            ("https://elsewhere.example.com/page/", ""),
            ("javascript:alert(1)", ""),
        ):
            response = Client().post(pages[name], headers={"Referer": origin})
            assert (target(response) == page) == bool(expected), (name, origin)
    assert target(Client().post(pages["review-decide"])) == page
