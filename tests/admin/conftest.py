from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client

from filestack_tags.search import completion
from tests.api.rows import person

EVERYTHING = (
    "view_asset",
    "add_asset",
    "change_asset",
    "delete_asset",
    "tag_asset",
    "view_tag",
    "change_tag",
    "view_taggingrun",
    "view_webhookdelivery",
    "replay_webhookdelivery",
)


@pytest.fixture
def client_of(db: None) -> Callable[..., Client]:
    """Return a browser client of a staff user with exactly these permissions."""
    made = iter(range(100))

    def make(*permissions: str) -> Client:
        client = Client()
        client.force_login(person(f"staff{next(made)}", *permissions, is_staff=True))
        return client

    return make


@pytest.fixture
def editor(client_of: Callable[..., Client]) -> Client:
    """A client of a user with all permissions except for hidden tags; not a superuser."""
    return client_of(*EVERYTHING)


@pytest.fixture
def names_at_hand(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load the names of tags before a test counts queries, and never reload them."""
    for pause in ("CHECK_AFTER", "READ_AFTER"):
        monkeypatch.setattr(completion, pause, 3600.0)
    completion.clear_cache()
    completion.complete("")


class Page(HTMLParser):
    """The text of a page, and its controls."""

    VOID = frozenset({"script", "style"})

    def __init__(self, response: Any) -> None:
        super().__init__()
        assert response.status_code == 200, response.status_code
        self.html = response.content.decode()
        self.words: list[str] = []
        self.buttons: list[dict[str, str | None]] = []
        self.inputs: dict[str, str | None] = {}
        self.links: dict[str, str | None] = {}
        self.images: list[dict[str, str | None]] = []
        self.inline: list[str] = []
        self._link: str | None = None
        self._silent = ""
        self.feed(self.html)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.inline += [name for name in values if name == "style" or name.startswith("on")]
        if tag in self.VOID:
            self._silent = tag
            if "src" not in values and values.get("type") != "application/json":
                self.inline.append(tag)
        if tag == "a":
            self._link = values.get("href")
        elif tag == "img":
            self.images.append(values)
        elif tag == "button" or (tag == "input" and values.get("type") == "submit"):
            self.buttons.append(values)
        elif tag in ("input", "select", "textarea") and values.get("name"):
            self.inputs[str(values["name"])] = values.get("value")

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._link = None
        if tag == self._silent:
            self._silent = ""

    def handle_data(self, data: str) -> None:
        if self._silent:
            return
        self.words.append(data)
        if self._link is not None and data.strip():
            self.links[data.strip()] = self._link


@pytest.fixture
def page() -> type[Page]:
    return Page
