"""Tools for tags in the admin: merges, thresholds, labels that must not be shown."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import Q
from django.test import Client

from filestack_tags import curation
from filestack_tags.curation import merging
from filestack_tags.models import Asset, Tag, TagMerge
from tests.api.rows import tagged

pytestmark = pytest.mark.django_db

LIST = "/admin/filestack_tags/tag/"
MERGES = "/admin/filestack_tags/tagmerge/"


@pytest.fixture
def cats(db: None) -> Tag:
    tagged("h1", {"cat": 90, "cats": 95})
    tagged("h2", {"cats": 80, "woman": 70})
    return Tag.objects.get(key="cats")


def test_a_merge_is_previewed_done_and_undone(
    editor: Client, cats: Tag, page: Any, django_capture_on_commit_callbacks: Any
) -> None:
    place = f"{LIST}{cats.pk}/merge/"
    empty = page(editor.get(place))
    assert empty.inline == []
    preview = page(editor.get(place, {"target": " CAT"}))
    assert "Assets 2 Assets with both tags 1" in preview.text
    assert Tag.objects.filter(key="cats").exists()
    with django_capture_on_commit_callbacks(execute=True):
        response = editor.post(place, {"target": "cat"})
    merge = TagMerge.objects.get()
    merging.work(merge.pk)
    shown = page(editor.get(response.url))
    assert "cats → cat" in shown.text
    assert "2 / 2" in shown.text
    assert shown.inline == []
    assert Asset.objects.search("cat").count() == 2
    with django_capture_on_commit_callbacks(execute=True):
        editor.post(f"{MERGES}{merge.pk}/undo/")
    merging.work(merge.pk)
    assert "undone" in page(editor.get(MERGES)).text
    assert Tag.objects.filter(key="cats").exists()
    assert "Undo merge" not in page(editor.get(response.url)).text


def test_a_page_of_a_merge_at_work_follows_it(editor: Client, cats: Tag) -> None:
    merge = merging.start(cats.pk, Tag.objects.get(key="cat").pk, user=None)
    shown = editor.get(f"{MERGES}{merge.pk}/change/").content.decode()
    assert '<noscript><meta http-equiv="refresh"' in shown
    assert "js/tag_merge.js" in shown
    assert "Undo merge" in shown


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("dog", "There is no tag “dog”"),
        ("cats", "merged with itself"),
        ("x" * 300, "at most 200"),
    ],
)
def test_what_cannot_be_merged_is_explained(
    editor: Client, cats: Tag, page: Any, target: str, message: str
) -> None:
    for send in (editor.get, editor.post):
        assert message in page(send(f"{LIST}{cats.pk}/merge/", {"target": target})).text
    assert not TagMerge.objects.exists()


def test_an_undo_that_has_to_wait_says_for_what(editor: Client, cats: Tag) -> None:
    merge = merging.start(cats.pk, Tag.objects.get(key="cat").pk, user=None)
    merging.work(merge.pk)
    curation.rename(Tag.objects.get(key="cat").pk, "cats")
    response = editor.post(f"{MERGES}{merge.pk}/undo/", follow=True)
    assert "rename that one first" in str(next(iter(response.context["messages"])))


def test_a_threshold_is_previewed_and_saved(editor: Client, cats: Tag, page: Any) -> None:
    place = f"{LIST}{cats.pk}/threshold/"
    assert "2 of 2 assets remain" in page(editor.get(place)).text
    preview = page(editor.get(place, {"minimum": "90"}))
    assert "1 of 2 assets remain" in preview.text
    assert preview.inline == []
    editor.post(place, {"minimum": "90"})
    cats.refresh_from_db()
    assert cats.min_confidence == 90
    assert "1 of 2 assets remain" in page(editor.get(place)).text
    assert "less than or equal to 100" in page(editor.post(place, {"minimum": "101"})).text
    editor.post(place, {"minimum": ""})
    cats.refresh_from_db()
    assert cats.min_confidence is None


def test_labels_are_hidden_before_any_reply_brings_them(editor: Client, page: Any) -> None:
    editor.post(f"{LIST}never-show/", {"labels": "Snail\n\n slug "})
    assert set(Tag.objects.filter(hidden=True).values_list("key", flat=True)) == {
        "snail",
        "slug",
    }
    curation.add_alias(Tag.objects.get(key="slug").pk, "slimy")
    refused = page(editor.post(f"{LIST}never-show/", {"labels": "slimy"}))
    assert "alias of" in refused.text


def test_sensitive_labels_are_marked_reported_and_approved(
    editor: Client, cats: Tag, page: Any, settings: Any
) -> None:
    assert "woman sensitive" in page(editor.get(LIST)).text
    assert "HIDE_SENSITIVE is off" in page(editor.get(f"{LIST}sensitive/")).text
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"HIDE_SENSITIVE": True}
    woman = Tag.objects.get(key="woman")
    shown = page(editor.get(f"{LIST}sensitive/"))
    assert "1 asset tags are hidden" in shown.text
    assert "woman gender 1 1" in shown.text
    editor.post(f"{LIST}sensitive/", {"approve": str(woman.pk)})
    assert Asset.objects.search("woman").exists()
    editor.post(f"{LIST}sensitive/", {"withhold": str(woman.pk)})
    assert not Asset.objects.search("woman").exists()


def test_who_may_only_look_gets_no_controls(client_of: Any, cats: Tag, page: Any) -> None:
    viewer = client_of("view_tag")
    merge = merging.start(cats.pk, Tag.objects.get(key="cat").pk, user=None)
    assert viewer.get(f"{LIST}{cats.pk}/merge/").status_code == 403
    assert viewer.get(f"{LIST}never-show/").status_code == 403
    for place in (f"{LIST}sensitive/", f"{LIST}{cats.pk}/threshold/"):
        assert viewer.get(place).status_code == 200
        assert viewer.post(place, {"approve": "1", "minimum": "5"}).status_code == 403
    assert "Undo merge" not in page(viewer.get(f"{MERGES}{merge.pk}/change/")).text
    assert viewer.post(f"{MERGES}{merge.pk}/undo/").status_code == 403
    stranger = client_of("view_asset")
    assert stranger.get(MERGES).status_code == 403
    assert stranger.get(f"{LIST}sensitive/").status_code == 403


def test_a_tag_that_is_gone_is_not_found(editor: Client, db: None) -> None:
    for place in (f"{LIST}999/merge/", f"{LIST}999/threshold/"):
        assert editor.get(place).status_code == 404
    assert editor.post(f"{MERGES}999/undo/").status_code == 404


def test_the_list_leads_to_what_is_done_with_tags(
    editor: Client, client_of: Any, cats: Tag
) -> None:
    links = {name: f'href="{LIST}{name}/"'.encode() for name in ("sensitive", "never-show")} | {
        "merges": f'href="{MERGES}"'.encode()
    }
    shown = editor.get(LIST).content
    assert all(link in shown for link in links.values())
    viewer = client_of("view_tag").get(LIST).content
    assert links["never-show"] not in viewer
    assert links["sensitive"] in viewer


@pytest.mark.parametrize(
    "address",
    [
        "/admin/filestack_tags/asset/",
        "/admin/filestack_tags/asset/{asset}/change/",
        "/admin/filestack_tags/asset/review/?tag=woman&low=0&high=100",
        LIST,
    ],
)
def test_a_sensitive_label_is_marked_wherever_it_shows(
    editor: Client, cats: Tag, address: str
) -> None:
    asset = Asset.objects.get(reference="h2")
    shown = editor.get(address.format(asset=asset.pk)).content.decode()
    assert shown.count("fst-sensitive") == 1


def test_the_page_of_an_asset_says_that_a_label_is_withheld(
    client_of: Any, cats: Tag, page: Any, settings: Any
) -> None:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "HIDE_SENSITIVE": True}
    asset = Asset.objects.get(reference="h2")
    curator = client_of("view_asset", "search_hidden")
    shown = page(curator.get(f"/admin/filestack_tags/asset/{asset.pk}/change/")).text
    assert shown.count("hidden until approved") == 1
    assert "below the minimum" not in shown


def test_the_log_of_decisions_shows_merges_and_undoes_them(
    editor: Client,
    client_of: Any,
    cats: Tag,
    page: Any,
    django_capture_on_commit_callbacks: Any,
) -> None:
    log = "/admin/filestack_tags/tagdecision/"
    somebody = client_of("view_tagdecision", "view_tag", "change_tag")
    anna = User.objects.create_superuser("anna")
    merge = merging.start(cats.pk, Tag.objects.get(key="cat").pk, user=anna)
    merging.work(merge.pk)
    shown = page(somebody.get(log))
    assert shown.links["cats → cat"] == f"{MERGES}{merge.pk}/change/"
    assert "merged, 2 assets anna" in shown.text
    undo = f"{MERGES}{merge.pk}/undo/"
    assert f'action="{undo}"' in shown.html
    for search, is_shown in (("cats", True), ("anna", True), ("dog", False)):
        assert ("cats → cat" in page(somebody.get(f"{log}?q={search}")).text) is is_shown
    viewer = page(client_of("view_tagdecision", "view_tag", "search_hidden").get(log))
    assert "cats → cat" in viewer.text
    assert undo not in viewer.html
    assert "cats → cat" not in page(client_of("view_tagdecision").get(log)).text
    with django_capture_on_commit_callbacks(execute=True):
        somebody.post(undo)
    shown = page(somebody.get(log))
    assert "undone" in shown.text
    assert undo not in shown.html


def test_the_global_minimum_is_explored_and_set_in_the_settings(
    editor: Client, cats: Tag, client_of: Any, page: Any, settings: Any
) -> None:
    place = f"{LIST}minimum/"
    assert page(editor.get(LIST)).links["Global minimum"] == place
    shown = page(editor.get(place))
    assert shown.inline == []
    assert "Exact counts from all 2 assets." in shown.text
    assert "4 of 4 asset tags remain, on 2 of 2 assets" in shown.text
    preview = page(editor.get(place, {"minimum": "91"}))
    assert "1 of 4 asset tags remain, on 1 of 2 assets" in preview.text
    assert '"MIN_CONFIDENCE": 91 }' in preview.text
    assert "whole number" in page(editor.get(place, {"minimum": "x"})).text
    assert client_of("view_asset").get(place).status_code == 403
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"ASSET_SCOPE": f"{__name__}.nothing"}
    assert editor.get(place).status_code == 403


def nothing(user: Any) -> Q:
    return Q(pk=0)
