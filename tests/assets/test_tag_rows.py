"""One statement writes the rows that a reply changes, and no others are written."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import nullcontext
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from filestack_tags import curation
from filestack_tags.assets import registry, tag_rows
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
    assert verbs(apply(asset, sky=90, sea=50)) == ["COPY" if COPIES else "INSERT"]
    written = verbs(apply(asset, sky=80, sea=50, sun=70))
    assert written == (["COPY", "INSERT"] if COPIES else ["INSERT"])
    assert verbs(apply(asset, sky=80, sea=60, sun=70)) == ["INSERT"]
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
    many = {f"tag{number}": number % 101 for number in range(2 * tag_rows.MAX_ROWS + 1)}
    apply(asset, **many)
    assert tags_of(asset) == many
    less = {key: 100 - confidence for key, confidence in many.items()}
    apply(asset, **less)
    assert tags_of(asset) == less
    assert set(Tag.objects.values_list("asset_count", flat=True)) == {1}


def test_a_reply_for_a_forgotten_asset_is_kept_out_of_searches_and_counts(
    asset: Asset, tags_of: TagsOf
) -> None:
    apply(asset, sky=90)
    registry.forget(asset.pk)
    apply(asset, sky=80, sea=50)
    assert set(AssetTag.objects.values_list("score", flat=True)) == {-1}
    assert set(Tag.objects.values_list("asset_count", flat=True)) == {0}
    registry.restore(asset.pk)
    assert dict(AssetTag.objects.values_list("tag__key", "score")) == tags_of(asset)
    assert set(Tag.objects.values_list("asset_count", flat=True)) == {1}


def test_a_driver_that_cannot_copy_inserts(
    asset: Asset, tags_of: TagsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    if COPIES:  # elsewhere there may be no driver to patch
        monkeypatch.setattr("django.db.backends.postgresql.psycopg_any.is_psycopg3", False)
    assert verbs(apply(asset, sky=90, sea=50)) == ["INSERT"]
    assert verbs(apply(asset, sky=80, sun=50)) == ["DELETE", "INSERT"]
    assert tags_of(asset) == {"sky": 80, "sun": 50}


def test_rows_that_a_host_wrote_without_a_lock_do_not_keep_a_reply_from_being_applied(
    asset: Asset, tags_of: TagsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(asset, sky=90, sea=50)
    present = tag_rows.present

    def nothing_yet(ids: Collection[int]) -> dict[int, dict[int, tag_rows.Held]]:
        monkeypatch.setattr(tag_rows, "present", present)
        return {pk: {} for pk in ids}

    monkeypatch.setattr(tag_rows, "present", nothing_yet)
    run = TaggingRun.objects.create(asset=asset, tagger="t", trigger="code", content_version=1)
    result = results.Result(run.pk, scripted.reply({"sky": 80, "sun": 70}), timezone.now())
    assert results.apply_all([result]) == ["succeeded"]
    assert tags_of(asset)["sky"] == 80
    assert tags_of(asset)["sun"] == 70


def test_nothing_to_write_asks_nothing(asset: Asset, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        tag_rows.write([], [])
        tag_rows.remove([])
        assert tag_rows.present([]) == {}


def test_a_decided_row_is_not_removed_even_if_it_is_passed(
    asset: Asset, tags_of: TagsOf
) -> None:
    apply(asset, sky=90, sea=50)
    ids = dict(Tag.objects.values_list("key", "id"))
    curation.accept(asset.pk, ids["sky"], user=None)
    tag_rows.remove([(asset.pk, tag_id) for tag_id in ids.values()])
    assert tags_of(asset) == {"sky": 90}


@pytest.mark.skipif(
    not connection.features.supports_update_conflicts_with_target,
    reason="MariaDB's ON DUPLICATE KEY UPDATE takes no condition; the asset's lock guards it",
)
def test_a_decided_row_is_left_alone_even_if_it_is_passed(asset: Asset) -> None:
    apply(asset, sky=90, sea=50)
    for key, decide in (("sky", curation.reject), ("sea", curation.accept)):
        decide(asset.pk, Tag.objects.get(key=key).pk, user=None)
    before = list(AssetTag.objects.order_by("tag").values())
    tag_rows.upsert([(asset.pk, row["tag_id"], 1, 1, 0, 1) for row in before])
    assert list(AssetTag.objects.order_by("tag").values()) == before


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
