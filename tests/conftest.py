"""Select the tests to run: all, those that use the database, or those with their own settings."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client, TransactionTestCase

from filestack_tags import metrics
from filestack_tags.assets import registry
from filestack_tags.concurrency import backoff
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, AssetTag
from filestack_tags.search import completion
from tests import scripted, signed_headers

HOME = Path(__file__).parent
PAYLOADS = HOME / "payloads"
SECRET = "whsec-A"

DATABASE_FIXTURES = frozenset({"db", "transactional_db", "django_db_reset_sequences"})


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--only-database",
        action="store_true",
        help="run only the tests that use the database, as on PostgreSQL and MariaDB",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skip the example project's and the browser tests, which need other settings, and the tests of
    the published package, unless named.
    """
    if collection_path == HOME / "dist":
        return None if any("tests/dist" in name for name in config.args) else True
    theirs = {
        HOME / "example": ("example_project.settings",),
        HOME / "e2e": ("tests.e2e.settings", "tests.e2e.unfold_settings"),
    }
    settings = theirs.get(collection_path)
    is_other = settings and os.environ.get("DJANGO_SETTINGS_MODULE") not in settings
    return True if is_other else None


def uses_database(item: pytest.Item) -> bool:
    """Whether a test uses the database, by marker, by fixture or by its test case."""
    if item.get_closest_marker("django_db"):
        return True
    if DATABASE_FIXTURES & set(getattr(item, "fixturenames", ())):
        return True
    case = getattr(item, "cls", None)
    return case is not None and issubclass(case, TransactionTestCase)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = [*items]
    if config.getoption("--only-database"):
        chosen = [item for item in chosen if uses_database(item)]
    if len(chosen) < len(items):
        kept = {*map(id, chosen)}
        config.hook.pytest_deselected(items=[item for item in items if id(item) not in kept])
        items[:] = chosen


@pytest.fixture
def told() -> Iterator[list[metrics.Measurement]]:
    """Return the events that are reported during the test."""
    heard: list[metrics.Measurement] = []
    end = metrics.subscribe(heard.append)
    yield heard
    end()


@pytest.fixture(autouse=True)
def _names_are_read_again() -> None:
    """Reload the names of tags; this process's index has those of another test."""
    completion.clear_cache()


@pytest.fixture(autouse=True)
def _events_are_declared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that reports an event that the catalogue does not declare."""
    wrong: list[str] = []
    monkeypatch.setattr(metrics, "undeclared", lambda name, why: wrong.append(f"{name}: {why}"))
    end = metrics.subscribe(lambda told: None)  # without a listener nothing is checked
    yield
    end()
    assert not wrong


@pytest.fixture
def longest_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delay each retry by the longest time that its jitter allows."""
    longest = SimpleNamespace(uniform=lambda low, high: high)
    monkeypatch.setattr(backoff, "_random", longest)


@pytest.fixture
def payload() -> Callable[[str], bytes]:
    """Return the exact bytes of a recorded payload."""
    return lambda name: (PAYLOADS / name).read_bytes()


@pytest.fixture
def deliver(client: Client, django_capture_on_commit_callbacks: Any) -> Callable[..., Any]:
    """Post a signed webhook like Filestack, and run its tasks as after a commit."""

    def post(body: bytes | Mapping[str, Any], **headers: str) -> Any:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        signed = signed_headers(raw, SECRET) | headers
        with django_capture_on_commit_callbacks(execute=True):
            return client.post(
                "/filestack/webhook/", raw, content_type="application/json", headers=signed
            )

    return post


@pytest.fixture
def script(settings: Any) -> Iterator[list[Any]]:
    """Use the scripted tagger; the list contains its next replies."""
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "TAGGER": "tests.scripted.ScriptedTagger"
    }
    scripted.answers[:] = [scripted.reply({"sky": 90})]
    scripted.asked.clear()
    yield scripted.answers
    scripted.answers.clear()


@pytest.fixture
def asset(db: None) -> Asset:
    return registry.register(Source.handle("VJQTvCboRVivWJ2BpKgd"))[0]


@pytest.fixture
def tags_of() -> Callable[[Asset], dict[str, int]]:
    """Return ``{key: confidence}`` of an asset's rows, without rejected ones."""

    def read(asset: Asset) -> dict[str, int]:
        rows = AssetTag.objects.filter(asset=asset).exclude(decision=AssetTag.Decision.REJECTED)
        return dict(rows.values_list("tag__key", "confidence"))

    return read
