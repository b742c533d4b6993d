"""The assets of a page equal the ORM's instances."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db.models.signals import post_init

from filestack_tags.db.datetimes import to_database_time
from filestack_tags.models import Asset
from filestack_tags.search.hydration import assets

from .test_matching import an_asset

pytestmark = pytest.mark.django_db


def test_the_assets_of_a_page_equal_those_of_the_orm():
    taken = to_database_time(datetime(2026, 3, 1, 12, 30, 15, 250000, tzinfo=UTC))
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


def test_who_listens_to_new_instances_is_told_of_the_assets_of_a_page():
    one = an_asset("a")
    told = []

    def listen(instance, **kwargs):
        told.append(instance.pk)

    post_init.connect(listen, sender=Asset)
    try:
        assert assets([one.pk], "default") == [one]
    finally:
        post_init.disconnect(listen, sender=Asset)
    assert told == [one.pk]


def test_an_asset_of_a_page_can_be_changed_saved_and_read_again():
    one, two = an_asset("a"), an_asset("b")
    first, second = assets([one.pk, two.pk], "default")
    first.filename = "new.jpg"
    first.save(update_fields=["filename"])
    second.refresh_from_db()
    assert Asset.objects.get(pk=one.pk).filename == "new.jpg"
    assert first._state is not second._state
    first.upload_tags["shoot"] = "7"
    assert second.upload_tags == {}
    assert second.uploader is None


def test_assets_that_are_gone_are_left_out():
    one = an_asset("a")
    assert assets([one.pk + 1, one.pk], "default") == [one]
    assert assets([], "default") == []
