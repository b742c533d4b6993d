"""The number of queries of a page of the admin or the API does not grow with its content."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from filestack_tags import curation
from filestack_tags.assets import sensitive_labels
from filestack_tags.models import (
    Asset,
    Backfill,
    BulkJob,
    BulkJobItem,
    DailyUsage,
    ModelFile,
    OutboundEndpoint,
    OutboundMessage,
    SavedSearch,
    Tag,
    TagAlias,
    TagDecision,
    TaggingRun,
    TagMerge,
    WebhookDelivery,
)
from filestack_tags.search import completion
from tests.addresses import ours
from tests.api.rows import tagged

pytestmark = pytest.mark.django_db

FEW, MANY = 2, 10
QUERIES: Mapping[str, str] = {
    "/admin/filestack_tags/asset/review/": "tag=sky&low=0&high=100",
    "/admin/filestack_tags/asset/facets/": "q=sky",
    "/admin/filestack_tags/asset/complete/": "q=s",
    "/admin/filestack_tags/asset/upload/tags/": "ids=1,2,3",
    "/admin/filestack_tags/tag/<int:pk>/merge/": "target=sea",
    "/api/v1/assets/": "include=total,facets&tag=sky",
    "/api/v1/assets/histogram/": "tag=sky",
    "/api/v1/tags/complete/": "q=s",
}
"""Parameters of pages that show little without them."""


@pytest.fixture
def root(settings: Any) -> User:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "HIDE_SENSITIVE": True}
    return User.objects.create_superuser("root")


def fill(first: int, end: int, root: User) -> None:
    """Create some of everything that a page can list, most of it about the asset ``h0``."""
    labels = sorted(sensitive_labels.labels())
    words = [f"s{number}" for number in range(first, end)]
    for number in range(first, end):
        asset = tagged(
            f"h{number}", {"sky": 90, "sea": 70, labels[number]: 60, f"s{number}": 50}
        )
        Asset.objects.filter(pk=asset.pk).update(uploader=root)
    asset = Asset.objects.get(reference="h0")
    tagged("h0", {"sky": 90, "sea": 70, **dict.fromkeys(words, 80)})
    sky = Tag.objects.get(key="sky")
    job, _ = BulkJob.objects.get_or_create(action="add_tag", key="k", requested_by=root)
    endpoint, _ = OutboundEndpoint.objects.get_or_create(url="https://a.example/", events=[])
    for number in range(first, end):
        delivery = WebhookDelivery.objects.create(
            event_key=f"e{number}", asset=asset, raw_body=b"{}", action="fp.upload"
        )
        TaggingRun.objects.filter(asset__reference=f"h{number}").update(delivery=delivery)
        run = TaggingRun.objects.filter(asset=asset).latest("pk")
        TaggingRun.objects.create(
            asset=asset, tagger="filestack", trigger="code", content_version=1, shared_from=run
        )
        other = Asset.objects.get(reference=f"h{number}")
        curation.accept(other.pk, sky.pk, user=root)
        curation.reject(asset.pk, Tag.objects.get(key=f"s{number}").pk, user=root)
        BulkJobItem.objects.create(
            job=job, asset_id=other.pk, outcome="failed", error=f"error {number}"
        )
        BulkJob.objects.create(action="export", requested_by=root, undoes=job)
        TagMerge.objects.create(
            source_id=10**6,
            target_id=sky.pk,
            source_name="a",
            target_name="Sky",
            started_by=root,
        )
        SavedSearch.objects.create(name=f"saved {number}", query="sky", owner=root)
        OutboundMessage.objects.create(endpoint=endpoint, event="asset.tagged", body="{}")
        ModelFile.objects.create(field="a.b.c", row=str(number), name="x.jpg", asset=other)
        TagAlias.objects.create(tag=sky, key=f"alias {number}")
        Backfill.objects.create(query="sky")
        DailyUsage.objects.create(day=date(2026, 11, 28) - timedelta(days=number), calls=1)


def value_of(path: str) -> Any:
    """Return the id for a path: of the row with the most to show."""
    asset, tag = Asset.objects.get(reference="h0"), Tag.objects.get(key="sky")
    known: Mapping[str, Callable[[], Any]] = {
        "/asset/|/assets/": lambda: asset.pk,
        "/tag/": lambda: tag.pk,
        "/bulkjob/|/jobs/": lambda: BulkJob.objects.get(key="k").pk,
        "/taggingrun/|/runs/": lambda: TaggingRun.objects.filter(asset=asset).first().pk,
        "/webhookdelivery/|/deliveries/": lambda: WebhookDelivery.objects.earliest("pk").pk,
        "/tagdecision/|/decisions/": lambda: TagDecision.objects.earliest("pk").pk,
        "/tagmerge/|/merges/": lambda: TagMerge.objects.earliest("pk").pk,
        "/savedsearch/|/saved-searches/": lambda: SavedSearch.objects.earliest("pk").pk,
        "/outboundendpoint/": lambda: OutboundEndpoint.objects.get().pk,
        "/outboundmessage/": lambda: OutboundMessage.objects.earliest("pk").pk,
        "/modelfile/": lambda: ModelFile.objects.earliest("pk").pk,
        "/backfill/": lambda: Backfill.objects.earliest("pk").pk,
        "/dailyusage/": lambda: DailyUsage.objects.earliest("pk").pk,
    }
    return next((row() for place, row in known.items() if re.search(place, path)), "1")


def asked(client: Client, path: str) -> int | None:
    """Return how many statements a page takes, or None if a GET has no such page."""
    address = re.sub(r"<(?:\w+:)?\w+>", str(value_of(path)), path.replace("<key>", "sky"))
    address = f"{address}?{QUERIES[path]}" if path in QUERIES else address
    for _ in range(2):  # the first time, values may be cached
        completion.clear_cache()
        with CaptureQueriesContext(connection) as statements:
            reply = client.get(address)
        if reply.status_code != 200:
            return None
    return len(statements)


def test_pages_take_as_many_statements_for_much_as_for_little(root: User) -> None:
    client = Client()
    client.force_login(root)
    paths = [path for path in sorted(set(ours())) if not path.startswith("/admin/<")]
    fill(0, FEW, root)
    few = {path: asked(client, path) for path in paths}
    fill(FEW, MANY, root)
    many = {path: asked(client, path) for path in paths}
    shown = [path for path in paths if few[path] is not None]
    assert len(shown) > 60
    assert {path: (few[path], many[path]) for path in shown if few[path] != many[path]} == {}
