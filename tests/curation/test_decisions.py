"""Every decision is logged with its changes, and can be undone exactly."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from filestack_tags import curation
from filestack_tags.assets import registry, tags
from filestack_tags.exceptions import CurationError
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, AssetTag, Tag, TagDecision, TaggingRun
from filestack_tags.tagging import results
from tests import examples, scripted

pytestmark = pytest.mark.django_db

Decision = AssetTag.Decision
Act = TagDecision.Act


@pytest.fixture
def ann(db: None) -> Any:
    return get_user_model().objects.create(username="ann")


@pytest.fixture
def sky(asset: Asset) -> Tag:
    apply(asset, {"sky": 90})
    return Tag.objects.get(key="sky")


def apply(asset: Asset, said: dict[str, int]) -> None:
    run = TaggingRun.objects.create(asset=asset, tagger="t", trigger="code", content_version=1)
    results.apply(run.pk, scripted.reply(said), result_at=timezone.now())


def rows(asset: Asset) -> list[Any]:
    return sorted(
        AssetTag.objects.filter(asset=asset).values_list(
            *("tag__key", "confidence", "tagger_confidence", "score", "source"),
            *("decision", "decided_by", "decided_at", "run"),
        )
    )


def last() -> TagDecision:
    return TagDecision.objects.order_by("pk").reverse()[0]


def test_a_decision_is_logged_with_what_the_row_said_before_and_since(
    asset: Asset, sky: Tag, ann: Any
) -> None:
    curation.reject(asset.pk, sky.pk, user=ann, origin="admin")
    entry = last()
    assert (entry.asset, entry.tag, entry.act, entry.user) == (asset, sky, "reject", ann)
    assert (entry.origin, entry.job, entry.undoes) == ("admin", None, None)
    assert (entry.before_confidence, entry.before_decision) == (90, Decision.NONE)
    assert (entry.after_confidence, entry.after_decision) == (90, Decision.REJECTED)


def test_a_decision_that_stands_already_is_not_logged_again(
    asset: Asset, sky: Tag, ann: Any
) -> None:
    for _ in range(2):
        curation.accept(asset.pk, sky.pk, user=ann)
    assert TagDecision.objects.count() == 1
    curation.add(asset.pk, "sun", user=ann)
    curation.add(asset.pk, "sun", user=ann)
    curation.accept(asset.pk, Tag.objects.get(key="sun").pk, user=ann)
    assert TagDecision.objects.count() == 2


def test_a_changed_confidence_stays_and_what_the_tagger_said_comes_back(
    asset: Asset, sky: Tag, ann: Any
) -> None:
    row = curation.change(asset.pk, sky.pk, 40, user=ann)
    assert (row.confidence, row.tagger_confidence) == (40, 90)
    assert row.decision == Decision.ACCEPTED
    apply(asset, {"sky": 99})
    assert Asset.objects.search("sky<=40").exists()
    curation.change(asset.pk, sky.pk, 55, user=ann)
    assert AssetTag.objects.get().tagger_confidence == 90
    curation.withdraw(asset.pk, sky.pk, user=ann)
    row = AssetTag.objects.get()
    assert (row.confidence, row.tagger_confidence, row.decision) == (90, None, 0)
    with pytest.raises(CurationError, match="between 0 and 100"):
        curation.change(asset.pk, sky.pk, 101, user=ann)


def test_a_tag_given_by_hand_and_rejected_goes_when_that_is_withdrawn(asset: Asset) -> None:
    sun = curation.add(asset.pk, "sun", user=None).tag_id
    curation.reject(asset.pk, sun, user=None)
    assert curation.accept(asset.pk, sun, user=None).decision == Decision.ADDED
    curation.reject(asset.pk, sun, user=None)
    curation.withdraw(asset.pk, sun, user=None)
    assert not AssetTag.objects.exists()
    assert Tag.objects.get(pk=sun).asset_count == 0


def test_undoing_twice_is_undoing_once_and_undoing_that_decides_again(
    asset: Asset, sky: Tag, ann: Any
) -> None:
    before = rows(asset)
    curation.change(asset.pk, sky.pk, 40, user=ann)
    changed, decision = rows(asset), last()
    undone = curation.undo(decision.pk, user=ann)
    assert (undone.undoes, undone.act) == (decision, "undo")
    assert rows(asset) == before
    assert curation.undo(decision.pk, user=ann) == undone
    curation.undo(undone.pk, user=ann)
    assert rows(asset) == changed
    assert TagDecision.objects.count() == 3


def test_what_somebody_decided_since_has_to_be_undone_first(
    asset: Asset, sky: Tag, ann: Any
) -> None:
    bob = get_user_model().objects.create(username="bob")
    before = rows(asset)
    curation.accept(asset.pk, sky.pk, user=ann)
    first = last()
    curation.reject(asset.pk, sky.pk, user=bob)
    second = last()
    with pytest.raises(CurationError, match=r"bob decided .* on \d{4}-"):
        curation.undo(first.pk, user=ann)
    curation.undo(second.pk, user=ann)
    curation.undo(first.pk, user=ann)
    assert rows(asset) == before
    with pytest.raises(TagDecision.DoesNotExist):
        curation.undo(10**9, user=ann)


def test_a_tag_withdrawn_twice_is_not_brought_back_past_the_second_time(
    asset: Asset, sky: Tag
) -> None:
    withdrawn = []
    for _ in range(2):
        curation.accept(asset.pk, sky.pk, user=None)
        curation.withdraw(asset.pk, sky.pk, user=None)
        withdrawn.append(last().pk)
    with pytest.raises(CurationError, match="decided about this tag"):
        curation.undo(withdrawn[0], user=None)
    curation.undo(withdrawn[1], user=None)
    assert AssetTag.objects.get().decision == Decision.ACCEPTED


def test_what_cannot_be_decided_keeps_nothing_else_from_being_decided(
    asset: Asset, sky: Tag, ann: Any
) -> None:
    pairs = [(asset.pk, sky.pk), (asset.pk, 10**6), (10**9, sky.pk), (asset.pk, sky.pk)]
    found = curation.decide_many(Act.ACCEPT, pairs, user=ann, origin="job", job=7)
    assert [bool(outcome.error) for outcome in found] == [False, True, True, False]
    assert isinstance(found[2].error, Asset.DoesNotExist)
    assert found[0].decision_id == last().pk
    assert (last().origin, last().job_id) == ("job", 7)
    for too_large in (2**31, 2**63 - 1):
        (outcome,) = curation.decide_many(Act.ACCEPT, [(asset.pk, too_large)], user=ann)
        assert outcome.error
    (missing,) = curation.decide_many(Act.ADD, [(asset.pk, 10**6)], user=ann)
    assert "There is no tag" in str(missing.error)
    for act, confidence in ((Act.CHANGE, None), (Act.UNDO, None), (Act.ADD, -1)):
        with pytest.raises(CurationError):
            curation.decide_many(act, pairs, user=ann, confidence=confidence)


def test_as_many_statements_decide_of_many_assets_as_of_one(ann: Any) -> None:
    made = [registry.register(Source.handle(f"h{number}"))[0].pk for number in range(40)]
    (sun,) = tags.resolve(["sun"]).values()

    def statements(ids: list[int]) -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            curation.decide_many(Act.ADD, [(pk, sun) for pk in ids], user=ann)
            entries = TagDecision.objects.filter(asset__in=ids).values_list("pk", flat=True)
            outcomes = curation.undo_many([*entries], user=ann)
        assert not any(outcome.error for outcome in outcomes)
        return len(captured)

    assert statements(made[:1]) == statements(made[1:])
    assert Tag.objects.get(pk=sun).asset_count == 0


def test_many_decisions_about_one_tag_are_undone_from_the_last_to_the_first(
    asset: Asset, sky: Tag
) -> None:
    before = rows(asset)
    for decide in (curation.accept, curation.reject, curation.withdraw, curation.accept):
        decide(asset.pk, sky.pk, user=None)
    outcomes = curation.undo_many(TagDecision.objects.values_list("pk", flat=True), user=None)
    assert [outcome.error for outcome in outcomes] == [None] * 4
    assert rows(asset) == before


class UndoingEverything(TestCase):
    @examples(50)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["accept", "reject", "change", "add", "withdraw"]),
                st.sampled_from(["sky", "sea", "sun"]),
            ),
            max_size=8,
        )
    )
    def test_brings_back_what_was_before_anybody_decided(self, acts: list[Any]) -> None:
        asset = registry.register(Source.handle("h"))[0]
        apply(asset, {"sky": 90, "sea": 50})
        before, counts = rows(asset), dict(Tag.objects.values_list("key", "asset_count"))
        history = [before]
        for act, name in acts:
            (tag_id,) = tags.resolve([name]).values()
            (outcome,) = curation.decide_many(
                act, [(asset.pk, tag_id)], user=None, confidence=30
            )
            if outcome.decision_id:
                history.append(rows(asset))
            else:
                assert rows(asset) == history[-1]
        for pk in TagDecision.objects.order_by("-pk").values_list("pk", flat=True):
            assert rows(asset) == history.pop()
            curation.undo(pk, user=None)
        assert rows(asset) == before
        counted = Tag.objects.exclude(asset_count=0)
        assert dict(counted.values_list("key", "asset_count")) == {
            key: count for key, count in counts.items() if count
        }
