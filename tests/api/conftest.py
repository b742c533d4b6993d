from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from .rows import person

EVERYTHING = (
    *("view_asset", "add_asset", "change_asset", "delete_asset", "tag_asset"),
    *("view_tag", "change_tag", "view_tagdecision"),
)


@pytest.fixture
def client_of(db: None) -> Callable[..., APIClient]:
    """Return a client that is logged in as a user with exactly these permissions."""
    made = iter(range(100))

    def make(*permissions: str) -> APIClient:
        client = APIClient()
        client.force_login(person(f"client{next(made)}", *permissions))
        return client

    return make


@pytest.fixture
def api(client_of: Callable[..., Any]) -> APIClient:
    """A client with all permissions except for hidden tags."""
    return client_of(*EVERYTHING)
