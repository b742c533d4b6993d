"""An upgrade keeps existing data: from the first migration to the last."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from filestack_tags import curation
from filestack_tags.models import Asset, AssetTag

FIRST = [("filestack_tags", "0001_initial")]
APP = "filestack_tags"

pytestmark = pytest.mark.django_db(transaction=True)


def migrate(targets: list[tuple[str, str]]) -> Any:
    executor = MigrationExecutor(connection)
    executor.migrate(targets)
    return executor.loader.project_state(targets).apps


@pytest.fixture
def before() -> Iterator[Any]:
    """The models of the first migration, on its tables; the latest tables afterwards."""
    latest = MigrationExecutor(connection).loader.graph.leaf_nodes()
    yield migrate(FIRST).get_model
    migrate(latest)


def test_an_upgrade_from_the_first_release_keeps_assets_tags_and_decisions(before: Any) -> None:
    latest = MigrationExecutor(connection).loader.graph.leaf_nodes()
    asset = before(APP, "Asset").objects.create(
        kind="handle", reference="OLDHANDLE", digest="0" * 64, filename="old.jpg"
    )
    sky, dog = (
        before(APP, "Tag").objects.create(key=name, name=name, asset_count=1)
        for name in ("sky", "dog")
    )
    before(APP, "TagAlias").objects.create(key="heaven", tag=sky)
    rows = before(APP, "AssetTag").objects
    rows.create(asset=asset, tag=sky, confidence=90, score=90)
    rows.create(asset=asset, tag=dog, confidence=70, score=-1, decision=2)
    before(APP, "TaggingRun").objects.create(
        asset=asset, tagger="filestack", trigger="code", state="succeeded", content_version=1
    )
    before(APP, "WebhookDelivery").objects.create(event_key="1", raw_body=b"{}")

    migrate(latest)

    assert [each.reference for each in Asset.objects.search("heaven>=90 -dog")] == ["OLDHANDLE"]
    assert Asset.objects.search("dog@rejected").get().runs.get().state == "succeeded"
    curation.accept(asset.pk, sky.pk, user=None)
    row = AssetTag.objects.get(tag_id=sky.pk)
    assert (row.confidence, row.decision) == (90, AssetTag.Decision.ACCEPTED)


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="only PostgreSQL can be told")
def test_tags_have_room_for_new_versions_of_them():
    with connection.cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE relname = 'filestack_tags_tag'")
        assert cursor.fetchone() == (["fillfactor=50"],)


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="only PostgreSQL has them")
def test_identifiers_have_no_second_index_for_like():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tablename FROM pg_indexes WHERE indexdef LIKE '%%varchar_pattern_ops%%'"
            " AND tablename IN ('filestack_tags_asset', 'filestack_tags_taggingrun',"
            " 'filestack_tags_webhookdelivery', 'filestack_tags_tag')"
            " AND indexname <> 'fst_asset_mimetype'"  # types are not identifiers
        )
        assert cursor.fetchall() == [("filestack_tags_tag",)]  # searched by prefix


def test_every_migration_can_be_taken_back(before: Any) -> None:
    assert before(APP, "Asset").objects.count() == 0
