"""An asset looks the same everywhere in the API, byte for byte."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.utils import timezone
from django.utils.translation import gettext_lazy
from rest_framework.exceptions import ErrorDetail
from rest_framework.renderers import JSONRenderer
from rest_framework.test import APIClient

from filestack_tags.api import asset_json
from filestack_tags.api.asset_json import AssetSerializer, describe
from filestack_tags.assets import registry
from filestack_tags.models import Asset, AssetTag, Tag, score_of
from filestack_tags.search.visible_tags import visible_asset_tags

from .rows import person, tagged

DOCUMENT = Path(__file__).parents[2] / "docs" / "api.md"

writers = pytest.mark.parametrize("writer", ["orjson", "json"])


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch, writer: str) -> None:
    """Render responses with orjson, or as if it were not installed."""
    assert asset_json.orjson is not None
    if writer == "json":
        monkeypatch.setattr(asset_json, "orjson", None)


def at(hour: int, microsecond: int = 0) -> datetime:
    zone = UTC if django_settings.USE_TZ else None
    return datetime(2026, 7, 1, hour, 30, 5, microsecond, tzinfo=zone)


def rich() -> Asset:
    """Return an asset with a different value in every displayed field."""
    asset = tagged("VJQTvCboRVivWJ2BpKgd", {"Sky": 80, "sea": 95, "Éire": 80}, {"fog": 80})
    AssetTag.objects.filter(tag__key="sea").update(decision=AssetTag.Decision.ACCEPTED)
    Asset.objects.filter(pk=asset.pk).update(
        filename='sea "ä" \u65e5.jpg',
        mimetype="image/jpeg",
        size=2**63 - 1,
        width=4000,
        height=3000,
        container="bucket",
        key="a/b.jpg",
        store_status="Stored",
        upload_tags={"id": "7"},
        uploader=person("ann@example.com"),
        uploaded_at=at(10),
        content_version=3,
        tagging_state=Asset.State.STALE,
        due_at=None,
        attempts=2,
        error="line\nline",
        tags_version=2,
        tags_at=at(11, 120),
        created_at=at(12),
        updated_at=at(13, 500000),
    )
    return asset


Z = "Z" if django_settings.USE_TZ else ""
RICH = (
    '{"id":%d,"kind":"handle","reference":"VJQTvCboRVivWJ2BpKgd",'
    '"filename":"sea \\"ä\\" \u65e5.jpg","mimetype":"image/jpeg","size":9223372036854775807,'
    '"width":4000,"height":3000,"container":"bucket","key":"a/b.jpg","store_status":"Stored",'
    '"upload_tags":{"id":"7"},"uploader":"ann@example.com",'
    f'"uploaded_at":"2026-07-01T10:30:05{Z}","content_version":3,'
    f'"created_at":"2026-07-01T12:30:05{Z}","updated_at":"2026-07-01T13:30:05.500000{Z}",'
    '"tagging":{"state":"stale","attempts":2,"error":"line\\nline",'
    f'"tagged_at":"2026-07-01T11:30:05.000120{Z}","stale":true}},'
    '"tags":['
    '{"name":"sea","key":"sea","confidence":95,"source":"auto","decision":"accepted"},'
    '{"name":"fog","key":"fog","confidence":80,"source":"user","decision":"none"},'
    '{"name":"Sky","key":"sky","confidence":80,"source":"auto","decision":"none"},'
    '{"name":"Éire","key":"éire","confidence":80,"source":"auto","decision":"none"}]}'
)


@writers
@pytest.mark.django_db
@pytest.mark.usefixtures("written")
def test_a_rich_asset_is_the_same_text_in_a_list_and_by_itself(api: APIClient) -> None:
    asset = rich()
    expected = RICH % asset.pk
    assert api.get(f"/api/v1/assets/{asset.pk}/").content.decode() == expected
    assert api.get("/api/v1/assets/").content.decode() == (
        f'{{"next":null,"previous":null,"results":[{expected}]}}'
    )


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
@pytest.mark.django_db
def test_assets_are_rendered_as_their_serializer_does(zone: str) -> None:
    ids = [rich().pk, tagged("plain").pk]
    with timezone.override(zone):
        expected = [AssetSerializer(Asset.objects.get(pk=pk)).data for pk in ids]
        assert asset_json.JSON().render(describe(ids, "default")) == asset_json.JSON().render(
            expected
        )


@pytest.mark.django_db
def test_the_documented_asset_has_the_fields_that_are_shown() -> None:
    example = re.search(
        r"```json\n(\{\s+\"next\".*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL
    )
    assert example
    documented = json.loads(example[1])["results"][0]
    (shown,) = describe([rich().pk], "default")
    assert list(documented) == list(shown)
    for name in ("tagging", "upload_tags"):
        assert list(documented[name]) == list(shown[name])
    assert list(documented["tags"][0]) == list(shown["tags"][0])


@pytest.mark.skipif(not django_settings.USE_TZ, reason="without it times have no zone")
@writers
@pytest.mark.parametrize(
    ("zone", "hour", "offset"),
    [("Asia/Kathmandu", "16:15:05", "+05:45"), ("America/St_Johns", "08:00:05", "-02:30")],
)
@pytest.mark.django_db
@pytest.mark.usefixtures("written")
def test_times_are_in_the_time_zone_of_the_request(
    api: APIClient, zone: str, hour: str, offset: str
) -> None:
    asset = rich()
    with timezone.override(zone):
        shown = api.get(f"/api/v1/assets/{asset.pk}/").json()
    assert shown["uploaded_at"] == f"2026-07-01T{hour}{offset}"


@pytest.mark.django_db
def test_assets_are_described_in_the_order_asked_for_without_archived_ones() -> None:
    ids = [tagged(f"h{number}", {"sky": 90}).pk for number in range(4)]
    registry.archive(ids[2])
    asked = [ids[1], ids[2], ids[3], ids[0]]
    assert [shown["id"] for shown in describe(asked, "default")] == [ids[1], ids[3], ids[0]]


@pytest.mark.parametrize("least", [0, 60])
@pytest.mark.django_db
def test_the_tags_shown_are_those_that_the_search_language_calls_visible(
    settings: Any, least: int
) -> None:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "MIN_CONFIDENCE": least}
    ids = [tagged(f"h{number}").pk for number in range(6)]
    kinds = product([False, True], [None, 0, 60, 100], [0, 59, 60, 100], AssetTag.Decision)
    for number, (hidden, minimum, confidence, decision) in enumerate(kinds):
        tag = Tag.objects.create(
            key=f"t{number}", name=f"T{number}", hidden=hidden, min_confidence=minimum
        )
        for asset_id in ids[number % 4 :][:3]:
            AssetTag.objects.create(
                asset_id=asset_id,
                tag=tag,
                confidence=confidence,
                decision=decision,
                score=score_of(confidence, decision, archived=False),
            )
    rows = visible_asset_tags(AssetTag.objects.all()).order_by("-confidence", "tag__key")
    visible = list(rows.values_list("asset_id", "tag__key"))
    assert 0 < len(visible) < AssetTag.objects.count()
    shown = [
        (asset["id"], tag["key"]) for asset in describe(ids, "default") for tag in asset["tags"]
    ]
    assert shown == [pair for pk in ids for pair in visible if pair[0] == pk]


@pytest.mark.parametrize("count", [1, 30])
@pytest.mark.django_db
def test_describing_takes_two_queries_for_thirty_assets_as_for_one(
    django_assert_num_queries: Any, count: int
) -> None:
    ids = [tagged(f"h{number}", {f"t{number}": 50}).pk for number in range(count)]
    Asset.objects.update(uploader=person("ann"))
    with django_assert_num_queries(2):  # assets, and their tags
        assert len(describe(ids, "default")) == count


@pytest.mark.django_db
def test_no_assets_need_no_query_and_assets_without_their_tags_one(
    django_assert_num_queries: Any,
) -> None:
    asset = tagged("h1")
    (shown,) = describe([asset.pk], "default")
    assert shown["tags"] == []
    assert shown["tagging"]["stale"] is False, "its file changed after nothing"
    with django_assert_num_queries(1):
        assert describe([asset.pk], "default", {"id"}) == [{"id": asset.pk}]
    with django_assert_num_queries(0):
        assert describe([], "default") == []


@writers
@pytest.mark.usefixtures("written")
@pytest.mark.parametrize(
    "data",
    [
        None,
        {"big": 2**64, "small": -(2**70), "float": 0.1},
        {1: "a key that is a number"},
        {"moment": datetime(2026, 7, 1, tzinfo=UTC), "naive": datetime(2026, 7, 1, 1, 2)},  # noqa: DTZ001  # as without USE_TZ
        {"lazy": gettext_lazy("tag"), "error": [ErrorDetail("wrong", code="invalid")]},
        {"text": "\u2028 \u2029 \x7f \x01 <&> \U0001f600", "decimal": Decimal("1.5")},
        {"rows": (1, True, None), "state": Asset.State.NEW, "source": AssetTag.Source.USER},
    ],
)
def test_json_says_what_rest_framework_would(data: Any) -> None:
    found, expected = asset_json.JSON().render(data), JSONRenderer().render(data)
    assert (found and json.loads(found)) == (expected and json.loads(expected))


@writers
@pytest.mark.usefixtures("written")
def test_settings_of_the_host_do_not_change_the_json(monkeypatch: pytest.MonkeyPatch) -> None:
    # UNICODE_JSON and COMPACT_JSON set these when REST framework is imported.
    monkeypatch.setattr(JSONRenderer, "ensure_ascii", True)
    monkeypatch.setattr(JSONRenderer, "compact", False)
    assert asset_json.JSON().render({"a": "ä", "b": [1]}) == '{"a":"ä","b":[1]}'.encode()


@writers
@pytest.mark.usefixtures("written")
def test_what_is_no_json_is_an_error() -> None:
    with pytest.raises(TypeError, match="object"):
        asset_json.JSON().render({"a": object()})
