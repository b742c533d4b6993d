"""Sensitive labels: the shipped list, and no leaks of withheld tags."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import call_command

from filestack_tags import curation
from filestack_tags.api.asset_json import describe
from filestack_tags.assets import sensitive_labels
from filestack_tags.assets.sensitive import report
from filestack_tags.exceptions import CurationError
from filestack_tags.models import Asset, AssetTag, Tag
from filestack_tags.search import Search
from filestack_tags.search import completion as completion
from filestack_tags.search.language.tree import Comparison, HasTag, Query
from filestack_tags.search.visible_tags import visible_asset_tags
from tests.api.rows import tagged

pytestmark = pytest.mark.django_db

SURE = Query(HasTag(confidence=Comparison(">=", 90)))


def use(settings: Any, **said: Any) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | said


@pytest.fixture
def crowd(settings: Any) -> Asset:
    use(settings, HIDE_SENSITIVE=True)
    completion.clear_cache()
    return tagged("h1", {"woman": 95, "crowd": 86})


def seen(asset: Asset) -> dict[str, Any]:
    """The result for ``woman`` of each way of reading tags."""
    completion.clear_cache()
    woman = Tag.objects.get(key="woman")
    (described,) = describe([asset.pk], "default")
    return {
        "by name": Asset.objects.search("woman").exists(),
        "by prefix": Asset.objects.search("wom*").exists(),
        "by confidence": Asset.objects.search("woman>=90").exists(),
        "by any tag": Asset.objects.search(SURE).exists(),
        "api": "woman" in {tag["key"] for tag in described["tags"]},
        "facets": "woman" in {each.name for each in Search("crowd").facets().tags},
        "facets of all": "woman" in {each.name for each in Search("").facets().tags},
        "histogram": bool(Search().histogram(woman.pk)),
        "badges": visible_asset_tags(AssetTag.objects.filter(tag=woman)).exists(),
    }


def test_the_list_holds_what_filestacks_own_sample_does() -> None:
    found = {
        key: sensitive_labels.category_of(key) for key in ("adult", "man", "woman", "umbrella")
    }
    assert found == {"adult": "age", "man": "gender", "woman": "gender", "umbrella": ""}
    assert sensitive_labels.version() >= 1
    assert len(sensitive_labels.labels()) > 200


def test_settings_add_labels_and_take_some_away(settings: Any) -> None:
    use(settings, SENSITIVE_LABELS=["  Mood "], SENSITIVE_LABELS_EXCLUDE="MAN")
    assert sensitive_labels.category_of("mood") == sensitive_labels.OWN
    assert sensitive_labels.category_of("man") == ""


def test_nothing_is_withheld_by_default(settings: Any) -> None:
    asset = tagged("h1", {"woman": 95, "crowd": 86})
    assert set(seen(asset).values()) == {True}


def test_no_way_of_reading_shows_a_withheld_tag(crowd: Asset) -> None:
    assert set(seen(crowd).values()) == {False}
    assert completion.complete("wom") == []
    assert Search("womann").hints()[0].near == ()
    assert not Asset.objects.search("woman@none").exists()
    assert Asset.objects.search("-woman").exists()
    assert AssetTag.objects.filter(tag__key="woman").exists()


def test_include_hidden_reaches_it_with_the_permission(crowd: Asset) -> None:
    assert Asset.objects.search("woman>=90 include:hidden", include_hidden=True).exists()
    assert completion.complete("wom", include_hidden=True)


def test_an_accepted_row_is_shown_and_an_approved_label_everywhere(crowd: Asset) -> None:
    woman = Tag.objects.get(key="woman")
    other = tagged("h2", {"woman": 70, "crowd": 60})
    curation.accept(crowd.pk, woman.pk, user=None)
    assert set(seen(crowd).values()) == {True}
    assert list(Asset.objects.search("woman")) == [crowd]
    assert {each.name: each.count for each in Search("").facets().tags} == {
        "crowd": 2,
        "woman": 1,
    }
    (row,) = report("default")
    assert (row.category, row.assets, row.withheld) == ("gender", 2, 1)
    curation.approve(woman.pk, user=None)
    assert curation.approve(woman.pk, user=None).approved_at
    assert set(Asset.objects.search("woman")) == {crowd, other}
    assert completion.complete("wom")
    assert report("default")[0].withheld == 0
    curation.approve(woman.pk, user=None, approved=False)
    assert list(Asset.objects.search("woman")) == [crowd]


def test_the_command_reports_what_is_withheld(crowd: Asset) -> None:
    out = io.StringIO()
    call_command("filestack_tags_sensitive", stdout=out)
    assert "HIDE_SENSITIVE is on" in out.getvalue()
    assert "gender: woman: 1 assets, 1 hidden" in out.getvalue()


def test_a_label_can_be_hidden_before_any_reply_brings_it() -> None:
    curation.never_show(["Snail", "snail "])
    asset = tagged("h1", {"snail": 90, "bakery": 80})
    assert not Asset.objects.search("snail").exists()
    assert AssetTag.objects.filter(asset=asset, tag__key="snail").exists()
    curation.add_alias(Tag.objects.get(key="bakery").pk, "baker")
    with pytest.raises(CurationError, match="alias of 'bakery'"):
        curation.never_show(["baker"])
