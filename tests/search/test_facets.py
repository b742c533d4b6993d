"""Facets equal a manual count if they are exact, and are flagged otherwise."""

from __future__ import annotations

from collections import Counter

import pytest
from django.db import connection, transaction
from django.db.models import Count, Q
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from filestack_tags.db.text import label_key
from filestack_tags.exceptions import SearchError
from filestack_tags.models import Asset, AssetTag, Tag, TagStatistic
from filestack_tags.search import Search, statistics
from filestack_tags.search import facets as module
from filestack_tags.search.facets import HASHES, Facets
from filestack_tags.search.language.tree import HasTag
from filestack_tags.search.totals import Total

from .test_matching import an_asset, package
from .test_oracle import (
    BERLIN,
    MANY_WORLDS,
    is_withheld,
    matches,
    row_matches,
    searches,
    store,
    worlds,
    wrong_statistics,
)

pytestmark = pytest.mark.django_db


def names(found: Facets) -> list[tuple[str, int]]:
    return [(facet.name, facet.count) for facet in found.tags]


def count_up() -> None:
    """Store the number of assets with each tag, as the services do."""
    shown = Count("asset_tags", filter=Q(asset_tags__score__gte=0))
    for pk, count in Tag.objects.annotate(shown=shown).values_list("pk", "shown"):
        Tag.objects.filter(pk=pk).update(asset_count=count)


@MANY_WORLDS
@given(data=st.data())
def test_totals_facets_and_histograms_equal_a_count_by_hand(data):
    world = data.draw(worlds(), label="world")
    package = world.package
    with (
        transaction.atomic(),
        timezone.override(BERLIN),
        override_settings(FILESTACK_TAGS=package),
    ):
        store(world)
        count_up()
        wrong_statistics(data)
        tags = [Tag.objects.get(key=label_key(tag.name)) for tag in world.tags]
        for _ in range(8):
            query = data.draw(searches(world), label="query")
            found = [
                asset
                for asset in world.assets
                if not asset.deleted and matches(world, query, query.where, asset)
            ]
            counts = Counter(
                tags[row.tag].pk
                for asset in found
                for row in asset.rows
                if row_matches(world, query, HasTag(), row)
            )
            counted = Search(query, include_hidden=True).facets()
            assert {each.tag_id: each.count for each in counted.tags} == counts, str(query)
            order = [(-each.count, each.tag_id) for each in counted.tags]
            assert order == sorted(order)
            assert not counted.is_approximate
            if counted.matches is not None:
                assert counted.matches == counted.sample_size == len(found), str(query)
            else:
                assert str(query) in ("", "include:hidden")

            assert Search(query, include_hidden=True).total() == Total(
                len(found), is_exact=True
            )
            cap = data.draw(st.integers(1, 3), label="cap")
            capped = Search(query, include_hidden=True).total(cap=cap)
            assert capped.count == len(found) if capped.is_exact else capped.count == cap
            assert capped.is_exact or len(found) > cap

            for number, tag in enumerate(tags):
                scores = Counter(
                    row.confidence
                    for asset in found
                    for row in asset.rows
                    if row.tag == number
                    and row.decision != 2
                    and not is_withheld(world, query, row)
                )
                if tag.hidden and not query.include_hidden:
                    scores = Counter()
                assert Search(query, include_hidden=True).histogram(tag.pk) == scores, str(
                    query
                )
        transaction.set_rollback(True)


@pytest.fixture
def shoot() -> list[int]:
    """Sixty assets with tags that depend on their number; returns those that have sky."""
    assets = Asset.objects.bulk_create(
        Asset(kind="handle", reference=f"a{number}", digest=f"a{number}")
        for number in range(60)
    )
    ids = [Asset.objects.get(digest=asset.digest).pk for asset in assets]
    every = {"sky": 1, "sea": 2, "sand": 3, "sun": 5, "surf": 30}
    Tag.objects.bulk_create(Tag(key=name, name=name.title()) for name in every)
    AssetTag.objects.bulk_create(
        AssetTag(asset_id=pk, tag=Tag.objects.get(key=name), confidence=90, score=90)
        for name, step in every.items()
        for pk in ids[::step]
    )
    count_up()
    return ids


def hashed(pk: int) -> int:
    return (pk % 2**31 * 2654435761) % HASHES


def test_a_large_result_is_sampled_by_a_hash_and_scaled_up(shoot, monkeypatch):
    monkeypatch.setattr(module, "EXACT", 5)
    ordered = sorted(shoot, key=hashed)
    found = Search("sky").facets(sample=20)
    assert found.is_approximate
    assert found.sample_size == 20
    assert found.matches == round(20 * HASHES / hashed(ordered[20]))
    for facet in found.tags:
        sampled = AssetTag.objects.filter(tag=facet.tag_id, asset__in=ordered[:20]).count()
        assert facet.count == round(sampled * found.matches / 20)
    assert names(found)[0] == ("Sky", found.matches)


