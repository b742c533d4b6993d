"""Two users change the same row: each writes only their changes, and a conflict is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client

from filestack_tags import curation
from filestack_tags.admin.base import BaseAdmin
from filestack_tags.admin.changes import ChangesForm
from filestack_tags.curation import saved_searches
from filestack_tags.models import OutboundEndpoint, SavedSearch, Tag
from filestack_tags.outbound import delivery, outbox
from tests.api.rows import tagged

pytestmark = pytest.mark.django_db

EVENTS = list(outbox.EVENTS)


class _Inputs(HTMLParser):
    """Collects what a browser would submit for a page's main form."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.data: dict[str, list[str]] = {}
        self._area = self._select = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        flags = {name for name, _value in attrs}
        name, kind = values.get("name", ""), values.get("type", "text")
        if tag == "textarea":
            self._area = name
            self.data[name] = [""]
        elif tag == "select":
            self._select = name
        elif tag == "option" and "selected" in flags:
            self.data.setdefault(self._select, []).append(values["value"])
        elif tag == "input" and name and kind not in ("submit", "range"):
            is_box = kind in ("checkbox", "radio")
            if not is_box or "checked" in flags:
                given = values.get("value", "on" if is_box else "")
                self.data.setdefault(name, []).append(given)

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            # A browser omits the first line break, and sends line breaks as CRLF.
            text = self.data[self._area][0].replace("\r\n", "\n").removeprefix("\n")
            self.data[self._area] = [text.replace("\n", "\r\n")]
            self._area = ""

    def handle_data(self, data: str) -> None:
        if self._area:
            self.data[self._area][0] += data


def opened(client: Client, url: str) -> dict[str, list[str]]:
    """Return what the page would submit if nothing was typed."""
    response = client.get(url)
    assert response.status_code == 200
    return _Inputs(response.content.decode()).data


def submit(client: Client, url: str, data: dict[str, list[str]]) -> Any:
    return client.post(url, data, follow=True)


class Form:
    """A form that writes: its page, its row, and two values of each field."""

    url: str
    row: Model
    values: dict[str, tuple[list[str], list[str], Callable[[Any], object]]]
    """By field: what A submits, what B submits, and how to read the row's value."""


def _tag_form(user: User) -> Form:
    tagged("h1", {"sky": 90})
    form = Form()
    form.row = tag = Tag.objects.get(key="sky")
    curation.hide(tag.pk)
    curation.set_minimum(tag.pk, 10)
    curation.add_alias(tag.pk, "heaven")
    form.url = f"/admin/filestack_tags/tag/{tag.pk}/change/"
    form.values = {
        "name": (["Skies"], ["Welkin"], lambda row: row.name),
        "min_confidence": (["60"], [""], lambda row: row.min_confidence),
        "hidden": ([], ["on"], lambda row: row.hidden),
    }
    return form


def _threshold_form(user: User) -> Form:
    form = _tag_form(user)
    form.url = f"/admin/filestack_tags/tag/{form.row.pk}/threshold/"
    form.values = {"minimum": (["60"], ["70"], lambda row: row.min_confidence)}
    return form


def _saved_search_form(user: User) -> Form:
    tagged("h1", {"sky": 90})
    form = Form()
    form.row = saved_searches.save(
        saved_searches.SavedSearchInput(
            name="Sky", query="sky", order="confidence", order_tag="sky"
        ),
        user=user,
    )
    form.url = f"/admin/filestack_tags/savedsearch/{form.row.pk}/change/"
    form.values = {
        "name": (["A"], ["B"], lambda row: row.name),
        "query": (["sky>=50"], ["sky>=60"], lambda row: row.query),
        "order_tag": ([""], ["Sky"], lambda row: row.order_tag),
        "shared": (["on"], [], lambda row: row.shared),
    }
    return form


def _endpoint_form(user: User) -> Form:
    form = Form()
    form.row = delivery.save_endpoint(
        url="https://example.com/", events=EVENTS[:1], description="old"
    )
    form.url = f"/admin/filestack_tags/outboundendpoint/{form.row.pk}/change/"
    form.values = {
        "url": (["https://a.example.com/"], ["https://b.example.com/"], lambda row: row.url),
        "description": (["A"], ["B"], lambda row: row.description),
        "is_active": ([], ["on"], lambda row: row.is_active),
    }
    return form


FORMS = {
    "tag": _tag_form,
    "threshold": _threshold_form,
    "saved search": _saved_search_form,
    "endpoint": _endpoint_form,
}
FIELDS = [
    ("tag", "name"),
    ("tag", "min_confidence"),
    ("threshold", "minimum"),
    ("saved search", "name"),
    ("saved search", "query"),
    ("saved search", "order_tag"),
    ("endpoint", "url"),
    ("endpoint", "description"),
]
"""Fields for which A and B can submit different new values; a checkbox has only two."""


@pytest.fixture
def user(db: None) -> User:
    return User.objects.create_superuser("root")


@pytest.fixture
def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def is_in(row: Model, read: Callable[[Any], object]) -> object:
    return read(type(row)._base_manager.get(pk=row.pk))


def changed(page: dict[str, list[str]], **values: list[str]) -> dict[str, list[str]]:
    return {name: value for name, value in {**page, **values}.items() if value}


