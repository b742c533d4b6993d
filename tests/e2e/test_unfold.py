"""Our screens with django-unfold, which replaces Django's templates and style sheets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page

from filestack_tags.curation import bulk
from filestack_tags.models import Asset, BulkJob, Tag
from tests.admin.everything import make_everything, own_pages, standard_pages

from .browser import Look, serious_violations
from .marks import every_look
from .seeding import Seed

APP = "/admin/filestack_tags/"

THEMES_OWN = 'id="link-'
"""In the links of its menu; in 0.110 the current one has too little contrast in the dark scheme."""


def _furnish() -> dict[str, str]:
    asset, tag = Asset.objects.latest("pk"), Tag.objects.get(key="animal")
    job, _created = bulk.create(bulk.BulkRequest(action="add_tag", tag="new"), user=None)
    # The worker, which polls once a minute, would end it while its page is tested.
    BulkJob.objects.filter(pk=job.pk).update(due_at=timezone.now() + timedelta(days=1))
    return {
        "app": "",
        "asset-browser": "asset/?q=animal",
        "asset-table": "asset/?view=table",
        "asset-page": f"asset/{asset.pk}/change/",
        "runs": f"asset/{asset.pk}/runs/",
        "upload": "asset/upload/",
        "review": "asset/review/?tag=animal&low=0&high=100",
        "bulk-ask": "bulkjob/ask/?query=animal",
        "bulk-job": f"bulkjob/{job.pk}/change/",
        "operations": "heartbeat/operations/",
        "tag-list": "tag/",
        "tag": f"tag/{tag.pk}/change/",
        "tag-merge": f"tag/{tag.pk}/merge/?target=cat",
        "tag-threshold": f"tag/{tag.pk}/threshold/",
        "sensitive-labels": "tag/sensitive/",
        "never-show": "tag/never-show/",
    }


@every_look
def test_every_screen_stands_under_the_theme(
    page: Page,
    login: Callable[[str], None],
    seed: Seed,
    look: Look,
    screenshot: Callable[[str], None],
    complaints: list[str],
) -> None:
    seed.photo("dogs", {"dog": 98, "animal": 55})
    seed.photo("cat", {"cat": 97, "animal": 62, "woman": 50})
    login("admin")
    for name, path in seed.database(_furnish).items():
        answer = page.goto(f"{APP}{path}", wait_until="networkidle")
        assert answer is not None
        assert answer.status == 200, path
        screenshot(f"unfold-{name}")
        found = [each for each in serious_violations(page) if THEMES_OWN not in each]
        assert not found, "\n".join(found)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= look.width, f"{name} is {width} px wide in a window of {look.width} px"


def _every_page() -> dict[str, str]:
    rows = make_everything(User.objects.get(username="admin"))
    return {**standard_pages(rows), **own_pages(rows)}


def test_every_page_of_the_admin_opens_under_the_theme(
    page: Page, login: Callable[[str], None], seed: Seed, complaints: list[str]
) -> None:
    login("admin")
    pages = seed.database(_every_page)
    assert len(pages) > 50
    answers = {}
    for name, url in pages.items():
        answer = page.goto(url)
        answers[name] = answer.status if answer else None
    assert {name: status for name, status in answers.items() if status != 200} == {}
    # Filestack has no pictures of these assets.
    complaints[:] = [each for each in complaints if "/thumbnail/" not in each]
