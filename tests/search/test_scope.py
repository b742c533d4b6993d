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
from filestack_tags.search.completion import complete, forget
from filestack_tags.search.facets import facets, histogram
from filestack_tags.search.hints import hints
from filestack_tags.search.language.tree import Everything, HasTag, Query
from filestack_tags.search.totals import total
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
            forward, backward = walked(text, 2, order=order, within=scope)
            assert sorted(row[0] for row in forward) == expected, text
            assert backward == forward
            assert total(text, include_hidden=True, within=scope).count == len(expected)
            counted = facets(text, limit=100, include_hidden=True, within=scope)
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
    forget()
    ours = tagged("ours1", {"sky": 90}, filename="ours")
    theirs = tagged("theirs1", {"sky": 80, "secret project": 70}, filename="theirs")
    yield ours, theirs
    forget()


OURS = Q(filename="ours")


def test_a_tag_of_others_is_neither_completed_nor_counted_nor_hinted_at(two_tenants):
    secret = Tag.objects.get(key="secret project")
    assert [tag.name for tag in complete("secret")] == ["secret project"]
    assert complete("secret", within=OURS) == []
    assert [(tag.name, tag.count) for tag in complete("", within=OURS)] == [("sky", 1)]
    assert [(tag.name, tag.count) for tag in facets("", within=OURS).tags] == [("sky", 1)]
    assert histogram(secret.pk, "", within=OURS) == {}
    assert histogram(Tag.objects.get(key="sky").pk, "", within=OURS) == {90: 1}
    assert [hint.term for hint in hints('"secret project"', within=OURS)] == ["secret project"]
    assert hints("secret-projekt", within=OURS)[0].near == ()
    assert hints("secret-projekt")[0].near == ("secret project",)
    assert total("sky", within=OURS).count == 1


def test_a_scope_may_follow_relations_and_ask_subqueries(two_tenants):
    ours, _ = two_tenants
    TaggingRun.objects.create(asset=ours, tagger="x", trigger="code", content_version=1)
    several = Q(runs__asset__filename="ours")
    assert total("sky", within=several).count == 1
    assert Asset.objects.within(several).count() == 1
    rows = AssetTag.objects.filter(asset=OuterRef("pk"), confidence=90)
    assert total("", within=Q(Exists(rows))).count == 1
    assert facets("sky", within=Q(Exists(rows))).matches == 1


def test_an_unscoped_search_says_the_same_as_without_the_argument(
    two_tenants, django_assert_num_queries
):
    with django_assert_num_queries(1):
        assert [tag.count for tag in facets("").tags] == [2, 1]
