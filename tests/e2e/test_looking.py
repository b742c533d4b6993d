"""A read-only user: every screen is available, without any controls that write."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.utils import timezone
from playwright.sync_api import Page, expect

from filestack_tags import curation
from filestack_tags.curation import bulk, merging
from filestack_tags.models import (
    Asset,
    BulkJob,
    OutboundEndpoint,
    OutboundMessage,
    Tag,
    TagDecision,
    TaggingRun,
)

from .marks import both_widths
from .people import User
from .seeding import Seed

APP = "/admin/filestack_tags/"
WRITES = (
    "form[method=post]:not(#logout-form) "
    ":is(button, input:not([type=hidden]), select, textarea)"
)
"""Controls that could send something, except for logging out."""

EXPORT = "form#changelist-form:has(option[value=in_bulk])"
"""The list of assets, whose only action for read-only users is to export what they see."""

LEADS = "a[href*='/add/'], a[href$='/upload/'], a[href$='/merge/'], a[href$='/never-show/']"
"""Links to pages for users with write permissions."""


def _furnish() -> list[str]:
    """Create a row for every screen; return their URLs."""
    editor = User.objects.get(username="editor")
    asset = Asset.objects.order_by("pk").first()
    assert asset is not None
    tags = {tag.key: tag.pk for tag in Tag.objects.all()}
    curation.accept(asset.pk, tags["cat"], user=editor)
    merge = merging.start(tags["kitty"], tags["cat"], user=editor)
    assert merging.work(merge.pk)
    job, _ = bulk.create(bulk.BulkRequest(action="add_tag", tag="new"), user=editor)
    # The worker, which polls once a minute, would end it while its page is tested.
    BulkJob.objects.filter(pk=job.pk).update(due_at=timezone.now() + timedelta(days=1))
    run = TaggingRun.objects.latest("pk")
    decision = TagDecision.objects.latest("pk")
    endpoint = OutboundEndpoint.objects.create(
        url="https://example.com/hook", events=["tag.decided"], is_active=False
    )
    message = OutboundMessage.objects.create(
        endpoint=endpoint, event="tag.decided", body="{}", state="sent", due_at=None
    )
    return [
        "",
        "asset/",
        "asset/?view=table",
        "asset/?presence=archived",
        f"asset/{asset.pk}/change/",
        f"asset/{asset.pk}/runs/",
        "asset/review/",
        "asset/review/?tag=animal&low=0&high=100&at_least=50",
        "tag/",
        f"tag/{tags['cat']}/change/",
        f"tag/{tags['cat']}/threshold/",
        "tag/sensitive/",
        "tagmerge/",
        f"tagmerge/{merge.pk}/change/",
        "tagdecision/",
        f"tagdecision/{decision.pk}/change/",
        "taggingrun/",
        f"taggingrun/{run.pk}/change/",
        "webhookdelivery/",
        "bulkjob/",
        f"bulkjob/{job.pk}/change/",
        "circuit/",
        "dailyusage/",
        "heartbeat/",
        "heartbeat/operations/",
        "backfill/",
        "savedsearch/",
        "modelfile/",
        "outboundendpoint/",
        f"outboundendpoint/{endpoint.pk}/change/",
        "outboundmessage/",
        f"outboundmessage/{message.pk}/change/",
    ]


@both_widths
def test_who_may_only_look_sees_every_screen_and_no_controls(
    page: Page, login: Callable[[str], None], seed: Seed, axe: Callable[[], None]
) -> None:
    seed.photo("cat", {"cat": 97, "kitty": 64, "animal": 62, "woman": 50})
    seed.photo("dogs", {"dog": 98, "animal": 55})
    login("viewer")
    for path in seed.database(_furnish):
        answer = page.goto(f"{APP}{path}")
        assert answer is not None
        assert answer.status == 200, path
        expect(page.locator("h1")).to_have_count(1)
        actions = page.locator(f"{EXPORT} select[name=action] option:not([value=''])")
        assert {each.get_attribute("value") for each in actions.all()} <= {"in_bulk"}
        offered = page.locator(f"{WRITES}, {LEADS}").evaluate_all(
            "(found, ours) => found.filter(each => !each.closest(ours)).map(e => e.outerHTML)",
            EXPORT,
        )
        assert not offered, f"{path}: {offered}"
        axe()
