"""Saved searches in the admin: saved from the list, chosen in its menu, changed by their owner."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client

from filestack_tags.admin.library.saved_searches import SavedSearchForm
from filestack_tags.curation import saved_searches
from filestack_tags.curation.saved_searches import SavedSearchInput, save
from filestack_tags.exceptions import SavedSearchError
from filestack_tags.models import SavedSearch
from tests.api.rows import person, tagged

pytestmark = pytest.mark.django_db

LIST = "/admin/filestack_tags/asset/"
SAVED = "/admin/filestack_tags/savedsearch/"
ADD = f"{SAVED}add/"
EVERYTHING = tuple(f"{what}_savedsearch" for what in ("view", "add", "change", "delete"))


@pytest.fixture
def client(client_of: Any) -> Client:
    made: Client = client_of("view_asset", *EVERYTHING)
    return made


def owner() -> User:
    return User.objects.get(username="staff0")


def test_what_is_searched_for_is_saved_from_the_list_and_chosen_from_its_menu(
    client: Client, page: Any
) -> None:
    tagged("one", {"sky": 90, "sea": 50})
    asked = {"q": "sky sea", "kind__exact": "handle", "order": "confidence", "order_tag": "sea"}
    shown = page(client.get(LIST, asked))
    form = page(client.get(shown.links["Save this search"]))
    assert form.inputs["query"] == "sky sea kind:handle"
    said = {"name": "By sea", "query": form.inputs["query"]}
    reply = client.post(ADD, {**said, "order": "confidence", "order_tag": "sea", "_save": "1"})
    place = urlsplit(reply["Location"])
    assert place.path == LIST
    assert parse_qs(place.query) == {
        "q": ["sky sea kind:handle"],
        "order": ["confidence"],
        "order_tag": ["sea"],
    }
    shown = page(client.get(reply["Location"]))
    assert "Saved as “By sea”." in shown.text
    assert shown.links["By sea"] == reply["Location"]
    assert not shown.inline
    saved = SavedSearch.objects.get()
    assert (saved.owner, saved.shared) == (owner(), False)


def test_nothing_is_offered_to_save_where_nothing_or_something_else_is_asked_for(
    client: Client, page: Any
) -> None:
    for asked in ({}, {"q": "sky ("}, {"presence": "archived"}):
        assert "Save this search" not in page(client.get(LIST, asked)).text
    assert "Save this search" in page(client.get(LIST, {"q": "sky"})).text


def test_without_permission_there_is_no_menu_and_no_query_for_it(
    client_of: Any, page: Any, django_assert_max_num_queries: Any
) -> None:
    client = client_of("view_asset")
    save(SavedSearchInput("mine", "sky"), user=owner())
    shown = page(client.get(LIST, {"q": "sky"}))
    assert "Saved searches" not in shown.text
    assert "Save this search" not in shown.text
    assert client.get(SAVED).status_code == 403
    assert client.get(ADD).status_code == 403


def test_the_menu_takes_one_query_however_many_are_saved(
    client: Client, page: Any, names_at_hand: None, django_assert_num_queries: Any
) -> None:
    others = person("other")
    client.get(LIST)
    with django_assert_num_queries(6):  # session, user, permissions twice, page, menu, …
        client.get(LIST)
    for number in range(10):
        save(SavedSearchInput(f"mine {number}"), user=owner())
        save(SavedSearchInput(f"theirs {number}", shared=True), user=others)
    with django_assert_num_queries(6):
        shown = page(client.get(LIST))
    assert "mine 9" in shown.text
    assert "theirs 9 shared by other" in shown.text


def test_others_see_what_is_shared_and_cannot_change_it(client: Client, page: Any) -> None:
    other = person("other")
    private = save(SavedSearchInput("private"), user=other)
    shared = save(SavedSearchInput("shared", "sky", shared=True), user=other)
    listed = page(client.get(SAVED))
    assert "shared" in listed.links
    assert "private" not in listed.text
    assert client.get(f"{SAVED}{private.pk}/change/").status_code == 302
    assert "_save" not in page(client.get(f"{SAVED}{shared.pk}/change/")).inputs
    said = {"name": "stolen", "query": "", "order": "newest", "_save": "1"}
    assert client.post(f"{SAVED}{shared.pk}/change/", said).status_code == 403
    assert client.post(f"{SAVED}{shared.pk}/delete/", {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [shared.pk], "post": "yes"}
    client.post(SAVED, chosen)
    assert set(SavedSearch.objects.values_list("name", flat=True)) == {"private", "shared"}


def test_the_owner_changes_and_deletes(client: Client) -> None:
    first = save(SavedSearchInput("first", "sky"), user=owner())
    second = save(SavedSearchInput("second"), user=owner())
    said = {"name": "renamed", "query": "sea", "order": "oldest", "shared": "on", "_save": "1"}
    assert client.post(f"{SAVED}{first.pk}/change/", said).status_code == 302
    first.refresh_from_db()
    assert (first.name, first.query, first.order, first.shared) == (
        "renamed",
        "sea",
        "oldest",
        True,
    )
    assert client.post(f"{SAVED}{first.pk}/delete/", {"post": "yes"}).status_code == 302
    chosen = {"action": "delete_selected", "_selected_action": [second.pk], "post": "yes"}
    client.post(SAVED, chosen)
    assert not SavedSearch.objects.exists()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"query": "sky=>80"}, "There is no comparison =&gt;. Did you mean sky&gt;=80"),
        ({"query": "sky ("}, "nothing after"),
        ({"name": "taken"}, "already have a saved search named “taken”"),
        ({"order_tag": "sea"}, "requires the order"),
        ({"order": "confidence", "order_tag": "x" * 201}, "at most 200 characters"),
        ({"order": "confidence", "order_tag": "a\u007fb"}, "control characters"),
        ({"name": " "}, "This field is required"),
    ],
)
def test_what_cannot_be_saved_is_said_at_its_field(
    client: Client, wrong: dict[str, str], told: str
) -> None:
    save(SavedSearchInput("taken"), user=owner())
    said = {"name": "new", "query": "sky", "order": "newest", "_save": "1", **wrong}
    reply = client.post(ADD, said)
    assert reply.status_code == 200
    assert told in reply.content.decode()
    assert SavedSearch.objects.count() == 1


def test_a_name_that_is_taken_meanwhile_is_said_too(
    client: Client, monkeypatch: pytest.MonkeyPatch, page: Any
) -> None:
    save(SavedSearchInput("taken"), user=owner())
    monkeypatch.setattr(SavedSearchForm, "clean", lambda form: form.cleaned_data)
    reply = client.post(ADD, {"name": "taken", "order": "newest", "_save": "1"}, follow=True)
    assert "already have a saved search named “taken”" in page(reply).text
    assert SavedSearch.objects.count() == 1


def test_a_search_that_times_out_when_it_is_saved_is_explained(
    client: Client, monkeypatch: pytest.MonkeyPatch, page: Any, settings: Any
) -> None:
    """The form looked up its tags in time."""
    monkeypatch.setattr(SavedSearchForm, "clean", lambda form: form.cleaned_data)
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "SEARCH_TIMEOUT": 1e-9}
    data = {"name": "Skies", "query": "sky", "order": "newest", "_save": "1"}
    reply = client.post(ADD, data, follow=True)
    assert "The search took too long and was stopped." in page(reply).text
    assert not SavedSearch.objects.exists()


def test_after_saving_one_may_go_on_with_another(client: Client) -> None:
    reply = client.post(ADD, {"name": "a", "order": "newest", "_addanother": "1"})
    assert reply["Location"] == ADD


def test_a_site_without_the_screen_has_no_menu(
    client: Client, page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(SavedSearchInput("mine"), user=owner())
    monkeypatch.delitem(admin.site._registry, SavedSearch)
    assert "Saved searches" not in page(client.get(LIST, {"q": "sky"})).text


def test_the_service_refuses_what_the_form_would(client: Client) -> None:
    with pytest.raises(SavedSearchError):
        saved_searches.check(SavedSearchInput(""), user=owner())
