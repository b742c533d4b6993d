"""Registering, refreshing and archiving files."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from filestack_tags import curation
from filestack_tags.assets import registry
from filestack_tags.assets.registry import Facts
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, AssetTag, Tag, TaggingRun
from filestack_tags.signals import asset_registered
from filestack_tags.tagging import queue, results
from tests import scripted

pytest_plugins = ["filestack_tags.pytest_plugin"]
pytestmark = pytest.mark.django_db

HANDLE = Source.handle("VJQTvCboRVivWJ2BpKgd")


def test_a_file_is_registered_once(django_capture_on_commit_callbacks: Any) -> None:
    heard: list[Asset] = []
    asset_registered.connect(
        lambda **kwargs: heard.append(kwargs["asset"]), weak=False, dispatch_uid=1
    )
    try:
        with django_capture_on_commit_callbacks(execute=True):
            first, created = registry.register(HANDLE, facts=Facts(filename="a.jpg"))
            again, created_again = registry.register(HANDLE)
    finally:
        asset_registered.disconnect(dispatch_uid=1)
    assert (created, created_again) == (True, False)
    assert first == again
    assert again.filename == "a.jpg"
    assert heard == [first]


def test_references_that_differ_in_case_or_kind_are_different_files() -> None:
    for source in (
        Source.handle("abc"),
        Source.handle("ABC"),
        Source.url("https://example.com/abc"),
        Source.url("https://example.com/ABC"),
        Source.alias("store", "abc"),
        Source.alias("store", "äbc"),
        Source.alias("store", "abc "),
    ):
        assert registry.register(source)[1], source
    assert Asset.objects.filter(reference="abc").count() == 1


def test_a_url_of_the_greatest_length_is_registered() -> None:
    source = Source.url("https://example.com/" + "a" * (4096 - 20))
    asset, _ = registry.register(source)
    asset.refresh_from_db()
    assert asset.reference == source.reference


def test_newer_facts_replace_and_older_ones_only_fill() -> None:
    now = timezone.now()
    registry.register(HANDLE, facts=Facts(filename="b.jpg", size=2), at=now)
    asset, _ = registry.register(
        HANDLE, facts=Facts(filename="a.jpg", mimetype="image/jpeg"), at=now - timedelta(1)
    )
    assert (asset.filename, asset.size, asset.mimetype) == ("b.jpg", 2, "image/jpeg")
    asset, _ = registry.register(HANDLE, facts=Facts(filename="c.jpg"), at=now + timedelta(1))
    assert (asset.filename, asset.size) == ("c.jpg", 2)


def test_facts_no_column_can_hold_are_cut_or_left_out() -> None:
    facts = Facts(
        filename="ع" * 3000 + "\x00", size=2**70, width=-1, upload_tags={"a\x00": ["\ud800", 1]}
    )
    asset, _ = registry.register(HANDLE, facts=facts)
    asset.refresh_from_db()
    assert asset.filename == "ع" * 1024
    assert (asset.size, asset.width) == (None, None)
    assert asset.upload_tags == {"a�": ["�", 1]}


def test_the_uploader_is_the_first_one_named() -> None:
    user = get_user_model().objects.create(username="ann")
    other = get_user_model().objects.create(username="bob")
    registry.register(HANDLE)
    assert registry.register(HANDLE, uploader=user)[0].uploader == user
    assert registry.register(HANDLE, uploader=other)[0].uploader == user
    user.delete()
    assert Asset.objects.get().uploader is None


def test_archiving_hides_and_restoring_brings_everything_back(
    asset: Asset, script: Any
) -> None:
    queue.request([asset.pk])
    queue.tag(asset.pk)
    assert registry.archive(asset.pk) is True
    assert registry.archive(asset.pk) is False
    assert not Asset.objects.search("sky").exists()
    assert Tag.objects.get().asset_count == 0
    assert registry.restore(asset.pk) is True
    assert registry.restore(asset.pk) is False
    assert Asset.objects.search("sky>=90").get() == asset
    assert Tag.objects.get().asset_count == 1


def test_the_tags_of_an_archived_asset_have_no_score_until_it_is_restored(
    asset: Asset, script: Any
) -> None:
    script[:] = [scripted.reply({"sky": 90, "sea": 40})]
    queue.request([asset.pk])
    queue.tag(asset.pk)
    curation.reject(asset.pk, Tag.objects.get(key="sea").pk, user=None)

    def scores() -> dict[str, int]:
        return dict(AssetTag.objects.values_list("tag__key", "score"))

    assert scores() == {"sky": 90, "sea": -1}
    registry.archive(asset.pk)
    assert scores() == {"sky": -1, "sea": -1}
    registry.restore(asset.pk)
    assert scores() == {"sky": 90, "sea": -1}


def test_archiving_takes_an_asset_out_of_the_queue(asset: Asset) -> None:
    queue.request([asset.pk])
    registry.archive(asset.pk)
    asset.refresh_from_db()
    assert (asset.tagging_state, asset.due_at) == (Asset.State.NEW, None)


def test_registering_an_archived_file_restores_it(asset: Asset) -> None:
    registry.archive(asset.pk)
    registry.register(HANDLE, at=timezone.now() - timedelta(days=1))
    assert not Asset.objects.present().exists()
    registry.register(HANDLE)
    assert Asset.objects.present().exists()


def test_tags_are_counted_through_every_change(asset: Asset, script: Any) -> None:
    def counts() -> dict[str, int]:
        return dict(Tag.objects.values_list("key", "asset_count"))

    def run(tags: dict[str, int]) -> None:
        run = TaggingRun.objects.create(
            asset=asset, tagger="t", trigger="code", content_version=1
        )
        results.apply(run.pk, scripted.reply(tags), result_at=timezone.now())

    run({"sky": 1, "sea": 2})
    run({"sky": 3, "sun": 4})
    assert counts() == {"sky": 1, "sea": 0, "sun": 1}
    sky = Tag.objects.get(key="sky")
    curation.reject(asset.pk, sky.pk, user=None)
    assert counts() == {"sky": 0, "sea": 0, "sun": 1}
    run({})
    assert counts() == {"sky": 0, "sea": 0, "sun": 0}
    curation.accept(asset.pk, sky.pk, user=None)
    curation.add(asset.pk, "sun", user=None)
    assert counts() == {"sky": 1, "sea": 0, "sun": 1}
    curation.withdraw(asset.pk, Tag.objects.get(key="sun").pk, user=None)
    assert counts() == {"sky": 1, "sea": 0, "sun": 0}


def test_an_asset_that_is_erased_leaves_its_tags_counted_right(filestack_make: Any) -> None:
    """As in the privacy guide."""
    gone, stays = filestack_make.asset({"sky": 90}), filestack_make.asset({"sky": 80})
    registry.archive(gone.pk)
    Asset.objects.filter(pk=gone.pk).exclude(deleted_at=None).delete()
    assert Tag.objects.get(key="sky").asset_count == 1
    assert Asset.objects.get() == stays


def test_a_type_is_kept_in_the_letters_that_searches_compare() -> None:
    assert Facts(mimetype="Image/PNG").columns() == {"mimetype": "image/png"}
    assert Facts(filename="IMG.PNG").columns() == {"filename": "IMG.PNG"}
