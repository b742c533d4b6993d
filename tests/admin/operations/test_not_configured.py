"""Without a Filestack account or another tagger, each screen says what to set."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

pytestmark = pytest.mark.django_db

APP = "/admin/filestack_tags/"


@pytest.fixture
def root(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    return client


def _with(settings: Any, **changes: str) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | changes


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"API_KEY": "", "APP_SECRET": ""}, "API_KEY, APP_SECRET"),
        ({"APP_SECRET": ""}, "APP_SECRET"),
        ({"API_KEY": "", "TAGGER": "workflow"}, "API_KEY"),
    ],
)
def test_every_screen_says_what_is_missing_and_how_to_get_it(
    root: Client, settings: Any, page: Any, changes: dict[str, str], names: str
) -> None:
    _with(settings, **({"TAGGER": "filestack"} | changes))
    text = f"No file can be tagged: FILESTACK_TAGS lacks {names}."
    problems = root.get(f"{APP}heartbeat/operations/").context["problems"]
    assert problems[0][0].text.startswith(text)
    for place in (APP, f"{APP}asset/", f"{APP}asset/add/"):
        shown = page(root.get(place)).text
        assert text in shown, place
        assert "TAGGER to 'local'" in shown, place
    added = root.post(f"{APP}asset/add/", {"reference": "handle123456"}, follow=True)
    assert any(text in str(message) for message in added.context["messages"])


@pytest.mark.parametrize("is_first", [True, False])
def test_the_admins_index_says_it_where_this_app_comes_before_the_admin(
    root: Client, settings: Any, page: Any, is_first: bool
) -> None:
    _with(settings, TAGGER="filestack", API_KEY="")
    if is_first:
        others = [app for app in settings.INSTALLED_APPS if app != "filestack_tags"]
        settings.INSTALLED_APPS = ["filestack_tags", *others]
    text = "No file can be tagged: FILESTACK_TAGS lacks API_KEY."
    assert page(root.get("/admin/")).text.count(text) == is_first


@pytest.mark.parametrize(
    "changes",
    [
        {"TAGGER": "filestack"},
        {"TAGGER": "local", "API_KEY": "", "APP_SECRET": ""},
        {"TAGGER": "tests.scripted.ScriptedTagger", "API_KEY": "", "APP_SECRET": ""},
    ],
)
def test_nothing_is_said_where_files_can_be_tagged(
    root: Client, settings: Any, page: Any, changes: dict[str, str]
) -> None:
    _with(settings, **changes)
    for place in ("/admin/", f"{APP}asset/", f"{APP}asset/add/", f"{APP}heartbeat/operations/"):
        assert "No file can be tagged" not in page(root.get(place)).text
