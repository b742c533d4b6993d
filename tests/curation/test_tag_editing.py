"""Users' decisions, and undoing them."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from filestack_tags import curation
from filestack_tags.exceptions import CurationError, InvalidLabel
from filestack_tags.models import Asset, AssetTag, Tag, TagAlias, TaggingRun
from filestack_tags.signals import tag_decided
from filestack_tags.tagging import results
from tests import scripted

pytestmark = pytest.mark.django_db

Decision = AssetTag.Decision


@pytest.fixture
def user(db: None) -> Any:
    return get_user_model().objects.create(username="ann")


@pytest.fixture
def sky(asset: Asset) -> Tag:
    apply(asset, {"sky": 90})
    return Tag.objects.get(key="sky")


def apply(asset: Asset, tags: dict[str, int]) -> None:
    run = TaggingRun.objects.create(asset=asset, tagger="t", trigger="code", content_version=1)
    results.apply(run.pk, scripted.reply(tags), result_at=timezone.now())


def row(asset: Asset, key: str) -> AssetTag:
    return AssetTag.objects.get(asset=asset, tag__key=key)


@pytest.mark.parametrize(
    ("decide", "decision"),
    [(curation.accept, Decision.ACCEPTED), (curation.reject, Decision.REJECTED)],
)
def test_a_decision_names_who_and_when_and_can_be_withdrawn(
    asset: Asset, sky: Tag, user: Any, decide: Any, decision: int
) -> None:
    decide(asset.pk, sky.pk, user=user)
    decided = row(asset, "sky")
    assert (decided.decision, decided.decided_by) == (decision, user)
    first = decided.decided_at
    decide(asset.pk, sky.pk, user=None)
    assert row(asset, "sky").decided_at == first
    curation.withdraw(asset.pk, sky.pk, user=user)
    undone = row(asset, "sky")
    assert (undone.decision, undone.decided_by, undone.decided_at) == (0, None, None)
    assert undone.confidence == 90


def test_a_rejected_tag_does_not_come_back_with_the_next_reply(
    asset: Asset, sky: Tag, tags_of: Any
) -> None:
    curation.reject(asset.pk, sky.pk, user=None)
    apply(asset, {"sky": 99})
    assert tags_of(asset) == {}
    assert not Asset.objects.search("sky").exists()
    assert Asset.objects.search("sky@rejected").exists()


def test_a_tag_added_by_hand_stays_until_it_is_withdrawn(asset: Asset, tags_of: Any) -> None:
    added = curation.add(asset.pk, " My  Holiday ", user=None, confidence=60)
    assert (added.tag.key, added.tag.name) == ("my holiday", "My Holiday")
    apply(asset, {"sky": 99})
    assert tags_of(asset) == {"sky": 99, "my holiday": 60}
    curation.withdraw(asset.pk, added.tag_id, user=None)
    curation.withdraw(asset.pk, added.tag_id, user=None)
    assert tags_of(asset) == {"sky": 99}


def test_adding_a_tag_that_is_there_accepts_it(asset: Asset, sky: Tag) -> None:
    curation.reject(asset.pk, sky.pk, user=None)
    curation.add(asset.pk, "SKY", user=None, confidence=10)
    assert (row(asset, "sky").decision, row(asset, "sky").confidence) == (Decision.ACCEPTED, 90)


@pytest.mark.parametrize("confidence", [-1, 101])
def test_a_confidence_is_between_0_and_100(asset: Asset, sky: Tag, confidence: int) -> None:
    with pytest.raises(CurationError, match="between 0 and 100"):
        curation.add(asset.pk, "sea", user=None, confidence=confidence)
    with pytest.raises(CurationError, match="between 0 and 100"):
        curation.set_minimum(sky.pk, confidence)


def test_only_a_tag_that_is_there_can_be_decided(asset: Asset, sky: Tag) -> None:
    other = Tag.objects.create(key="sea", name="sea")
    with pytest.raises(CurationError, match="does not have this tag"):
        curation.reject(asset.pk, other.pk, user=None)
    curation.withdraw(asset.pk, other.pk, user=None)
    with pytest.raises(InvalidLabel):
        curation.add(asset.pk, " ", user=None)


def test_decisions_are_signalled_after_the_commit(
    asset: Asset, sky: Tag, django_capture_on_commit_callbacks: Any
) -> None:
    heard: list[Any] = []
    tag_decided.connect(
        lambda **kwargs: heard.append(kwargs["decision"]), weak=False, dispatch_uid=1
    )
    try:
        with django_capture_on_commit_callbacks(execute=True):
            curation.accept(asset.pk, sky.pk, user=None)
            curation.withdraw(asset.pk, sky.pk, user=None)
    finally:
        tag_decided.disconnect(dispatch_uid=1)
    assert heard == ["accepted", ""]


def test_a_renamed_tag_is_still_reached_by_its_former_name(
    asset: Asset, sky: Tag, tags_of: Any
) -> None:
    curation.rename(sky.pk, "Himmel")
    apply(asset, {"sky": 70})
    assert tags_of(asset) == {"himmel": 70}
    assert Asset.objects.search("sky=70 himmel=70").exists()
    curation.rename(sky.pk, "SKY")
    assert set(TagAlias.objects.values_list("key", flat=True)) == {"himmel"}
    assert Tag.objects.get().name == "SKY"


def test_a_new_spelling_of_the_same_name_needs_no_alias(sky: Tag) -> None:
    assert curation.rename(sky.pk, "Sky").name == "Sky"
    assert not TagAlias.objects.exists()


def test_names_of_other_tags_are_not_taken(asset: Asset, sky: Tag) -> None:
    sea = Tag.objects.create(key="sea", name="sea")
    curation.add_alias(sea.pk, "ocean")
    for name in ("Sea", "OCEAN"):
        with pytest.raises(CurationError, match="merged"):
            curation.rename(sky.pk, name)
        with pytest.raises(CurationError, match="merged"):
            curation.add_alias(sky.pk, name)
    with pytest.raises(CurationError, match="own name"):
        curation.add_alias(sky.pk, "SKY")


def test_an_alias_leads_replies_and_searches_to_its_tag(
    asset: Asset, sky: Tag, tags_of: Any
) -> None:
    alias = curation.add_alias(sky.pk, "heaven")
    assert curation.add_alias(sky.pk, "Heaven") == alias
    apply(asset, {"heaven": 95, "sky": 60})
    assert tags_of(asset) == {"sky": 95}
    assert Asset.objects.search("heaven>=95").exists()
    assert curation.remove_alias(alias.pk) is True
    assert curation.remove_alias(alias.pk) is False


def test_minimum_and_hiding_apply_when_reading_and_can_be_undone(
    asset: Asset, sky: Tag
) -> None:
    curation.set_minimum(sky.pk, 91)
    assert not Asset.objects.search("sky").exists()
    assert Asset.objects.search("sky>=90").exists()
    curation.set_minimum(sky.pk, None)
    curation.hide(sky.pk)
    assert not Asset.objects.search("sky").exists()
    curation.hide(sky.pk, hidden=False)
    assert Asset.objects.search("sky").exists()
