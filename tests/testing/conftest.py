"""An emulator without threads and sockets, and a client for it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from filestack_tags.testing import EmulatorApp

from .surroundings import BASE, config, picture, raw_app


@pytest.fixture
def app() -> Iterator[EmulatorApp]:
    with EmulatorApp(config()) as app:
        yield app


@pytest.fixture
def http(app: EmulatorApp) -> Iterator[httpx2.Client]:
    with httpx2.Client(transport=raw_app(app), base_url=BASE) as client:
        yield client


@pytest.fixture
def handle(app: EmulatorApp) -> str:
    """A red picture that the emulator has."""
    file = app.files.add(
        picture(), filename="red.jpg", mimetype="image/jpeg", options={}, base_url=BASE
    )
    return file.handle
