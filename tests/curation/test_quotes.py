"""Double quotes around a tag are syntax wherever a tag is typed."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from filestack_tags import curation
from filestack_tags.curation import bulk
from filestack_tags.db.text import label_key, label_name
from filestack_tags.exceptions import InvalidLabel
from filestack_tags.models import Asset, Tag
from tests.api.rows import person, tagged

pytestmark = pytest.mark.django_db

QUOTED = '"Multi  word"'


@pytest.fixture
def asset() -> Asset:
    return tagged("h1", {"sky": 90})


@pytest.fixture
def api() -> APIClient:
    client = APIClient()
    client.force_login(
        person("editor", "view_asset", "change_asset", "change_tag", is_staff=True)
    )
    return client


def by_python(api: APIClient, asset: Asset) -> None:
    curation.add(asset.pk, QUOTED, user=None)


def by_api(api: APIClient, asset: Asset) -> None:
    path = f"/api/v1/assets/{asset.pk}/tags/"
    assert api.post(path, {"name": QUOTED}, format="json").status_code == 201


def by_rename(api: APIClient, asset: Asset) -> None:
    assert api.patch('/api/v1/tags/"sky"/', {"name": QUOTED}, format="json").status_code in (
        200,
        404,
    )
    assert Tag.objects.get(key="multi word")


def by_job(api: APIClient, asset: Asset) -> None:
    job, _ = bulk.create(bulk.BulkRequest("add_tag", tag=QUOTED), user=None)
    bulk.step(job.pk)


def by_admin(api: APIClient, asset: Asset) -> None:
    client = Client()
    client.force_login(person("staff", "view_asset", "change_asset", is_staff=True))
    client.post(
        f"/admin/filestack_tags/asset/{asset.pk}/decide/",
        {"add": "1", "add-name": QUOTED, "add-confidence": "100"},
    )


@pytest.mark.parametrize("way", [by_python, by_api, by_rename, by_job, by_admin])
def test_quotes_are_not_part_of_the_name(api: APIClient, asset: Asset, way: Any) -> None:
    way(api, asset)
    assert Tag.objects.get(key="multi word").name == "Multi word"
    assert list(Asset.objects.search(QUOTED)) == [asset]


@given(st.text(st.sampled_from('"a \\'), max_size=8) | st.text(max_size=8))
def test_a_name_is_not_changed_by_normalizing_it_again(text: str) -> None:
    try:
        name = label_name(text)
    except InvalidLabel:
        return
    assert label_name(name) == name
    assert label_key(name) == label_key(text) == label_key(label_key(text))
    assert label_key(f'"{text}"') == label_key(text)


@pytest.mark.parametrize("text", ['""', '" "', '""""'])
def test_nothing_in_quotes_is_no_tag(text: str) -> None:
    with pytest.raises(InvalidLabel, match="cannot be empty"):
        label_name(text)
