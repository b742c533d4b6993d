"""The preview of another global minimum, compared with the real effect."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from filestack_tags import curation
from filestack_tags.models import Asset, AssetTag, Tag
from filestack_tags.search import threshold_preview
from filestack_tags.search.threshold_preview import preview
from filestack_tags.search.visible_tags import visible_asset_tags

from .test_matching import an_asset

pytestmark = pytest.mark.django_db


@pytest.fixture
def library() -> None:
    for number in range(6):
        an_asset(f"{number}", tags={"sky": 15 * number, "sea": 90 - number, "dog": 40})
    an_asset("said", tags={"sky": {"confidence": 5, "decision": 1}})
    an_asset("not", tags={"sky": {"confidence": 95, "decision": 2}})
    an_asset("hidden", tags={"man": 70, "secret": 80})
    curation.set_minimum(Tag.objects.get(key="dog").pk, 50)
    curation.set_minimum(Tag.objects.get(key="sea").pk, 87)
    curation.hide(Tag.objects.get(key="secret").pk)


@pytest.mark.parametrize("hides", [False, True])
def test_what_stays_is_what_is_shown_with_that_minimum(
    library: None, settings: Any, hides: bool
) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"HIDE_SENSITIVE": hides}
    found = preview("default")
    assert not found.is_approximate
    assert found.assets_read == Asset.objects.count()
    for minimum in (0, 1, 15, 16, 60, 75, 76, 100):
        settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {"MIN_CONFIDENCE": minimum}
        shown = visible_asset_tags(AssetTag.objects.all())
        expected = (shown.count(), shown.values("asset_id").distinct().count())
        assert found.counts(minimum) == expected, minimum


def test_a_large_installation_is_sampled_and_says_so(
    library: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threshold_preview, "SAMPLE", 4)
    monkeypatch.setattr(threshold_preview, "BATCH_SIZE", 3)
    found = preview("default")
    assert found.is_approximate
    assert 0 < found.assets_read <= 4
    assert preview("default") == found
    with CaptureQueriesContext(connection) as asked:
        preview("default")
    assert len(asked) <= 3 * 4 + 2


def test_nothing_stays_of_nothing() -> None:
    assert preview("default").counts(0) == (0, 0)
