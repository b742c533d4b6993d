"""Browser tests: a user's way through the admin, on real processes.

A test of a screen takes ten lines::

    from tests.e2e.marks import every_look

    @every_look
    def test_an_editor_finds_what_was_seeded(page, login, seed, axe, screenshot):
        seed.photo("cat", {"cat": 93, "animal": 80})
        login("editor")
        page.goto("/admin/filestack_tags/asset/?q=cat")
        expect(page.get_by_text("cat.jpg")).to_be_visible()
        axe()
        screenshot("asset-list")

* ``page`` is Playwright's, in a window of 1440 px, light; ``@every_look`` runs a test at 1440 and
  400 px, light and dark. A test fails for anything on the console, violations of the strict policy,
  a response of 500 or a request to another site. A test that expects one removes it from
  ``complaints``.
* ``login("admin" | "editor" | "viewer")`` logs a user in; the editor has every permission except to
  search hidden tags, the viewer may only view.
* ``seed`` creates assets (``seed.photo``, ``seed.asset``); ``seed.database(function, …)`` runs
  anything else that queries the database: tests must not query it directly, see ``site.Database``.
  Every test starts with an empty one.
* ``axe()`` fails for findings that axe calls serious or critical. ``screen(name)`` does that in the
  light and in the dark scheme, fails for a page wider than its window, and keeps a picture of both.
  A path through several screens uses ``@both_widths``, with ``screen`` on each.
* ``with tasks_held():`` keeps the worker from taking tasks, to show the state before it does.
* ``screenshot(name)`` keeps a picture in the folder ``SCREENSHOTS``: ``make screenshots`` renews
  those that the documents show, ``make e2e SCREENSHOTS=var/look`` writes all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.core.management import call_command
from django.test import Client
from django.test.utils import setup_databases, teardown_databases
from playwright.sync_api import Browser, Page

from example_project.celery_app import app as celery_app
from example_project.demo.environment import stage

from . import browser as chrome
from . import people
from .browser import Look
from .seeding import Seed
from .site import Database, Site, running

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave the test of a theme to the run with the settings that install it."""
    if not collection_path.name.startswith("test_"):
        return None
    is_themed = os.environ.get("DJANGO_SETTINGS_MODULE") == "tests.e2e.unfold_settings"
    return True if (collection_path.name == "test_unfold.py") != is_themed else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def database(django_db_blocker: DjangoDbBlocker) -> Iterator[Database]:
    with django_db_blocker.unblock():
        made = setup_databases(verbosity=0, interactive=False)
        asked = Database()
        yield asked
        asked.close()
        teardown_databases(made, verbosity=0)


@pytest.fixture(scope="session")
def site(database: Database) -> Iterator[Site]:
    with running(stage()) as site:
        yield site


@pytest.fixture(scope="session")
def browser(site: Site) -> Iterator[Browser]:
    try:
        with chrome.chromium() as browser:
            yield browser
    except chrome.NoBrowser as error:
        pytest.exit(str(error), returncode=1)


@pytest.fixture(scope="session")
def handles() -> dict[str, str]:
    """Return the handles of the photos that the emulator has already."""
    return {}


@pytest.fixture
def seed(database: Database, site: Site, handles: dict[str, str]) -> Seed:
    return Seed(database, handles)


@pytest.fixture(autouse=True)
def _empty_house(database: Database, site: Site) -> None:
    site.children.check()
    database(call_command, "flush", interactive=False, verbosity=0)
    database(people.move_in)


@pytest.fixture
def look() -> Look:
    return Look()


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """Return the errors in the browser so far; the test fails for those left at the end."""
    heard: list[str] = []
    yield heard
    assert not heard, "\n".join(heard)


@pytest.fixture
def page(browser: Browser, look: Look, site: Site, complaints: list[str]) -> Iterator[Page]:
    with chrome.page_in(browser, look, site, complaints) as page:
        yield page


@pytest.fixture
def login(page: Page, site: Site, database: Database) -> Callable[[str], None]:
    """Return a function that logs a user in, as the login form would."""

    def bring_in(name: str) -> None:
        cookie = database(_session_of, name)
        page.context.add_cookies([{"name": "sessionid", "value": cookie, "url": site.url}])

    return bring_in


@pytest.fixture
def axe(page: Page) -> Callable[[], None]:
    def check() -> None:
        found = chrome.serious_violations(page)
        assert not found, "\n".join(found)

    return check


@pytest.fixture
def screen(page: Page, look: Look) -> Callable[[str], None]:
    return lambda name: chrome.look_at(page, name, look)


@pytest.fixture
def tasks_held(site: Site) -> Callable[[], AbstractContextManager[None]]:
    """Return a context manager in which the worker takes no task."""

    def tell(command: str) -> None:
        answers = celery_app.control.broadcast(
            command, arguments={"queue": "celery"}, reply=True, limit=1, timeout=10
        )
        assert answers, "the worker does not answer"

    @contextmanager
    def hold() -> Iterator[None]:
        tell("cancel_consumer")
        try:
            yield
        finally:
            tell("add_consumer")

    return hold


@pytest.fixture
def screenshot(page: Page, look: Look) -> Callable[[str], None]:
    return lambda name: chrome.keep_picture(page, name, look)


def _session_of(name: str) -> str:
    client = Client()
    client.force_login(people.User.objects.get(username=name))
    return client.cookies["sessionid"].value
