"""Asset.objects.search() runs no query before it is evaluated, and works in async code."""

from __future__ import annotations

import pytest
from asgiref.sync import async_to_sync
from django.db.models import Count, Exists, OuterRef, Q

from filestack_tags.exceptions import SearchError
from filestack_tags.models import Asset, AssetTag, TaggingRun
from tests.api.rows import tagged


def test_making_a_search_needs_no_database():
    for query in ("sky>=80 (beach OR s*) -person run:v1", ""):
        found = Asset.objects.search(query).filter(kind="handle").order_by("-pk")[:10]
        assert found.query.is_sliced
    with pytest.raises(SearchError):
        Asset.objects.search("sky=>80")
    with pytest.raises(SearchError, match="permission"):
        Asset.objects.search("include:hidden")


@pytest.mark.django_db
def test_a_search_is_iterated_counted_and_read_in_async_code():
    tagged("one", {"sky": 90})
    tagged("two", {"sea": 90})

    async def read() -> None:
        found = Asset.objects.search("sky")
        assert [asset.reference async for asset in found] == ["one"]
        assert await Asset.objects.search("s*").acount() == 2
        assert await Asset.objects.search("sea").aexists()
        assert (await Asset.objects.search("sea").aget()).reference == "two"

    async_to_sync(read)()


@pytest.mark.django_db
def test_tags_are_looked_up_when_it_is_evaluated(django_assert_num_queries):
    found = Asset.objects.search("sky")
    tagged("one", {"sky": 90})
    with django_assert_num_queries(2):
        assert [asset.reference for asset in found] == ["one"]
    with django_assert_num_queries(0):
        assert len(found) == 1
    with django_assert_num_queries(2):
        assert found.all().count() == 1


@pytest.mark.django_db
def test_a_search_can_be_part_of_other_queries():
    one = tagged("one", {"sky": 90, "sea": 80})
    tagged("two", {"sea": 90})
    TaggingRun.objects.create(asset=one, tagger="x", trigger="code", content_version=1)
    sky, sea = Asset.objects.search("sky"), Asset.objects.search("sea -by:nobody")
    assert (sky & sea).get() == one
    assert (sky | sea).count() == 2
    assert sky.order_by().union(sea.order_by()).count() == 2
    assert Asset.objects.exclude(pk__in=sky).get().reference == "two"
    assert AssetTag.objects.filter(asset__in=sky).count() == 2
    assert TaggingRun.objects.filter(asset__in=sea.filter(asset_tags__tag__key="sky")).exists()
    inner = sea.filter(pk=OuterRef("pk"))
    assert (
        Asset.objects.filter(Exists(inner), ~Exists(sky.filter(pk=OuterRef("pk")))).count() == 1
    )
    nested = Asset.objects.search("sea").filter(pk__in=sky.filter(pk__in=sea))
    assert nested.get() == one
    assert sea.annotate(n=Count("asset_tags")).filter(n__gt=1).get() == one
    assert (
        sea.filter(Q(asset_tags__tag__key="sky") | Q(runs__tagger="y")).distinct().get() == one
    )
    assert not Asset.objects.search("nothing").exists()
    assert Asset.objects.search("-nothing").count() == 2
