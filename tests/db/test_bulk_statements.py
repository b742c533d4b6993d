"""Writing many rows in one statement."""

from __future__ import annotations

from typing import Any

import pytest

from filestack_tags.db.bulk_statements import update_rows
from filestack_tags.models import Asset
from tests.api.rows import tagged

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("values", [(1, True), (1, 1.5), (0, False), ("a", "a"), (None, 0)])
def test_json_that_is_equal_to_python_is_written_as_it_is(values: tuple[Any, Any]) -> None:
    assets = [tagged("a"), tagged("b")]
    for asset, value in zip(assets, values, strict=True):
        asset.upload_tags = {"n": value}
    update_rows(assets, ["upload_tags"])
    stored = [Asset.objects.get(pk=asset.pk).upload_tags["n"] for asset in assets]
    assert [(type(value), value) for value in stored] == [
        (type(value), value) for value in values
    ]
