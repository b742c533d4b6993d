"""Merge two tags, stop anywhere in between, and undo it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from filestack_tags import curation, tasks
from filestack_tags.assets import registry, tags
from filestack_tags.curation import merging
from filestack_tags.curation.merging import batches
from filestack_tags.exceptions import CurationError
from filestack_tags.filestack.sources import Source
from filestack_tags.models import (
    Asset,
    AssetTag,
    Tag,
    TagAlias,
    TagDecision,
    TaggingRun,
    TagMerge,
    score_of,
)
from filestack_tags.tagging import results
from tests import examples, scripted

Decision = AssetTag.Decision
COLUMNS = (
    *("confidence", "source", "decision", "decided_by_id", "decided_at", "run_id"),
    "tagger_confidence",
)


def tag(key: str) -> Tag:
    return Tag.objects.get_or_create(key=key, defaults={"name": key.title()})[0]


def asset(number: int = 0) -> Asset:
    return registry.register(Source.handle(f"h{number}"))[0]


def apply(to: Asset, said: dict[str, int]) -> None:
    run = TaggingRun.objects.create(asset=to, tagger="t", trigger="code", content_version=1)
    results.apply(run.pk, scripted.reply(said), result_at=timezone.now())


def rows() -> dict[tuple[int, str], tuple[Any, ...]]:
    found = AssetTag.objects.values_list("asset_id", "tag__key", "score", *COLUMNS)
    return {(pk, key): tuple(rest) for pk, key, *rest in found}


def counts() -> dict[str, int]:
    return dict(Tag.objects.values_list("key", "asset_count"))


def decisions() -> dict[str, tuple[int, int]]:
    found = AssetTag.objects.values_list("tag__key", "confidence", "decision")
    return {key: (confidence, decision) for key, confidence, decision in found}


def merge(source: Tag, target: Tag) -> TagMerge:
    begun = merging.start(source.pk, target.pk, user=None)
    assert merging.work(begun.pk)
    begun.refresh_from_db()
    return begun


def undo(merged: TagMerge) -> None:
    merging.undo(merged.pk, user=None)
    assert merging.work(merged.pk)
    merged.refresh_from_db()
    assert (merged.state, merged.done) == (TagMerge.State.UNDONE, 0)
    assert not merged.rows.exists()


def counted_rightly() -> None:
    for each in Tag.objects.all():
        assert each.asset_count == each.asset_tags.filter(score__gte=0).count(), each.key


@pytest.mark.django_db
class TestAMerge:
    def test_keeps_all_six_files_of_four_and_three_with_one_in_common(self) -> None:
        """django-taggit 6.1's admin would keep only three of them."""
        for number in range(4):
            apply(asset(number), {"cat": 90})
        for number in range(3, 6):
            apply(asset(number), {"cats": 95} | ({"cat": 90} if number == 3 else {}))
        merged = merge(tag("cats"), tag("cat"))
        assert (merged.assets, merged.done, merged.both) == (3, 3, 1)
        assert Asset.objects.search("cat").count() == Asset.objects.search("cats").count() == 6
        assert Asset.objects.search("cat>=95").count() == 3
        assert counts() == {"cat": 6}

    def test_says_of_a_decision_about_the_tag_that_went_why_it_cannot_be_undone(self) -> None:
        one = asset()
        curation.add(one.pk, "cats", user=None)
        curation.withdraw(one.pk, tag("cats").pk, user=None)
        withdrawn = TagDecision.objects.latest("pk")
        merged = merge(tag("cats"), tag("cat"))
        with pytest.raises(CurationError, match="merged"):
            curation.undo(withdrawn.pk, user=None)
        undo(merged)
        curation.undo(withdrawn.pk, user=None)
        assert decisions() == {"cats": (100, Decision.ADDED)}

    @pytest.mark.parametrize("key", ["cat", "cats"])
    def test_leaves_a_confidence_that_a_person_set_and_what_the_tagger_said(
        self, key: str
    ) -> None:
        one = asset()
        apply(one, {"cat": 70, "cats": 90})
        curation.change(one.pk, tag(key).pk, 50, user=None)
        before = rows()
        merged = merge(tag("cats"), tag("cat"))
        assert decisions() == {"cat": (50, Decision.ACCEPTED)}
        undo(merged)
        assert rows() == before

    @pytest.mark.parametrize(
        ("source", "target", "kept"),
        [
            ("reject", None, Decision.REJECTED),
            (None, "accept", Decision.ACCEPTED),
            ("accept", "reject", Decision.REJECTED),
            ("reject", "accept", Decision.ACCEPTED),
        ],
    )
    def test_keeps_the_newer_decision_and_counts_conflicts(
        self, source: str | None, target: str | None, kept: int
    ) -> None:
        one = asset()
        apply(one, {"cat": 40, "cats": 70})
        for act, key in ((source, "cats"), (target, "cat")):
            if act:
                getattr(curation, act)(one.pk, tag(key).pk, user=None)
        expected = merging.preview(tag("cats").pk, tag("cat").pk)
        merged = merge(tag("cats"), tag("cat"))
        assert decisions() == {"cat": (70, kept)}
        assert merged.conflicts == expected.conflicts == int(bool(source and target))
        counted_rightly()

    def test_leads_later_replies_and_the_sources_aliases_to_the_target(self) -> None:
        curation.add_alias(tag("cats").pk, "kitties")
        merge(tag("cats"), tag("cat"))
        apply(asset(), {"kitties": 60, "cats": 80})
        assert decisions() == {"cat": (80, 0)}
        assert set(TagAlias.objects.values_list("key", flat=True)) == {"cats", "kitties"}

    def test_reaches_archived_assets_and_counts_only_present_ones(self) -> None:
        one = asset()
        apply(one, {"cats": 80})
        registry.archive(one.pk)
        merge(tag("cats"), tag("cat"))
        assert (rows()[one.pk, "cat"][0], counts()) == (-1, {"cat": 0})
        registry.restore(one.pk)
        assert counts() == {"cat": 1}

    def test_has_the_label_reach_the_target_before_the_first_batch(self) -> None:
        apply(asset(0), {"cats": 80})
        begun = merging.start(tag("cats").pk, tag("cat").pk, user=None)
        apply(asset(1), {"cats": 70})
        assert Tag.objects.get(key="cat").asset_count == 1
        assert Asset.objects.search("cats").count() == 2
        for forbidden in (
            lambda: curation.rename(tag("cats").pk, "x"),
            lambda: curation.hide(tag("cats").pk),
            lambda: curation.rename(tag("cat").pk, "cats"),
            lambda: curation.remove_alias(TagAlias.objects.get().pk),
            lambda: merging.start(tag("cat").pk, tag("dog").pk, user=None),
            lambda: merging.start(tag("cats").pk, tag("dog").pk, user=None),
        ):
            with pytest.raises(CurationError, match="merge"):
                forbidden()
        assert merging.work(begun.pk)
        assert counts() == {"cat": 2, "dog": 0}

    def test_goes_on_from_where_its_process_died(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(batches, "batch_size", lambda: 2)
        for number in range(7):
            apply(asset(number), {"cats": 80} | ({"cat": 50} if number % 2 else {}))
        begun = merging.start(tag("cats").pk, tag("cat").pk, user=None)
        real = batches._record

        def dying(merge: TagMerge, **said: Any) -> TagMerge:
            saved = real(merge, **said)
            if said.get("done"):
                raise KeyboardInterrupt
            return saved

        with monkeypatch.context() as patch:
            patch.setattr(batches, "_record", dying)
            with pytest.raises(KeyboardInterrupt):
                merging.work(begun.pk)
        counted_rightly()
        assert not TagMerge.objects.due()  # its lease has not ended
        TagMerge.objects.update(due_at=timezone.now())
        assert not merging.work(begun.pk, is_stopped=lambda: True)
        begun.refresh_from_db()
        assert (begun.done, begun.state) == (2, TagMerge.State.MERGING)
        counted_rightly()
        late = asset(0)
        AssetTag.objects.create(asset=late, tag=tag("cats"), confidence=99, score=99)
        tags.adjust_counts({tag("cats").pk: 1})
        assert list(TagMerge.objects.due()) == [begun]
        tasks.merge_tags(begun.pk)
        begun.refresh_from_db()
        assert (begun.done, begun.both, begun.state) == (7, 3, TagMerge.State.MERGED)
        assert begun.due_at is None
        assert counts() == {"cat": 7}
        assert rows()[late.pk, "cat"][0] == 99

    def test_stops_with_the_error_that_each_attempt_meets(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        apply(asset(), {"cats": 80})
        begun = merging.start(tag("cats").pk, tag("cat").pk, user=None)

        def fail(merge: TagMerge, **said: Any) -> TagMerge:
            raise OperationalError("disk full: /var/secret")

        with monkeypatch.context() as patch:
            patch.setattr(batches, "_record", fail)
            for _ in range(batches.MAX_ATTEMPTS):
                TagMerge.objects.update(due_at=timezone.now())
                with pytest.raises(OperationalError):
                    merging.work(begun.pk)
        assert tasks.sweep() == {}
        TagMerge.objects.update(due_at=timezone.now())
        assert tasks.sweep() == {"tag_merges": 1}  # its lease ended
        assert merging.work(begun.pk)
        begun.refresh_from_db()
        assert (begun.is_at_work, begun.error_code) == (False, "OperationalError")
        assert begun.error.startswith("The last attempt failed with a database error, Operat")
        begun = merging.start(tag("cats").pk, tag("cat").pk, user=None)
        assert merging.work(begun.pk)
        begun.refresh_from_db()
        assert (begun.state, begun.error) == (TagMerge.State.MERGED, "")

    def test_can_be_undone_while_it_is_at_work(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(batches, "batch_size", lambda: 2)
        for number in range(5):
            apply(asset(number), {"cats": 80})
        before = rows()
        begun = merging.start(tag("cats").pk, tag("cat").pk, user=None)
        assert not merging.work(begun.pk, is_stopped=lambda: True)
        undo(begun)
        assert (rows(), counts()) == (before, {"cats": 5, "cat": 0})

    @pytest.mark.parametrize("same", [True, False])
    def test_of_what_cannot_be_merged_is_refused(self, same: bool) -> None:
        other = tag("cat").pk if same else 999_999
        for ask in (
            lambda: merging.preview(tag("cat").pk, other),
            lambda: merging.start(tag("cat").pk, other, user=None),
        ):
            with pytest.raises(CurationError):
                ask()


@pytest.mark.django_db
class TestUndoing:
    def test_brings_back_name_id_settings_and_aliases(self) -> None:
        cats = tag("cats")
        apply(asset(), {"cats": 80})
        curation.add_alias(cats.pk, "kitties")
        curation.set_minimum(cats.pk, 55)
        merged = merge(cats, tag("cat"))
        assert not Tag.objects.filter(key="cats").exists()
        undo(merged)
        back = Tag.objects.get(key="cats")
        assert (back.pk, back.min_confidence, back.asset_count) == (cats.pk, 55, 1)
        assert list(back.aliases.values_list("key", flat=True)) == ["kitties"]
        assert TagAlias.objects.count() == 1

    def test_leaves_what_a_person_decided_since(self) -> None:
        alone, both = asset(0), asset(1)
        apply(alone, {"cats": 80})
        apply(both, {"cats": 80, "cat": 60})
        merged = merge(tag("cats"), tag("cat"))
        for each in (alone, both):
            curation.reject(each.pk, tag("cat").pk, user=None)
        undo(merged)
        found = {place: (said[1], said[3]) for place, said in rows().items()}
        assert found == {
            (alone.pk, "cats"): (80, Decision.REJECTED),
            (both.pk, "cats"): (80, Decision.NONE),
            (both.pk, "cat"): (80, Decision.REJECTED),
        }
        counted_rightly()

    def test_brings_no_older_result_back_over_a_newer_one(self) -> None:
        one, two = asset(0), asset(1)
        apply(one, {"cats": 80})
        apply(two, {"cats": 80, "cat": 60})
        merged = merge(tag("cats"), tag("cat"))
        apply(one, {"cats": 30})
        apply(two, {"dog": 90})
        undo(merged)
        assert decisions() == {"cats": (30, 0), "dog": (90, 0)}
        counted_rightly()

    def test_outlives_who_decided(self) -> None:
        ann = get_user_model().objects.create(username="ann")
        apply(asset(), {"cats": 80, "cat": 60})
        curation.accept(asset().pk, tag("cats").pk, user=ann)
        merged = merge(tag("cats"), tag("cat"))
        ann.delete()
        undo(merged)
        assert decisions()["cats"] == (80, Decision.ACCEPTED)

    def test_goes_from_the_last_merge_to_the_first(self) -> None:
        apply(asset(0), {"a": 80, "b": 70})
        before = rows()
        first, second = merge(tag("a"), tag("b")), merge(tag("b"), tag("c"))
        with pytest.raises(CurationError, match="b → C must be undone first"):
            merging.undo(first.pk, user=None)
        undo(second)
        undo(first)
        assert rows() == before

    def test_needs_the_name_to_be_free(self) -> None:
        merged = merge(tag("cats"), tag("cat"))
        curation.rename(tag("cat").pk, "cats")
        with pytest.raises(CurationError, match="rename that one first"):
            merging.undo(merged.pk, user=None)


row = st.none() | st.tuples(st.integers(0, 100), st.integers(0, 1), st.integers(0, 3))
worlds = st.lists(st.tuples(row, row, st.booleans()), max_size=6)


class MergeProperties(TestCase):
    @examples(60)
    @given(worlds)
    def test_any_rows_are_merged_rightly_and_undoing_restores_them(self, world: Any) -> None:
        source, target = tag("source"), tag("target")
        start = timezone.now()
        for number, (one, two, is_archived) in enumerate(world):
            of = asset(number)
            if is_archived:
                registry.archive(of.pk)
            for which, said in ((source, one), (target, two)):
                if said is None:
                    continue
                confidence, origin, decision = said
                AssetTag.objects.create(
                    asset=of,
                    tag=which,
                    confidence=confidence,
                    source=origin,
                    decision=decision,
                    decided_at=start + timedelta(seconds=confidence) if decision else None,
                    score=score_of(confidence, decision, archived=is_archived),
                )
        for each in (source, target):
            count = each.asset_tags.filter(score__gte=0).count()
            Tag.objects.filter(pk=each.pk).update(asset_count=count)
        before, counted = rows(), counts()
        expected = merging.preview(source.pk, target.pk)
        merged = merge(source, target)
        assert (merged.done, merged.both, merged.conflicts) == (
            expected.assets,
            expected.both,
            expected.conflicts,
        )
        after = rows()
        have_one = {pk for pk, _ in before}
        assert after.keys() == {(pk, "target") for pk in have_one}
        for pk in have_one:
            were = [before[pk, key] for key in ("source", "target") if (pk, key) in before]
            now = after[pk, "target"]
            assert now[1] == max(were_[1] for were_ in were)
            decided = sorted((w for w in were if w[3]), key=lambda w: w[5])
            assert now[3] in ({w[3] for w in decided[-1:]} or {0})
        counted_rightly()
        undo(merged)
        assert rows() == before
        assert counts() == counted
