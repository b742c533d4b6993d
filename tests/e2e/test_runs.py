"""The reply of a tagging run, compared with another one."""

from __future__ import annotations

from collections.abc import Callable

from django.utils import timezone
from playwright.sync_api import Page, expect

from filestack_tags.models import Asset, TaggingRun
from filestack_tags.tagging import results
from filestack_tags.tagging.taggers import TaggerReply, TagScore

from .browser import tab_to
from .marks import both_widths
from .seeding import Seed

ASSETS = "/admin/filestack_tags/asset/"
TAGGING = 30_000
"""Timeout in milliseconds for tagging a real picture with the local tagger."""


def _tag_as_before(asset: Asset) -> None:
    """Create an old run, with a reply in Filestack's format."""
    run = TaggingRun.objects.create(
        asset=asset,
        tagger="filestack",
        trigger=TaggingRun.Trigger.UPLOAD,
        content_version=asset.content_version,
    )
    reply = TaggerReply(
        (TagScore("kitten", 77), TagScore("cat", 12)),
        raw='{"tags": {"auto": {"kitten": 77, "cat": 12}, "user": null}}',
        status=200,
    )
    results.apply(run.pk, reply, result_at=timezone.now())


@both_widths
def test_a_new_run_is_compared_with_the_one_before(
    page: Page, login: Callable[[str], None], seed: Seed, screen: Callable[[str], None]
) -> None:
    cat = seed.photo("cat")
    seed.database(_tag_as_before, cat)
    login("admin")  # raw replies require search_hidden
    page.goto(f"{ASSETS}{cat.pk}/change/")
    tab_to(page, page.get_by_role("button", name="Re-tag"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 asset queued.")).to_be_visible()
    for _ in range(TAGGING // 500):
        if seed.database(_states) == ["succeeded", "succeeded"]:
            break
        page.wait_for_timeout(500)
    page.goto(f"{ASSETS}{cat.pk}/change/")
    tab_to(page, page.get_by_role("link", name="Compare runs"))
    page.keyboard.press("Enter")
    changes = page.get_by_role("region", name="From filestack #1 to filestack #2").get_by_role(
        "row"
    )
    expect(changes.filter(has_text="kitten")).to_have_text(
        "kitten removed 77 –", use_inner_text=True
    )
    expect(changes.filter(has_text="added").first).to_be_visible()
    expect(page.locator("pre").filter(has_text='"kitten": 77')).to_be_visible()
    for secret in ("security=", "policy", "signature"):
        assert secret not in page.content()
    screen("run-comparison")
    page.get_by_label("as the earlier run").first.check()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_text("added")).to_have_count(0)


def _states() -> list[str]:
    return list(TaggingRun.objects.values_list("state", flat=True))