def test_the_number_of_matches_is_estimated_well(shoot, monkeypatch):
    monkeypatch.setattr(module, "EXACT", 5)
    assert 50 <= Search("sky").facets(sample=30).matches <= 72


def test_a_small_sample_of_a_small_result_gives_way_to_all_of_it(shoot):
    found = Search("sky").facets(sample=3)
    assert not found.is_approximate
    assert found.sample_size == found.matches == 60
    assert names(found) == [
        ("Sky", 60), ("Sea", 30), ("Sand", 20), ("Sun", 12), ("Surf", 2)
    ]  # fmt: skip


def test_a_sample_smaller_than_what_is_counted_in_full_is_kept_to(shoot, monkeypatch):
    monkeypatch.setattr(module, "EXACT", 40)
    found = Search("sky").facets(sample=10)
    ordered = sorted(shoot, key=hashed)
    assert (found.is_approximate, found.sample_size) == (True, 10)
    assert found.matches == round(40 * HASHES / hashed(ordered[40]))
    assert names(found)[0] == ("Sky", found.matches)
    assert names(Search("sky").facets(sample=60))[0] == ("Sky", 60)


def statistics_say(count: int) -> None:
    for tag in Tag.objects.all():
        TagStatistic.objects.create(tag=tag, score=90, assets=count)


@pytest.mark.parametrize("query", ["sky", "sky sea", "sky OR sea", "sky -surf"])
def test_statistics_that_promise_too_much_cost_a_query_and_change_nothing(
    shoot, monkeypatch, query
):
    monkeypatch.setattr(module, "EXACT", 5)
    with monkeypatch.context() as all_are_looked_at:
        all_are_looked_at.setattr(module, "_SPARE", 1000)
        expected = Search(query).facets(sample=20)
    Asset.objects.filter(pk=shoot[-1]).update(size=1)
    statistics_say(100_000)
    with CaptureQueriesContext(connection) as queries:
        assert Search(query).facets(sample=20) == expected
    tagged = [each for each in queries if "WITH s AS" in each["sql"]]
    assert len(tagged) == 2


def test_good_statistics_leave_out_most_assets_before_anything_is_asked(shoot, monkeypatch):
    monkeypatch.setattr(module, "EXACT", 2)
    expected = Search("sky").facets(sample=2)
    statistics_say(60)
    with CaptureQueriesContext(connection) as queries:
        assert Search("sky").facets(sample=2) == expected
    tagged = [each["sql"] for each in queries if "WITH s AS" in each["sql"]]
    if connection.vendor == "postgresql":
        # Ids that begin late are sparse, so that the windows may contain too few.
        assert "generate_series" in tagged[0]
    else:
        assert len(tagged) == 1
        assert f"< {round(HASHES * 4 / 60)}" in tagged[0]


def test_a_sample_speaks_for_a_large_library(monkeypatch):
    """For both ways of sampling: by hash, or on PostgreSQL in windows of ids."""
    monkeypatch.setattr(module, "EXACT", 200)
    package_of = {pk: Asset(pk=pk, kind="handle", reference=f"{pk}") for pk in range(1, 3001)}
    for pk, asset in package_of.items():
        asset.digest = f"{pk:064}"
    Asset.objects.bulk_create(package_of.values())
    shares = {"sky": 1, "sea": 2, "sun": 4, "surf": 10}
    tags = Tag.objects.bulk_create(Tag(key=name, name=name) for name in shares)
    ids = dict(Tag.objects.values_list("key", "pk"))
    AssetTag.objects.bulk_create(
        # Albums of ten: neighbours are alike.
        AssetTag(asset_id=pk, tag_id=ids[tag.key], confidence=90, score=90)
        for tag in tags
        for pk in package_of
        if pk // 10 % shares[tag.key] == 0
    )
    count_up()
    statistics.refresh()
    with CaptureQueriesContext(connection) as queries:
        found = Search("sky").facets(sample=200)
    assert len([each for each in queries if "WITH s AS" in each["sql"]]) == 1
    assert (found.is_approximate, found.sample_size) == (True, 200)
    assert 2600 <= found.matches <= 3400
    counts = dict(names(found))
    assert list(counts) == ["sky", "sea", "sun", "surf"]
    for name, every in shares.items():
        assert abs(counts[name] - found.matches / every) < 0.1 * found.matches


def test_facets_ask_one_query_besides_the_plan(shoot):
    search = Search("sky sea")
    search.plan()
    with CaptureQueriesContext(connection) as queries:
        search.facets()
        search.histogram(1)
    assert len(queries) == 2


