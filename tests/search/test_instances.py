"""The assets of a page are those that the ORM would have made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from filestack_tags.clock import kept
from filestack_tags.models import Asset
from filestack_tags.search.instances import assets

from .test_planner import an_asset

pytestmark = pytest.mark.django_db


def test_the_assets_of_a_page_equal_those_of_the_orm():
    taken = kept(datetime(2026, 3, 1, 12, 30, 15, 250000, tzinfo=UTC))
    one = an_asset("a", uploaded_at=taken, due_at=None, upload_tags={"shoot": "7"})
    two = an_asset("b", uploaded_at=taken + timedelta(days=200), filename="لوحة.jpg")
    for made, asked in zip(assets([two.pk, one.pk], "default"), (two, one), strict=True):
        orm = Asset.objects.get(pk=asked.pk)
        for field in Asset._meta.concrete_fields:
            value = getattr(orm, field.attname)
            assert repr(getattr(made, field.attname)) == repr(value), field.name
        assert made == orm
        assert made._state.db == "default"
        assert not made._state.adding


def test_assets_that_are_gone_are_left_out():
    one = an_asset("a")
    assert assets([one.pk + 1, one.pk], "default") == [one]
    assert assets([], "default") == []
