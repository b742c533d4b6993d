"""Every kind of search result respects a scope."""

from __future__ import annotations

import pytest
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.test import override_settings
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from filestack_tags.models import Asset, AssetTag, Tag, TaggingRun
from filestack_tags.search import Search
from filestack_tags.search.completion import clear_cache, complete
from filestack_tags.search.language.tree import Everything, HasTag, Query
from tests.api.rows import tagged

from .test_facets import count_up
from .test_oracle import BERLIN, MANY_WORLDS, matches, searches, store, walked, worlds

SCOPES = (
    (Q(kind="handle"), lambda asset: asset.kind == "handle"),
    (Q(uploader__username="anna"), lambda asset: asset.uploader == "anna"),
    (~Q(mimetype="image/png"), lambda asset: asset.mimetype != "image/png"),
    (
        # Not a letter: SQLite matches "a" to "A", too.
        Q(runs__tagger="local") | Q(filename__contains="%"),
        lambda asset: (
            (asset.run is not None and asset.run[1] == "local") or "%" in asset.filename
        ),
    ),
    (Q(pk__in=[]), lambda asset: False),
    (Q(), lambda asset: True),
)


@pytest.mark.django_db
@MANY_WORLDS
@given(data=st.data())
def test_a_scoped_search_finds_what_reading_the_rows_in_scope_finds(data):
    world = data.draw(worlds(), label="world")
    with (
        transaction.atomic(),
        timezone.override(BERLIN),
        override_settings(FILESTACK_TAGS=world.package),
    ):
        ids = store(world)
        count_up()
        for _ in range(8):
            query = data.draw(searches(world), label="query")
            scope, is_within = data.draw(st.sampled_from(SCOPES), label="scope")
            order = data.draw(st.sampled_from(["newest", "oldest", "confidence", "best"]))
            expected = sorted(
                pk
                for pk, asset in zip(ids, world.assets, strict=True)
                if not asset.deleted
                and is_within(asset)
                and matches(world, query, query.where, asset)
            )
            text = str(query)
            search = Search(text, include_hidden=True, scope=scope)
            forward, backward = walked(search, 2, order=order)
            assert sorted(row[0] for row in forward) == expected, text
            assert backward == forward
            assert Search(text, include_hidden=True, scope=scope).total().count == len(expected)
            counted = Search(text, include_hidden=True, scope=scope).facets(limit=100)
            for facet in counted.tags:
                assert facet.count <= len(expected)
            assert counted.tags or not _shown(world, query, ids, expected)
            found = Asset.objects.within(scope).search(text, include_hidden=True)
            assert sorted(found.values_list("pk", flat=True)) == expected
        transaction.set_rollback(True)


def _shown(world, query, ids, expected) -> bool:
    """Whether one of the expected assets has a tag to count."""
    everything = Query(Everything(), query.include_hidden)
    return any(
        matches(world, everything, HasTag(), asset)
        for pk, asset in zip(ids, world.assets, strict=True)
        if pk in expected
    )


@pytest.fixture
def two_tenants(db):
    """Assets of two tenants: ours with sky, theirs with sky and with another tag."""
    clear_cache()
    ours = tagged("ours1", {"sky": 90}, filename="ours")
    theirs = tagged("theirs1", {"sky": 80, "secret project": 70}, filename="theirs")
    yield ours, theirs
    clear_cache()


OURS = Q(filename="ours")


def test_a_tag_of_others_is_neither_completed_nor_counted_nor_hinted_at(two_tenants):
    secret = Tag.objects.get(key="secret project")
    assert [tag.name for tag in complete("secret")] == ["secret project"]
    assert complete("secret", scope=OURS) == []
    assert [(tag.name, tag.count) for tag in complete("", scope=OURS)] == [("sky", 1)]
    assert [(tag.name, tag.count) for tag in Search("", scope=OURS).facets().tags] == [
        ("sky", 1)
    ]
    assert Search("", scope=OURS).histogram(secret.pk) == {}
    assert Search("", scope=OURS).histogram(Tag.objects.get(key="sky").pk) == {90: 1}
    assert [hint.term for hint in Search('"secret project"', scope=OURS).hints()] == [
        "secret project"
    ]
    assert Search("secret-projekt", scope=OURS).hints()[0].near == ()
    assert Search("secret-projekt").hints()[0].near == ("secret project",)
    assert Search("sky", scope=OURS).total().count == 1


def test_a_scope_may_follow_relations_and_ask_subqueries(two_tenants):
    ours, _ = two_tenants
    TaggingRun.objects.create(asset=ours, tagger="x", trigger="code", content_version=1)
    several = Q(runs__asset__filename="ours")
    assert Search("sky", scope=several).total().count == 1
    assert Asset.objects.within(several).count() == 1
    rows = AssetTag.objects.filter(asset=OuterRef("pk"), confidence=90)
    assert Search("", scope=Q(Exists(rows))).total().count == 1
    assert Search("sky", scope=Q(Exists(rows))).facets().matches == 1


def test_an_unscoped_search_says_the_same_as_without_the_argument(
    two_tenants, django_assert_num_queries
):
    with django_assert_num_queries(1):
        assert [tag.count for tag in Search("").facets().tags] == [2, 1]