def _pairs() -> Iterator[tuple[str, str, str]]:
    for name, fields in {
        "tag": ("name", "min_confidence", "hidden"),
        "saved search": ("name", "query", "shared"),
        "endpoint": ("url", "description", "is_active"),
    }.items():
        yield from ((name, mine, theirs) for mine in fields for theirs in fields)


@pytest.mark.parametrize(("kind", "mine", "theirs"), [p for p in _pairs() if p[1] != p[2]])
def test_what_another_user_changed_meanwhile_stays(
    browser: Client, user: User, kind: str, mine: str, theirs: str
) -> None:
    form = FORMS[kind](user)
    page_a, page_b = opened(browser, form.url), opened(browser, form.url)
    value_a, value_b = form.values[mine][0], form.values[theirs][0]
    submit(browser, form.url, changed(page_b, **{theirs: value_b}))
    of_b = is_in(form.row, form.values[theirs][2])
    before = is_in(form.row, form.values[mine][2])
    submit(browser, form.url, changed(page_a, **{mine: value_a}))
    assert is_in(form.row, form.values[theirs][2]) == of_b
    assert is_in(form.row, form.values[mine][2]) != before


@pytest.mark.parametrize(("kind", "field"), FIELDS)
def test_a_conflict_is_shown_and_written_when_saved_again(
    browser: Client, user: User, kind: str, field: str
) -> None:
    form = FORMS[kind](user)
    value_a, value_b, read = form.values[field]
    page = opened(browser, form.url)
    submit(browser, form.url, changed(opened(browser, form.url), **{field: value_b}))
    of_b = is_in(form.row, read)
    refused = browser.post(form.url, changed(page, **{field: value_a}))
    assert refused.status_code == 200
    text = refused.content.decode()
    assert "Another user changed this to" in text
    assert is_in(form.row, read) == of_b
    submit(browser, form.url, _Inputs(text).data)
    assert is_in(form.row, read) not in (of_b, None)


@pytest.mark.parametrize(("kind", "field"), FIELDS)
def test_the_same_change_by_both_is_no_conflict(
    browser: Client, user: User, kind: str, field: str
) -> None:
    form = FORMS[kind](user)
    value, _other, read = form.values[field]
    page = opened(browser, form.url)
    for submitted in (page, page):
        response = submit(browser, form.url, changed(submitted, **{field: value}))
        assert "Another user changed this" not in response.content.decode()
    submit(browser, form.url, page)
    assert is_in(form.row, read) not in ("sky", "old", 10)


def test_aliases_that_two_people_add_and_remove_are_merged(browser: Client, user: User) -> None:
    form = _tag_form(user)
    curation.add_alias(form.row.pk, "ether")
    page_a, page_b = opened(browser, form.url), opened(browser, form.url)
    submit(browser, form.url, changed(page_b, aliases=["heaven\r\nether\r\nblue"]))
    submit(browser, form.url, changed(page_a, aliases=["ether\r\nCeiling"]))
    tag = Tag.objects.get(pk=form.row.pk)
    assert set(tag.aliases.values_list("key", flat=True)) == {"ether", "blue", "ceiling"}


def test_events_that_two_people_choose_are_merged(browser: Client, user: User) -> None:
    form = _endpoint_form(user)
    page_a, page_b = opened(browser, form.url), opened(browser, form.url)
    submit(browser, form.url, changed(page_b, events=EVENTS[:2]))
    submit(browser, form.url, changed(page_a, events=EVENTS[2:]))
    assert OutboundEndpoint.objects.get().events == EVENTS[1:]


def test_a_receiver_that_switched_an_endpoint_off_stays_off(
    browser: Client, user: User
) -> None:
    form = _endpoint_form(user)
    page = opened(browser, form.url)
    OutboundEndpoint.objects.update(is_active=False)
    submit(browser, form.url, changed(page, description=["new"]))
    endpoint = OutboundEndpoint.objects.get()
    assert (endpoint.is_active, endpoint.description) == (False, "new")


def test_a_secret_made_meanwhile_stays(browser: Client, user: User) -> None:
    form = _endpoint_form(user)
    page = opened(browser, form.url)
    secret = delivery.new_secret(form.row.pk)
    submit(browser, form.url, changed(page, description=["new"]))
    assert delivery.secret_of(OutboundEndpoint.objects.get()) == secret


def test_a_page_that_was_saved_once_can_be_saved_again(browser: Client, user: User) -> None:
    """As with "Save and continue editing", which shows the saved values on each page."""
    form = _saved_search_form(user)
    for name in ("one", "two"):
        page = changed(opened(browser, form.url), name=[name], _continue=["1"])
        submit(browser, form.url, page)
        assert SavedSearch.objects.get().name == name


def test_every_admin_that_changes_rows_uses_the_one_mechanism(rf: Any, user: User) -> None:
    request = rf.get("/")
    request.user = user
    checked = []
    for model, screen in admin.site._registry.items():
        if model._meta.app_label != "filestack_tags":
            continue
        assert isinstance(screen, BaseAdmin), model
        assert not screen.list_editable, model
        assert not screen.get_inlines(request, None), model
        if screen.has_change_permission(request):
            assert issubclass(screen.get_form(request, model()), ChangesForm), model
            checked.append(model.__name__)
    assert sorted(checked) == ["OutboundEndpoint", "SavedSearch", "Tag"]
