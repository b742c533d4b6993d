"""One row for each screen of the admin, and the URLs of all its pages."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.urls import reverse
from django.utils import timezone

from filestack_tags import curation
from filestack_tags.curation import bulk, merging, saved_searches
from filestack_tags.models import (
    Backfill,
    BulkJob,
    Circuit,
    DailyUsage,
    Heartbeat,
    ModelFile,
    OutboundMessage,
    Tag,
    TagDecision,
    TaggingRun,
    TagMerge,
    WebhookDelivery,
)
from filestack_tags.outbound import delivery, outbox
from tests.api.rows import tagged


def make_everything(user: Any) -> dict[type[Model], Model]:
    """Make rows, and return one of each model that has a screen."""
    asset = tagged("everything1", {"animal": 55, "dog": 98}, filename="dog.jpg")
    tagged("everything2", {"animal": 62, "hound": 70, "woman": 50}, filename="hound.jpg")
    animal, dog, hound = (Tag.objects.get(key=key) for key in ("animal", "dog", "hound"))
    curation.add_alias(animal.pk, "beast")
    curation.accept(asset.pk, dog.pk, user=user)
    job, _created = bulk.create(bulk.BulkRequest(action="add_tag", tag="new"), user=user)
    # A worker would end it while its page is open.
    BulkJob.objects.filter(pk=job.pk).update(due_at=timezone.now() + timedelta(days=1))
    merge = merging.start(hound.pk, dog.pk, user=user)
    while not merging.work(merge.pk, is_stopped=lambda: False):
        pass
    endpoint = delivery.save_endpoint(url="https://example.com/", events=outbox.EVENTS)
    search = saved_searches.save(
        saved_searches.SavedSearchInput(name="Animals", query="animal"), user=user
    )
    rows: list[Model] = [
        asset,
        animal,
        job,
        endpoint,
        search,
        TagMerge.objects.get(pk=merge.pk),
        TagDecision.objects.filter(tag=dog).latest("pk"),
        TaggingRun.objects.filter(asset=asset).latest("pk"),
        OutboundMessage.objects.create(endpoint=endpoint, event="asset.tagged", body="{}"),
        WebhookDelivery.objects.create(
            event_key="e1",
            action="fp.upload",
            state="processed",
            due_at=None,
            raw_body=b"{}",
            asset=asset,
        ),
        ModelFile.objects.create(
            field="shop.Picture.file", row="1", name="a.jpg", state="registered", due_at=None
        ),
        DailyUsage.objects.create(day="2026-11-30", calls=3),
        Circuit.objects.create(tagger="filestack", opened_at=timezone.now(), reason="Refused"),
        Heartbeat.objects.create(name="refresh_statistics", found={"tags": 3}),
        Backfill.objects.create(query="animal", state="finished", counts={"queued": 2}),
    ]
    return {type(row): row for row in rows}


def screens() -> list[tuple[type[Model], admin.ModelAdmin[Any]]]:
    """Return the model admins of this package."""
    registered = admin.site._registry.items()
    return [item for item in registered if item[0]._meta.app_label == "filestack_tags"]


def standard_pages(rows: dict[type[Model], Model]) -> dict[str, str]:
    """Return list, change and history page of every screen, by a name for each."""
    pages = {}
    for model, _screen in screens():
        name = str(model._meta.model_name)
        pages[name] = reverse(f"admin:filestack_tags_{name}_changelist")
        for page in ("change", "history"):
            pages[f"{name}-{page}"] = reverse(
                f"admin:filestack_tags_{name}_{page}", args=[rows[model].pk]
            )
    return pages


def own_pages(rows: dict[type[Model], Model]) -> dict[str, str]:
    """Return the pages that Django's admin does not have, and those that add or delete a row."""
    pk = {model._meta.model_name: row.pk for model, row in rows.items()}
    app = reverse("admin:app_list", args=["filestack_tags"])
    paths = {
        "app": "",
        "asset-add": "asset/add/",
        "asset-runs": f"asset/{pk['asset']}/runs/",
        "asset-complete": "asset/complete/?before=an",
        "asset-facets": "asset/facets/?q=animal",
        "upload": "asset/upload/",
        "upload-tags": f"asset/upload/tags/?id={pk['asset']}",
        "review": "asset/review/",
        "review-tag": "asset/review/?tag=animal&low=0&high=100",
        "bulk-ask": "bulkjob/ask/?query=animal",
        "bulk-progress": f"bulkjob/{pk['bulkjob']}/progress/",
        "operations": "heartbeat/operations/",
        "saved-search-add": "savedsearch/add/?query=animal",
        "saved-search-delete": f"savedsearch/{pk['savedsearch']}/delete/",
        "endpoint-add": "outboundendpoint/add/",
        "endpoint-delete": f"outboundendpoint/{pk['outboundendpoint']}/delete/",
        "never-show": "tag/never-show/",
        "minimum": "tag/minimum/?minimum=40",
        "sensitive": "tag/sensitive/",
        "tag-merge": f"tag/{pk['tag']}/merge/?target=dog",
        "tag-threshold": f"tag/{pk['tag']}/threshold/?minimum=40",
    }
    return {name: f"{app}{path}" for name, path in paths.items()}
