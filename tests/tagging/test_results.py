"""Results applied together have the same effect as one by one."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from filestack_tags import curation
from filestack_tags.assets import registry, tags
from filestack_tags.exceptions import InvalidLabel
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, AssetTag, Tag, TaggingRun
from filestack_tags.signals import asset_tagged
from filestack_tags.tagging import results
from filestack_tags.tagging.results import Result
from tests import examples, scripted

State = TaggingRun.State
ASSETS = 3
START = timezone.now()
numbers = itertools.count()
labels = st.sampled_from(["sky", "Sky", "sea", "sun", "café", 'a "b" \\c', "{1,2}", "null"])
scores = st.dictionaries(labels, st.integers(0, 100), max_size=4)
runs = st.tuples(
    st.integers(0, ASSETS - 1),  # which asset
    st.integers(1, 3),  # the content version that its run describes
    st.integers(0, 5),  # seconds at which the result came
    st.builds(scripted.reply, scores, scores),
)


def new_asset() -> Asset:
    return registry.register(Source.handle(f"handle{next(numbers)}"))[0]


def new_run(asset: Asset, **columns: Any) -> TaggingRun:
    columns = {"content_version": 1} | columns
    return TaggingRun.objects.create(asset=asset, tagger="t", trigger="code", **columns)


def result(run: TaggingRun, seconds: float = 0, **tags: int) -> Result:
    return Result(run.pk, scripted.reply(tags), START + timedelta(seconds=seconds))


def states_of(results_to_apply: list[Result]) -> list[Any]:
    """Apply results; return the state of each run, or the error that kept it open."""
    outcomes = results.apply_all(results_to_apply)
    return [item if isinstance(item, Exception) else item.state for item in outcomes]


def rows_of(asset: Asset) -> set[tuple[Any, ...]]:
    columns = ("tag__key", "confidence", "score", "source", "decision")
    return set(AssetTag.objects.filter(asset=asset).values_list(*columns))


def true_counts() -> Counter[str]:
    shown = AssetTag.objects.filter(score__gte=0)
    return Counter(shown.values_list("tag__key", flat=True))


class Together(TestCase):
    """Any results, of any runs, on assets with some rows reviewed by users."""

    def library(self) -> list[Asset]:
        made = [new_asset() for _ in range(ASSETS)]
        Asset.objects.filter(pk__in=[asset.pk for asset in made]).update(content_version=3)
        for asset in made[1:]:
            for name, decide in (("sky", curation.reject), ("sea", curation.accept)):
                row = curation.add(asset.pk, name, user=None, confidence=55)
                decide(asset.pk, row.tag_id, user=None)
        registry.archive(made[2].pk)
        return made

    def given_results(self, library: list[Asset], told: list[Any]) -> list[Result]:
        return [
            Result(
                new_run(library[which], content_version=version).pk,
                reply,
                START + timedelta(seconds=moment),
            )
            for which, version, moment, reply in told
        ]

    @examples(60)
    @given(st.lists(st.lists(runs, min_size=1, max_size=8), min_size=1, max_size=3))
    def test_batches_come_to_what_their_results_do_newest_first(self, told: list[Any]) -> None:
        together, one_by_one = self.library(), self.library()
        for batch in told:
            # Which of two results of the same time wins is not defined.
            unique = list({item[:3]: item for item in batch}.values())
            shown = states_of(self.given_results(together, unique))
            order = sorted(range(len(unique)), key=lambda n: unique[n][1:3], reverse=True)
            singly = self.given_results(one_by_one, unique)
            states: dict[int, str] = {}
            for number in order:
                one = singly[number]
                states[number] = results.apply(
                    one.run_id, one.answer, result_at=one.result_at
                ).state
            assert shown == [states[number] for number in range(len(unique))]
            for a, b in zip(together, one_by_one, strict=True):
                assert rows_of(a) == rows_of(b)
                a.refresh_from_db()
                b.refresh_from_db()
                for name in ("tagging_state", "tags_version", "tags_at", "due_at", "attempts"):
                    assert getattr(a, name) == getattr(b, name)
            found = dict(
                Tag.objects.filter(asset_count__gt=0).values_list("key", "asset_count")
            )
            assert found == true_counts()

    @examples(60)
    @given(st.lists(runs, min_size=1, max_size=12))
    def test_a_batch_leaves_what_a_brute_force_model_says(self, told: list[Any]) -> None:
        library = self.library()
        decided = {asset.pk: {row for row in rows_of(asset) if row[4]} for asset in library}
        unique = list({item[:3]: item for item in told}.values())
        states = states_of(self.given_results(library, unique))
        for which, asset in enumerate(library):
            mine = [n for n, item in enumerate(unique) if item[0] == which]
            newest = max(mine, key=lambda n: unique[n][1:3], default=None)
            assert [states[n] for n in mine] == [
                State.SUCCEEDED if n == newest else State.SUPERSEDED for n in mine
            ]
            expected = decided[asset.pk]
            kept = {row[0] for row in expected}
            if newest is not None:
                best: dict[str, tuple[int, int]] = {}
                for score in unique[newest][3].scores:
                    key = score.name.casefold()
                    offer = (int(score.source == "user"), score.confidence)
                    best[key] = max(best.get(key, (-1, -1)), offer)
                expected = expected | {
                    (key, confidence, -1 if which == 2 else confidence, source, 0)
                    for key, (source, confidence) in best.items()
                    if key not in kept
                }
            assert rows_of(asset) == expected


@pytest.mark.django_db
class TestTogether:
    def test_many_results_take_as_many_statements_as_a_few(self) -> None:
        def statements(count: int) -> int:
            given = [result(new_run(new_asset()), sky=n, sea=9) for n in range(count)]
            with CaptureQueriesContext(connection) as captured:
                assert set(states_of(given)) == {State.SUCCEEDED}
            return len(captured)

        states_of([result(new_run(new_asset()), sky=1, sea=1)])  # creates the tags
        few, many = statements(2), statements(results.BATCH_SIZE)
        if connection.vendor == "postgresql":
            assert many == few
        else:  # a statement for each updated row, and 100 tag rows in one
            assert many <= few + 2 * (results.BATCH_SIZE - 2)

    def test_more_results_than_one_transaction_takes_are_all_applied(self) -> None:
        given = [result(new_run(new_asset()), sky=9) for _ in range(results.BATCH_SIZE + 1)]
        assert states_of(given) == [State.SUCCEEDED] * len(given)
        assert Tag.objects.get().asset_count == len(given)
        assert states_of([]) == []

    def test_one_run_given_twice_is_applied_once(self, asset: Asset, tags_of: Any) -> None:
        run = new_run(asset)
        given = [result(run, sky=9), result(run, sea=8)]
        assert states_of(given) == [State.SUCCEEDED] * 2
        assert tags_of(asset) == {"sky": 9}
        assert dict(Tag.objects.values_list("key", "asset_count")) == {"sky": 1, "sea": 0}

    def test_results_that_change_nothing_write_no_row(self) -> None:
        made = [new_asset() for _ in range(3)]
        states_of([result(new_run(asset), sky=9, sea=8) for asset in made])
        again = [result(new_run(asset), 1, sea=8, sky=9) for asset in made]
        with CaptureQueriesContext(connection) as captured:
            states_of(again)
        written = [
            query["sql"]
            for query in captured.captured_queries
            if not query["sql"].startswith("SELECT") and "assettag" in query["sql"]
        ]
        assert written == []

    def test_a_run_that_is_at_work_keeps_its_asset_running(self) -> None:
        busy, rested = new_asset(), new_asset()
        Asset.objects.update(tagging_state=Asset.State.RUNNING, due_at=timezone.now())
        given = [result(new_run(asset), sky=9) for asset in (busy, rested, rested)]
        other = new_run(busy)
        states_of(given)
        states = dict(Asset.objects.values_list("pk", "tagging_state"))
        assert states == {busy.pk: Asset.State.RUNNING, rested.pk: Asset.State.TAGGED}
        states_of([result(other, sky=9)])
        busy.refresh_from_db()
        assert busy.tagging_state == Asset.State.TAGGED

    @pytest.mark.parametrize("code", sorted(results.GIVEN_UP))
    def test_a_run_that_was_given_up_is_used_and_a_failed_one_is_not(self, code: str) -> None:
        abandoned = new_run(new_asset(), state=State.FAILED, error_code=code)
        failed = new_run(new_asset(), state=State.FAILED, error_code="timeout")
        given = [result(abandoned, sky=9), result(failed, sky=9)]
        assert states_of(given) == [State.SUCCEEDED, State.FAILED]
        abandoned.refresh_from_db()
        assert (abandoned.error_code, abandoned.result_at) == ("", START)
        assert Tag.objects.get().asset_count == 1

    def test_without_rules_each_asset_is_announced_once_with_the_run_it_shows(
        self, asset: Asset, django_capture_on_commit_callbacks: Any
    ) -> None:
        heard: list[Any] = []

        def hear(asset: Asset, run: TaggingRun, **kwargs: Any) -> None:
            heard.append((asset.current_run_id, run.pk, asset.tagging_state))

        older, newer, other = new_run(asset), new_run(asset), new_run(new_asset())
        asset_tagged.connect(hear)
        try:
            with django_capture_on_commit_callbacks(execute=True):
                states_of([result(older, sky=1), result(newer, 1, sky=2), result(other, sky=3)])
                assert heard == []
        finally:
            asset_tagged.disconnect(hear)
        assert sorted(heard) == [(run.pk, run.pk, "tagged") for run in (newer, other)]


@pytest.mark.django_db
class TestBadResults:
    @pytest.mark.parametrize(
        ("wrong", "error"),
        [
            ({"sky\x00": 9}, InvalidLabel),
            ({"sky": 101}, Exception),  # the database's own: no confidence is above 100
        ],
    )
    def test_one_keeps_no_other_from_being_applied(
        self, wrong: dict[str, int], error: type[Exception]
    ) -> None:
        made = [new_run(new_asset()) for _ in range(5)]
        given = [result(run, sky=9, sea=8) for run in made]
        given[2] = Result(made[2].pk, scripted.reply(wrong), START)
        states = states_of(given)
        assert isinstance(states[2], error)
        assert [*states[:2], *states[3:]] == [State.SUCCEEDED] * 4
        made[2].refresh_from_db()
        assert made[2].state == State.STARTED
        assert true_counts() == {"sky": 4, "sea": 4}
        assert dict(Tag.objects.values_list("key", "asset_count")) == {"sky": 4, "sea": 4}

    def test_a_run_that_is_gone_is_told_apart(self) -> None:
        run = new_run(new_asset())
        gone, applied = states_of([Result(0, scripted.reply({}), START), result(run)])
        assert isinstance(gone, TaggingRun.DoesNotExist)
        assert applied == State.SUCCEEDED
        with pytest.raises(TaggingRun.DoesNotExist, match="no run 0"):
            results.apply(0, scripted.reply({}), result_at=START)

    @pytest.fixture
    def _gone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Delete a tag just after it was looked up."""
        real = tags.resolve

        def resolve(names: Any) -> dict[str, int]:
            ids = real(names)
            Tag.objects.filter(key="gone").delete()
            return ids

        monkeypatch.setattr(tags, "resolve", resolve)

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.usefixtures("_gone")
    def test_a_tag_that_went_meanwhile_fails_its_own_result_only(self) -> None:
        before, gone, after = self.apply_around_gone()
        assert isinstance(gone, IntegrityError)
        assert (before, after) == (State.SUCCEEDED, State.SUCCEEDED)

    @pytest.mark.skipif(
        connection.vendor == "sqlite", reason="SQLite finds it when the transaction commits"
    )
    @pytest.mark.usefixtures("_gone")
    def test_it_does_so_inside_a_transaction_of_the_caller_too(self) -> None:
        before, gone, after = self.apply_around_gone()
        assert isinstance(gone, IntegrityError)
        assert (before, after) == (State.SUCCEEDED, State.SUCCEEDED)

    def apply_around_gone(self) -> list[Any]:
        given = [result(new_run(new_asset()), **{name: 9}) for name in ("sky", "gone", "sea")]
        return states_of(given)

    def test_a_deadlock_is_for_the_caller_to_try_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def deadlock(counts: Any) -> None:
            raise OperationalError("deadlock")

        given = [result(new_run(new_asset()), sky=9) for _ in range(3)]
        with monkeypatch.context() as patch:
            patch.setattr(tags, "adjust_counts", deadlock)
            with pytest.raises(OperationalError):
                states_of(given)
        assert not AssetTag.objects.exists()
        assert states_of(given) == [State.SUCCEEDED] * 3
