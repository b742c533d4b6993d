"""The example project in one process: tasks run eagerly, Filestack is the emulator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from filestack_tags.testing import Account, EmulatorApp, EmulatorConfig, EmulatorServer

if TYPE_CHECKING:
    from pytest_django import Settings

PHOTOS = Path(__file__).resolve().parents[2] / "example_project" / "photos"
ACCOUNT = Account(api_key="AKEY", app_secret="TESTSECRET0000000000000000")


@pytest.fixture(autouse=True)
def eager(settings: Settings) -> None:
    settings.CELERY_TASK_ALWAYS_EAGER = True


@pytest.fixture
def filestack(settings: Settings) -> Iterator[EmulatorServer]:
    """A local Filestack emulator, with this project as its app."""
    emulator = EmulatorApp(EmulatorConfig(account=ACCOUNT))
    with emulator, EmulatorServer(emulator) as server:
        settings.FILESTACK_TAGS = {
            "API_KEY": ACCOUNT.api_key,
            "APP_SECRET": ACCOUNT.app_secret,
            "CDN_URL": server.url,
            "API_URL": f"{server.url}/api",
            "CONNECT_TIMEOUT": 2,
        }
        yield server
