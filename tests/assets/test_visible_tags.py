"""The tags that a host's own page may show."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.models import Prefetch
from django.template import Context, Template

from filestack_tags import curation
from filestack_tags.models import Asset, Tag
from tests.api.rows import tagged
from tests.hosts.shop.models import Product

pytestmark = pytest.mark.django_db

SHOWN = [
    ("added", 100),
    ("high", 90),
    ("approved woman", 85),
    ("also high", 60),
    ("accepted man", 40),
    ("kept", 10),
]


@pytest.fixture
def asset(settings: Any) -> Asset:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "MIN_CONFIDENCE": 50,
        "HIDE_SENSITIVE": True,
        "SENSITIVE_LABELS": ("approved woman", "accepted man", "sensitive"),
    }
    auto = {
        "high": 90,
        "also high": 60,
        "low": 49,
        "kept": 10,
        "rejected": 95,
        "hidden": 95,
        "needs more": 69,
        "sensitive": 95,
        "approved woman": 85,
        "accepted man": 40,
    }
    made = tagged("h1", auto)
    ids = dict(Tag.objects.values_list("key", "pk"))
    curation.accept(made.pk, ids["kept"], user=None)
    curation.accept(made.pk, ids["accepted man"], user=None)
    curation.reject(made.pk, ids["rejected"], user=None)
    curation.add(made.pk, "added", user=None)
    Tag.objects.filter(key="hidden").update(hidden=True)
    Tag.objects.filter(key="needs more").update(min_confidence=70)
    Tag.objects.filter(key="approved woman").update(approved_at="2026-11-30T12:00Z")
    return made


def names(asset: Asset) -> list[tuple[str, int]]:
    return [(row.tag.name, row.confidence) for row in asset.visible_tags]


def test_only_tags_that_may_be_shown_are_visible(asset: Asset) -> None:
    assert names(asset) == SHOWN
    assert names(Asset.objects.with_visible_tags().get()) == SHOWN


def test_the_tags_of_a_page_are_read_by_one_query(
    asset: Asset, settings: Any, django_assert_num_queries: Any
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"HIDE_SENSITIVE": False}
    for number in range(5):
        tagged(f"other{number}", {"high": 80})
    untagged = tagged("none")

    with django_assert_num_queries(2):
        page = list(Asset.objects.present().with_visible_tags())
        shown = {each.pk: [row.tag.name for row in each.visible_tags] for each in page}
    assert len(shown) == 7
    assert shown[untagged.pk] == []
    with django_assert_num_queries(1):
        assert untagged.visible_tags == []


def test_a_template_of_the_host_shows_them_through_its_own_model(
    asset: Asset, django_assert_num_queries: Any
) -> None:
    Product.objects.bulk_create([Product(file="a.jpg", asset=asset), Product(file="b.jpg")])
    template = Template(
        "{% for product in products %}{% for row in product.asset.visible_tags %}"
        "{{ row.tag.name }} {{ row.confidence }},{% endfor %};{% endfor %}"
    )
    products = Product.objects.order_by("file").prefetch_related(
        Prefetch("asset", Asset.objects.with_visible_tags())
    )
    with django_assert_num_queries(3):  # products, assets, tags
        shown = template.render(Context({"products": products}))
    assert shown == "".join(f"{name} {confidence}," for name, confidence in SHOWN) + ";;"


def test_deleting_a_tag_later_does_not_change_a_page_that_was_read(asset: Asset) -> None:
    read = Asset.objects.with_visible_tags().get()
    curation.reject(asset.pk, Tag.objects.get(key="high").pk, user=None)
    assert names(read) == SHOWN
    assert ("high", 90) not in names(asset)
