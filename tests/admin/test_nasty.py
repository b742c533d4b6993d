"""Nasty query strings and form values on every page of the admin: no rows or 400, never 500."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import BadRequest, SuspiciousOperation
from django.db import models, transaction
from django.http import QueryDict
from django.test import Client
from django.urls import reverse

from filestack_tags.models import Asset, OutboundEndpoint, SavedSearch, Tag

from .everything import make_everything, own_pages, screens

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

TEXTS = (
    "\x00",
    "a\x00b\x1b[2J\r\n\x7f",
    "\ud800\u200b\u00ad\U0001f600",
    "'\"<>%_\\[{(((",
    "os.system",
    "9" * 25,
    "9" * 5000,
    "-1",
    "NaN",
    "a" * 20_000,
    "9999-12-31",
)
LOOKUPS = (
    *("", "__in", "__gte", "__isnull", "__isempty", "__year", "__date"),
    *("__contains", "__regex", "__range", "__a__b"),
)
VALUES = ("\x00", "(a+)+$[", "9" * 25, "9999", "a,b")


@pytest.fixture
def rows(db: None) -> dict[type[models.Model], models.Model]:
    return make_everything(User.objects.create_superuser("root"))


@pytest.fixture
def root(rows: Any) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get(username="root"))
    return client


def ask(client: Client, url: str, data: dict[str, Any], method: str = "get") -> int:
    """Return the status, and roll back what the request wrote."""
    encoded = {
        name: value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        for name, value in data.items()
    }
    with transaction.atomic():
        status: int
        if method == "post":
            kind = "application/x-www-form-urlencoded"
            body = urlencode(encoded)
            status = client.post(url, body, content_type=kind).status_code
        else:
            status = client.get(url, encoded).status_code
        transaction.set_rollback(True)
    return status


def _fields(model: type[models.Model]) -> list[str]:
    """Return one column of each kind, and one behind each relation."""
    kinds = {}
    for field in model._meta.get_fields():
        kinds[type(field)] = field.name
        if field.is_relation and field.related_model not in (None, model):
            kinds[field.related_model] = f"{field.name}__id"
    return list(kinds.values())


def test_odd_lookups_on_every_list(rf: Any, rows: Any) -> None:
    """Every kind of column, with each lookup and value: queried, without rendering the page."""
    user = User.objects.get(username="root")
    for model, screen in screens():
        for offset, name in enumerate(_fields(model)):
            for number, lookup in enumerate(LOOKUPS):
                for value in VALUES[(number + offset) % 3 :: 3]:
                    request = rf.get("/", {name + lookup: value})
                    request.user = user
                    request._messages = []
                    with suppress(SuspiciousOperation, BadRequest):
                        changelist: Any = screen.get_changelist_instance(request)
                        assert len(list(changelist.result_list)) <= 3, (name, lookup, value)


def test_odd_texts_on_every_list(root: Client) -> None:
    failed = {}
    for model, _screen in screens():
        url = reverse(f"admin:filestack_tags_{model._meta.model_name}_changelist")
        names = ["q", "p", "o", "e", "_to_field", "state__exact", "event", "by"]
        if model is Asset:
            names += ["cursor", "order", "order_tag", "view", "tag", "confidence", "source"]
            names += ["decision", "family", "presence", "at_least"]
        for number, name in enumerate(names):
            for text in TEXTS if name == "q" and model is Asset else TEXTS[number % 5 :: 5]:
                status = ask(root, url, {name: text})
                if status not in (200, 302, 400):
                    failed[url, name, text[:30]] = status
    assert failed == {}


def test_a_year_that_the_calendar_ends_with(root: Client) -> None:
    url = reverse("admin:filestack_tags_dailyusage_changelist")
    for year in ("0", "1", "9998", "9999", "10000", "-5"):
        for more in ({}, {"day__month": "12"}, {"day__month": "12", "day__day": "31"}):
            assert ask(root, url, {"day__year": year, **more}) in (200, 302, 400), (year, more)


def test_odd_parameters_on_every_page_of_ours(rows: Any, root: Client) -> None:
    """The parameters of each page, one by one, and all at once."""
    failed = {}
    pages = own_pages(rows)
    names = {name for url in pages.values() for name in QueryDict(urlsplit(url).query)}
    names |= {"q", "after", "at_least", "by", "action", "asset_ids", "earlier", "later"}
    names |= {"confirm", "decided", "_changelist_filters", "name", "order_tag"}
    for number, (page, url) in enumerate(pages.items()):
        path, _mark, query = url.partition("?")
        for text in TEXTS[number % 2 :: 2]:
            for odd in ({name: text} for name in QueryDict(query)):
                status = ask(root, path, odd)
                if status not in (200, 302, 400):
                    failed[page, *odd, text[:30]] = status
            status = ask(root, path, dict.fromkeys(sorted(names), text))
            if status not in (200, 302, 400):
                failed[page, text[:30]] = status
    assert failed == {}


def test_odd_ids_in_every_address(rows: Any, root: Client) -> None:
    failed = {}
    names = [str(model._meta.model_name) for model in rows]
    places = [f"{name}/{{}}/{page}/" for name in names for page in ("change", "history")]
    places += ["asset/{}/runs/", "bulkjob/{}/progress/", "tag/{}/merge/", "tag/{}/threshold/"]
    for odd in ("-1", "9" * 25, "9" * 5000, "%00", "a%F0%9F%98%80"):
        for place in places:
            status = ask(root, "/admin/filestack_tags/" + place.format(odd), {})
            if status not in (200, 302, 403, 404):
                failed[place, odd[:30]] = status
    assert failed == {}


def test_odd_selections_for_every_action(root: Client, rf: Any) -> None:
    request = rf.get("/")
    request.user = User.objects.get(username="root")
    failed = {}
    for model, screen in screens():
        url = reverse(f"admin:filestack_tags_{model._meta.model_name}_changelist")
        for action in [*screen.get_actions(request), "nonsense"]:
            for selected in ("\x00", "x", "9" * 25):
                for more in ({}, {"confirmed": "1", "index": selected, "shown": selected}):
                    data = {"action": action, "index": "0", "_selected_action": selected}
                    status = ask(root, url, data | more, "post")
                    if status not in (200, 302, 400):
                        failed[url, action, selected[:30], tuple(more)] = status
    assert failed == {}


def _forms(rows: Any) -> dict[str, tuple[str, ...]]:
    pk = {model._meta.model_name: row.pk for model, row in rows.items()}
    app = "/admin/filestack_tags/"
    decide = ("accept", "reject", "withdraw", "change", "confidence", "seen", "undo")
    decide += ("add", "add-name", "add-confidence", "state", "asset", "assets", "all")
    return {
        f"{app}asset/add/": ("reference", "filename", "mimetype", "tag"),
        f"{app}asset/{pk['asset']}/decide/": decide,
        f"{app}asset/review/decide/": decide,
        f"{app}asset/upload/stored/": (
            *("handle", "filename", "mimetype", "size", "container", "key", "status"),
        ),
        f"{app}bulkjob/ask/": (
            *("query", "asset_ids", "key", "action", "tag", "low", "high", "tagger", "format"),
            *("previewed",),
        ),
        f"{app}savedsearch/add/": ("name", "query", "order", "order_tag", "shared"),
        f"{app}savedsearch/{pk['savedsearch']}/change/": (
            *("name", "query", "order", "order_tag", "initial-name", "initial-shared"),
        ),
        f"{app}outboundendpoint/add/": ("url", "description", "events", "is_active"),
        f"{app}outboundendpoint/{pk['outboundendpoint']}/change/": (
            *("url", "description", "events", "initial-url", "initial-events"),
        ),
        f"{app}outboundendpoint/{pk['outboundendpoint']}/secret/": ("rotated_at",),
        f"{app}tag/{pk['tag']}/change/": (
            *("name", "min_confidence", "hidden", "aliases", "initial-name"),
            *("initial-min_confidence", "initial-hidden", "initial-aliases"),
        ),
        f"{app}tag/{pk['tag']}/threshold/": ("minimum", "initial-minimum"),
        f"{app}tag/{pk['tag']}/merge/": ("target",),
        f"{app}tag/never-show/": ("labels",),
        f"{app}tag/sensitive/": ("approve", "withhold"),
        f"{app}heartbeat/operations/": ("try", "replay", "confirmed"),
    }


GOOD = {
    "reference": "handle123456",
    "handle": "handle123456",
    "name": "Good",
    "query": "animal",
    "order": "newest",
    "url": "https://example.com/",
    "events": "asset.tagged",
    "action": "add_tag",
    "tag": "new",
    "confirmed": "1",
    "confidence": "50",
    "add-name": "good",
}


def test_odd_values_in_every_field_of_every_form(rows: Any, root: Client) -> None:
    """Together with valid values of the other fields, so that the odd one reaches the service."""
    failed = {}
    for url, fields in _forms(rows).items():
        good = {name: value for name, value in GOOD.items() if name in fields}
        for field in fields:
            for text in TEXTS:
                status = ask(root, url, {**good, field: text}, "post")
                if status not in (200, 302, 400, 403, 404, 429):
                    failed[url, field, text[:30]] = status
    assert failed == {}


def test_no_form_stores_what_a_database_refuses(rows: Any, root: Client) -> None:
    for url, fields in _forms(rows).items():
        good = {name: value for name, value in GOOD.items() if name in fields}
        for field in fields:
            root.post(url, {**good, field: "a\x00b\x1b"})
    stored = [
        *Tag.objects.values_list("name", flat=True),
        *SavedSearch.objects.values_list("name", flat=True),
        *OutboundEndpoint.objects.values_list("description", flat=True),
    ]
    assert not [text for text in stored if "\x00" in text]
