"""Links to small pictures."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from filestack_tags import assets
from filestack_tags.filestack.sources import Source
from filestack_tags.thumbnails import EXPIRY, SAME_FOR, thumbnail_url

pytestmark = pytest.mark.django_db


def test_a_thumbnail_is_signed_for_its_file_only() -> None:
    asset, _ = assets.register(Source.handle("abc"))
    url = thumbnail_url(asset, height=80)
    assert url is not None
    assert url.startswith("https://cdn.filestackcontent.com/security=p:")
    assert url.endswith("/resize=h:80/abc")


def test_a_link_stays_the_same_for_a_while_and_works_for_an_hour() -> None:
    asset, _ = assets.register(Source.handle("abc"))
    start = datetime(2026, 11, 25, 12, tzinfo=UTC)
    links = []
    for seconds in (1, SAME_FOR, SAME_FOR + 1):
        with time_machine.travel(start + timedelta(seconds=seconds), tick=False):
            links.append(thumbnail_url(asset))
    assert links[0] == links[1] != links[2]
    policy = links[1].split("p:")[1].split(",")[0]
    expiry = json.loads(base64.urlsafe_b64decode(policy))["expiry"]
    assert expiry == start.timestamp() + SAME_FOR + EXPIRY


def test_a_url_is_named_with_the_api_key_and_arrives_whole() -> None:
    asset, _ = assets.register(Source.url("https://example.com/ä b.jpg?x=1#f"))
    url = thumbnail_url(asset)
    assert url is not None
    assert url.startswith("https://cdn.filestackcontent.com/AKEY/security=")
    assert url.endswith("/https%3A%2F%2Fexample.com%2F%C3%A4%20b.jpg%3Fx%3D1%23f")


def test_what_has_no_picture_has_no_link(settings: Any) -> None:
    asset, _ = assets.register(
        Source.handle("pdf"), facts=assets.Facts(mimetype="application/pdf")
    )
    assert thumbnail_url(asset) is None
    asset.mimetype = "image/png"
    assert thumbnail_url(asset)
    settings.FILESTACK_TAGS = {"APP_SECRET": "s"}
    assert thumbnail_url(asset)
    asset.kind, asset.reference = "url", "https://example.com/a.jpg"
    assert thumbnail_url(asset) is None
    settings.FILESTACK_TAGS = {"API_KEY": "k"}
    assert thumbnail_url(asset) is None
