"""Fixtures for the tests of host projects; pytest finds them automatically.

Nothing is imported before a test uses a fixture: this module is loaded in every test run of every
environment that has the package. Requires pytest-django.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .testing.fixtures import Commit, Filestack, Make, TagNow, Webhook


@pytest.fixture
def filestack_commit(db: None, django_capture_on_commit_callbacks: Any) -> Commit:
    """Run the tasks of a block after it, in this process: ``with filestack_commit(): …``."""
    from .testing.fixtures import Commit

    return Commit(django_capture_on_commit_callbacks)


@pytest.fixture
def filestack_webhook(filestack_commit: Commit) -> Webhook:
    """Post signed events to the project's webhook: ``filestack_webhook(fp_upload("…"))``."""
    from .testing.fixtures import Webhook

    return Webhook(filestack_commit)


@pytest.fixture
def filestack(filestack_webhook: Webhook, settings: Any) -> Iterator[Filestack]:
    """Run a local Filestack emulator, and point ``FILESTACK_TAGS`` at it."""
    from .conf import SETTING
    from .testing.fixtures import Filestack, account

    known = account()
    filestack = Filestack(filestack_webhook, known)
    with filestack.app, filestack.server as server:
        setattr(
            settings,
            SETTING,
            {
                **getattr(settings, SETTING, {}),
                "API_KEY": known.api_key,
                "APP_SECRET": known.app_secret,
                "WEBHOOK_SECRETS": [known.webhook_secret],
                "CDN_URL": server.url,
                "API_URL": f"{server.url}/api",
                "UPLOAD_URL": server.url,
            },
        )
        yield filestack


@pytest.fixture
def filestack_tag_now(filestack_commit: Commit) -> TagNow:
    """Tag assets at once: ``filestack_tag_now(asset)``."""
    from .testing.fixtures import TagNow

    return TagNow(filestack_commit)


@pytest.fixture
def filestack_make(db: None) -> Make:
    """Make assets, runs and deliveries: ``filestack_make.asset({"sky": 90})``."""
    from .testing.fixtures import Make

    return Make()
