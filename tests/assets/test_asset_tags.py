"""A reply writes the rows that it changes in few statements, and no others."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import nullcontext
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from filestack_tags.assets import asset_tags, registry
from filestack_tags.models import Asset, AssetTag, Tag, TaggingRun
from filestack_tags.tagging import results
from tests import scripted

pytestmark = pytest.mark.django_db
TagsOf = Callable[[Asset], dict[str, int]]


def apply(asset: Asset, **scores: int) -> list[str]:
    """Apply a reply; return the statements that wrote asset tags."""
    run = TaggingRun.objects.create(asset=asset, tagger="t", trigger="code", content_version=1)
    with CaptureQueriesContext(connection) as captured:
        results.apply(run.pk, scripted.reply(scores), result_at=timezone.now())
    table = connection.ops.quote_name(AssetTag._meta.db_table)
    return [
        query["sql"]
        for query in captured.captured_queries
        if table in query["sql"] and not query["sql"].startswith("SELECT")
    ]


COPIES = connection.vendor == "postgresql"


def verbs(statements: list[str]) -> list[str]:
    return [statement.split()[0] for statement in statements]


def test_what_is_gained_and_what_moved_is_a_statement_each_at_most(
    asset: Asset, tags_of: TagsOf
) -> None:
    insert = "COPY" if COPIES else "INSERT"
    assert verbs(apply(asset, sky=90, sea=50)) == [insert]
    assert verbs(apply(asset, sky=80, sea=50, sun=70)) == [insert, "UPDATE"]
    assert verbs(apply(asset, sky=80, sea=60, sun=70)) == ["UPDATE"]
    assert verbs(apply(asset, sky=80, sea=60, sun=70)) == []
    assert tags_of(asset) == {"sky": 80, "sea": 60, "sun": 70}


def test_what_is_lost_is_one_statement_more(asset: Asset, tags_of: TagsOf) -> None:
    apply(asset, sky=90, sea=50)
    assert verbs(apply(asset, sun=70)) == ["DELETE", "COPY" if COPIES else "INSERT"]
    assert tags_of(asset) == {"sun": 70}


def test_a_row_that_did_not_change_keeps_the_run_that_wrote_it(asset: Asset) -> None:
    apply(asset, sky=90, sea=50)
    first = AssetTag.objects.get(tag__key="sea").run_id
    apply(asset, sky=80, sea=50)
    runs = dict(AssetTag.objects.values_list("tag__key", "run_id"))
    assert runs["sea"] == first
    assert runs["sky"] > first


def test_a_reply_may_hold_more_tags_than_one_statement(asset: Asset, tags_of: TagsOf) -> None:
    many = {f"tag{number}": number % 101 for number in range(201)}
    apply(asset, **many)
    assert tags_of(asset) == many
    less = {key: 100 - confidence for key, confidence in many.items()}
    apply(asset, **less)
    assert tags_of(asset) == less
    assert set(Tag.objects.values_list("asset_count", flat=True)) == {1}


def test_a_reply_for_an_archived_asset_is_kept_out_of_searches_and_counts(
    asset: Asset, tags_of: TagsOf
) -> None:
    apply(asset, sky=90)
    registry.archive(asset.pk)
    apply(asset, sky=80, sea=50)
    assert set(AssetTag.objects.values_list("score", flat=True)) == {-1}
    assert set(Tag.objects.values_list("asset_count", flat=True)) == {0}
    registry.restore(asset.pk)
    assert dict(AssetTag.objects.values_list("tag__key", "score")) == tags_of(asset)
    assert set(Tag.objects.values_list("asset_count", flat=True)) == {1}


def after_reading(change: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run ``change`` once the rows of the first attempt were read, and before they are read again:
    the failed attempt is rolled back, and the test's change with it.
    """
    read = asset_tags._rows_of
    attempts: list[Collection[int]] = []

    def rows_of(asset_ids: Collection[int]) -> Any:
        attempts.append(asset_ids)
        if len(attempts) > 1:
            change()
            return read(asset_ids)
        rows = read(asset_ids)
        change()
        return rows

    monkeypatch.setattr(asset_tags, "_rows_of", rows_of)


def test_a_row_that_was_written_meanwhile_without_the_lock_is_replaced(
    asset: Asset, tags_of: TagsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def insert_row() -> None:
        sky = Tag.objects.get(key="sky")
        AssetTag.objects.create(asset=asset, tag=sky, confidence=70, score=70)

    after_reading(insert_row, monkeypatch)
    apply(asset, sky=90, sea=50)
    assert tags_of(asset) == {"sky": 90, "sea": 50}
    assert TaggingRun.objects.get().state == TaggingRun.State.SUCCEEDED


def test_a_row_that_was_reviewed_meanwhile_without_the_lock_is_not_deleted(
    asset: Asset, tags_of: TagsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(asset, sky=90, sea=50)
    accepted = AssetTag.Decision.ACCEPTED
    sky = AssetTag.objects.filter(tag__key="sky")
    after_reading(lambda: sky.update(decision=accepted), monkeypatch)
    apply(asset, sun=70)
    assert tags_of(asset) == {"sky": 90, "sun": 70}
    assert sky.get().decision == accepted


def test_a_driver_that_cannot_copy_inserts(
    asset: Asset, tags_of: TagsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    if COPIES:  # elsewhere there may be no driver to patch
        monkeypatch.setattr("django.db.backends.postgresql.psycopg_any.is_psycopg3", False)
    assert verbs(apply(asset, sky=90, sea=50)) == ["INSERT"]
    assert verbs(apply(asset, sky=80, sun=50)) == ["DELETE", "INSERT", "UPDATE"]
    assert tags_of(asset) == {"sky": 80, "sun": 50}


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="only PostgreSQL defers checks")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("inside", [False, True])
def test_references_are_checked_early_and_a_callers_transaction_defers_as_before(
    asset: Asset, inside: bool
) -> None:
    run = TaggingRun.objects.create(asset=asset, tagger="t", trigger="code", content_version=1)
    callers = transaction.atomic() if inside else nullcontext()
    with CaptureQueriesContext(connection) as captured, callers:
        results.apply(run.pk, scripted.reply({"sky": 90}), result_at=timezone.now())
    told = [query["sql"] for query in captured.captured_queries]
    told = [statement.split()[-1] for statement in told if "CONSTRAINTS" in statement]
    assert told == (["IMMEDIATE", "DEFERRED"] if inside else ["IMMEDIATE"])
