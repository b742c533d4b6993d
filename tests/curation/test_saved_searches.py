"""Saved searches: what is stored, who sees it, and what it finds."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import IntegrityError
from django.db.models import Q

from filestack_tags import curation
from filestack_tags.curation import saved_searches
from filestack_tags.curation.saved_searches import SavedSearchInput, save
from filestack_tags.exceptions import InvalidLabel, SavedSearchError, SearchError
from filestack_tags.models import Asset, SavedSearch, Tag
from tests.api.rows import person, tagged

pytestmark = pytest.mark.django_db


def by_container(user: Any) -> Q | None:
    """A scope of these tests: superusers see all, `ann` and `abe` what is in `a`."""
    return None if user.is_superuser else Q(container=user.username[0])


def nothing(user: Any) -> Q:
    return Q(pk__in=[])


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann")


@pytest.fixture
def scoped(settings: Any) -> None:
    settings.FILESTACK_TAGS = {
        **settings.FILESTACK_TAGS,
        "ASSET_SCOPE": f"{__name__}.by_container",
    }


def test_a_saved_search_finds_what_matches_by_now(ann: User) -> None:
    saved = save(SavedSearchInput("  Blue \n sky ", " sky>=80 ", order="oldest"), user=ann)
    assert (saved.name, saved.query, saved.shared) == ("Blue sky", "sky>=80", False)
    tagged("first", {"sky": 90})
    tagged("second", {"sky": 60})
    tagged("third", {"sky": 80})
    assert [asset.reference for asset in saved.assets()] == ["first", "third"]
    newest = save(SavedSearchInput("newest", "sky"), user=ann)
    assert [asset.reference for asset in newest.assets()] == ["third", "second", "first"]


def test_a_queryset_that_is_kept_follows_changes_of_tags(ann: User) -> None:
    tagged("one", {"sky": 90, "person": 60})
    sky = save(SavedSearchInput("sky", "sky"), user=ann).assets()
    clear = save(SavedSearchInput("clear", "sky -person"), user=ann).assets()
    assert (sky.count(), clear.count()) == (1, 0)
    curation.set_minimum(Tag.objects.get(key="person").pk, 61)
    assert clear.count() == 1
    curation.hide(Tag.objects.get(key="sky").pk, hidden=True)
    assert (sky.count(), clear.count()) == (0, 0)


def test_its_pages_come_in_the_order_that_was_saved(ann: User) -> None:
    tagged("low", {"sky": 60, "sea": 90})
    tagged("high", {"sky": 90, "sea": 60})
    wanted = SavedSearchInput("by sea", "sky sea", order="confidence", order_tag=" Sea ")
    saved = save(wanted, user=ann)
    assert saved.order_tag == "Sea"
    first = saved.page(size=1)
    assert [asset.reference for asset in first.assets()] == ["low"]
    assert first.next
    assert saved.page(size=1, cursor=first.next).confidences == [60]
    best = save(SavedSearchInput("best", "sky", order="best"), user=ann)
    assert best.page().confidences == [90, 60]


def test_changing_one_checks_and_writes_all_of_it(ann: User) -> None:
    saved = save(SavedSearchInput("sky", "sky", shared=True), user=ann)
    again = save(SavedSearchInput("sky", "sky>=80"), user=ann, saved_id=saved.pk)
    assert (again.pk, again.query, again.shared) == (saved.pk, "sky>=80", False)
    assert SavedSearch.objects.get().updated_at > saved.updated_at
    with pytest.raises(SavedSearch.DoesNotExist):
        save(
            SavedSearchInput("stolen"), user=User.objects.create_user("ben"), saved_id=saved.pk
        )
    with pytest.raises(SearchError):
        save(SavedSearchInput("sky", "sky ("), user=ann, saved_id=saved.pk)
    assert SavedSearch.objects.get().query == "sky>=80"


@pytest.mark.parametrize(
    ("wanted", "parameter"),
    [
        (SavedSearchInput(" \t"), "name"),
        (SavedSearchInput("x" * 101), "name"),
        (SavedSearchInput("a", order="random"), "order"),
        (SavedSearchInput("a", "sky", order_tag="sky"), "order_tag"),
    ],
)
def test_what_cannot_be_saved_is_refused_by_its_parameter(
    ann: User, wanted: SavedSearchInput, parameter: str
) -> None:
    with pytest.raises(SavedSearchError) as refused:
        save(wanted, user=ann)
    assert (refused.value.parameter, refused.value.conflict) == (parameter, False)
    assert not SavedSearch.objects.exists()


def test_a_tag_to_order_by_has_to_be_a_label(ann: User) -> None:
    with pytest.raises(InvalidLabel):
        save(SavedSearchInput("a", "sky", order="confidence", order_tag="a\x00b"), user=ann)


def test_a_name_is_taken_once_for_each_owner(
    ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(SavedSearchInput("Sky"), user=ann)
    save(SavedSearchInput("sky"), user=ann)
    save(SavedSearchInput("Sky"), user=User.objects.create_user("ben"))
    with pytest.raises(SavedSearchError, match="a saved search named “Sky”") as refused:
        save(SavedSearchInput(" Sky"), user=ann)
    assert (refused.value.parameter, refused.value.conflict) == ("name", True)
    # Two concurrent saves: both found the name free, and the database rejects one.
    free = saved_searches._require_free
    calls: list[str] = []

    def first_free(name: str, *args: Any) -> None:
        calls.append(name)
        if len(calls) > 1:
            free(name, *args)

    monkeypatch.setattr(saved_searches, "_require_free", first_free)
    with pytest.raises(SavedSearchError, match="already"):
        save(SavedSearchInput("Sky"), user=ann)
    monkeypatch.setattr(saved_searches, "_require_free", lambda *args: None)
    with pytest.raises(IntegrityError):
        save(SavedSearchInput("Sky"), user=ann)
    assert SavedSearch.objects.count() == 3


@pytest.mark.parametrize("name", ["\u200b", "\u2060\u00ad", " \u200d "])
def test_a_name_needs_a_visible_character(ann: User, name: str) -> None:
    with pytest.raises(SavedSearchError, match="visible character") as refused:
        save(SavedSearchInput(name), user=ann)
    assert refused.value.parameter == "name"
    assert not SavedSearch.objects.exists()


@pytest.mark.parametrize("name", ["Sky\u200b", "S\u00adky", "\u2060Sky", "Ｓｋｙ"])
def test_a_name_that_looks_like_another_of_the_owner_is_taken(ann: User, name: str) -> None:
    first = save(SavedSearchInput("Sky"), user=ann)
    with pytest.raises(SavedSearchError, match="already") as refused:
        save(SavedSearchInput(name), user=ann)
    assert (refused.value.parameter, refused.value.conflict) == ("name", True)
    other = save(SavedSearchInput("Sea"), user=ann)
    with pytest.raises(SavedSearchError, match="already"):
        save(SavedSearchInput(name), user=ann, saved_id=other.pk)
    assert save(SavedSearchInput(name), user=ann, saved_id=first.pk).pk == first.pk
    assert save(SavedSearchInput(name), user=User.objects.create_user("ben")).pk


def test_text_that_no_database_stores_is_made_storable(ann: User) -> None:
    saved = save(SavedSearchInput("a\x00b\ud800"), user=ann)
    saved.refresh_from_db()
    assert saved.name == "a�b�"
    with pytest.raises(SearchError, match="control characters"):
        save(SavedSearchInput("query", 'name:"a\x00*"'), user=ann)


def test_hidden_tags_take_the_permission_when_saving_and_when_looking(ann: User) -> None:
    may = person("may", "search_hidden")
    tagged("one", {"sky": 90})
    curation.hide(Tag.objects.get().pk, hidden=True)
    with pytest.raises(SearchError, match="permission"):
        save(SavedSearchInput("hidden", "sky include:hidden"), user=ann)
    saved = save(SavedSearchInput("hidden", "sky include:hidden", shared=True), user=may)
    assert saved.assets(may).count() == 1
    with pytest.raises(SearchError, match="permission"):
        saved.assets(ann)


def test_a_private_one_is_seen_by_its_owner_alone(ann: User) -> None:
    root = User.objects.create_superuser("root")
    save(SavedSearchInput("private"), user=ann)
    save(SavedSearchInput("b shared", shared=True), user=root)
    save(SavedSearchInput("z own"), user=ann)

    def seen(user: Any) -> list[str]:
        return [saved.name for saved in saved_searches.visible_to(user)]

    assert seen(ann) == ["private", "z own", "b shared"]
    assert seen(root) == ["b shared"]
    assert seen(AnonymousUser()) == []


def test_one_is_shared_within_a_scope_and_with_who_sees_everything(
    scoped: None, ann: User, settings: Any
) -> None:
    abe, ben = User.objects.create_user("abe"), User.objects.create_user("ben")
    root = User.objects.create_superuser("root")
    save(SavedSearchInput("of a", shared=True), user=ann)
    save(SavedSearchInput("of all", shared=True), user=root)

    def seen(user: Any) -> list[str]:
        return [saved.name for saved in saved_searches.visible_to(user)]

    assert seen(abe) == ["of a"]
    assert seen(ben) == []
    assert seen(root) == ["of all", "of a"]
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "ASSET_SCOPE": f"{__name__}.nothing"}
    save(SavedSearchInput("of nothing", shared=True), user=abe)
    assert seen(abe) == ["of nothing"]
    assert seen(ben) == []


def test_what_it_finds_is_in_the_scope_of_who_looks(scoped: None, ann: User) -> None:
    Asset.objects.filter(pk=tagged("in-a", {"sky": 90}).pk).update(container="a")
    Asset.objects.filter(pk=tagged("in-b", {"sky": 90}).pk).update(container="b")
    root = User.objects.create_superuser("root")
    saved = save(SavedSearchInput("sky", "sky", shared=True), user=root)
    ben = User.objects.create_user("ben")
    found = {
        user.username: [asset.reference for asset in saved.assets(user)]
        for user in (ann, ben, root)
    }
    assert found == {"ann": ["in-a"], "ben": ["in-b"], "root": ["in-b", "in-a"]}


def test_only_its_owner_deletes_one_and_it_goes_with_the_owner(ann: User) -> None:
    saved = save(SavedSearchInput("shared", shared=True), user=ann)
    ben = User.objects.create_user("ben")
    assert not saved_searches.delete(saved.pk, user=ben)
    save(SavedSearchInput("another"), user=ann)
    assert saved_searches.delete(saved.pk, user=ann)
    assert not saved_searches.delete(saved.pk, user=ann)
    ann.delete()
    assert not SavedSearch.objects.exists()


def test_listing_takes_one_query_however_many_there_are(
    ann: User, django_assert_num_queries: Any
) -> None:
    for number in range(5):
        save(SavedSearchInput(f"search {number}", shared=True), user=ann)
    with django_assert_num_queries(1):
        assert len(saved_searches.visible_to(ann)) == 5