def test_few_matches_of_a_search_without_a_tag_are_counted_once(monkeypatch):
    monkeypatch.setattr(module, "EXACT", 5)
    for number in range(12):
        an_asset(f"r{number}", tags={"sky": 90}, width=number // 11)
    an_asset("last", pk=1_000_000)
    with CaptureQueriesContext(connection) as queries:
        found = Search("width:1").facets(sample=5)
    assert (names(found), found.is_approximate) == ([("sky", 1)], False)
    assert len([each for each in queries if "WITH s AS" in each["sql"]]) == 1
    found = Search("width:0").facets(sample=5)
    assert (found.is_approximate, found.sample_size) == (True, 5)
    assert found.tags[0].name == "sky"


@pytest.mark.parametrize(
    ("sample", "is_approximate", "counted"), [(7, True, 7), (11, False, 11), (20, False, 11)]
)
def test_matches_of_a_search_without_a_tag_are_counted_up_to_the_sample(
    monkeypatch, sample, is_approximate, counted
):
    monkeypatch.setattr(module, "EXACT", 5)
    for number in range(11):
        an_asset(f"r{number}", tags={"sky": 90}, width=0)
    an_asset("last", pk=1_000_000)
    found = Search("width:0").facets(sample=sample)
    assert (found.is_approximate, found.sample_size) == (is_approximate, counted)
    if not is_approximate:
        assert (names(found), found.matches) == ([("sky", 11)], 11)


def test_facets_without_a_search_take_the_counts_that_are_kept(shoot):
    Tag.objects.filter(key="sea").update(asset_count=99)
    Tag.objects.filter(key="sun").update(hidden=True)
    Tag.objects.filter(key="sand").update(min_confidence=95)
    with CaptureQueriesContext(connection) as queries:
        found = Search().facets(limit=2)
    assert names(found) == [("Sea", 99), ("Sky", 60)]
    assert (found.is_approximate, found.sample_size, found.matches) == (False, 0, None)
    assert len(queries) == 1
    assert names(Search().facets())[2:] == [("Surf", 2)]


def test_facets_without_a_search_regard_a_global_threshold():
    an_asset("a", tags={"sky": 90, "sea": 40})
    an_asset("b", tags={"sea": {"confidence": 40, "decision": 1}})
    count_up()
    with package(MIN_CONFIDENCE=50):
        assert names(Search().facets()) == [("sky", 1), ("sea", 1)]


def test_a_result_without_tags_has_no_facets_but_matches():
    an_asset("a")
    an_asset("b", tags={"sky": 90})
    assert Search("untagged").facets() == Facets(
        (), is_approximate=False, sample_size=1, matches=1
    )
    assert Search("sea").facets() == Facets((), is_approximate=False, sample_size=0, matches=0)
    assert Search("width:>=1").facets() == Facets(
        (), is_approximate=False, sample_size=0, matches=0
    )


def test_an_empty_library_has_no_facets():
    assert Search().facets() == Facets((), is_approximate=False, sample_size=0, matches=None)
    assert Search("tagged").facets().matches == 0


def test_hidden_tags_are_among_the_facets_only_where_the_search_includes_them():
    an_asset("a", tags={"sky": 90, "secret": 80})
    Tag.objects.filter(key="secret").update(hidden=True)
    secret = Tag.objects.get(key="secret").pk
    assert names(Search("sky", include_hidden=True).facets()) == [("sky", 1)]
    assert Search(include_hidden=True).histogram(secret) == {}
    asked = "sky include:hidden"
    assert names(Search(asked, include_hidden=True).facets()) == [("sky", 1), ("secret", 1)]
    assert Search(asked, include_hidden=True).histogram(secret) == {80: 1}
    with pytest.raises(SearchError):
        Search(asked)


def test_a_histogram_reaches_below_the_threshold_and_leaves_out_what_was_rejected():
    an_asset("a", tags={"sky": 90, "sea": 60})
    an_asset("b", tags={"sky": 20, "sea": 60})
    an_asset("c", tags={"sky": 20})
    an_asset("d", tags={"sky": {"confidence": 50, "decision": 2}, "sea": 60})
    sky = Tag.objects.get(key="sky").pk
    with package(MIN_CONFIDENCE=50):
        assert list(Search().histogram(sky).items()) == [(20, 2), (90, 1)]
        assert Search("sea").histogram(sky) == {20: 1, 90: 1}
    assert Search("no-such-tag").histogram(sky) == Search().histogram(sky + 1000) == {}


@pytest.mark.parametrize("options", [{"limit": 0}, {"sample": 0}])
def test_a_limit_or_a_sample_below_one_is_refused(options):
    with pytest.raises(ValueError, match="limit and sample must be at least 1"):
        Search("sky").facets(**options)
