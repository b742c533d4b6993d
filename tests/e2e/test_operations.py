"""On call: problems are seen, understood and fixed on one page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from django.utils import timezone
from playwright.sync_api import Page, expect

from filestack_tags.curation import bulk
from filestack_tags.models import Asset, Circuit, WebhookDelivery
from filestack_tags.operations import heartbeat
from filestack_tags.testing.payloads import fp_delete

from .marks import both_widths
from .seeding import Seed

PAGE = "/admin/filestack_tags/heartbeat/operations/"


def _finish_scheduled_tasks() -> None:
    for name in ("sweep", "refresh_statistics", "prune"):
        heartbeat.beat(name)


def _trouble() -> None:
    now = timezone.now()
    Circuit.objects.create(
        tagger="workflow",
        opened_at=now,
        retry_at=now,
        error_code="access_denied",
        reason="Filestack refused run_workflow (HTTP 403). Check the app's security settings.",
    )
    for number, code in enumerate(["file_not_found"] * 3 + ["workflow_failed"]):
        Asset.objects.create(
            kind="handle",
            reference=f"gone{number}",
            digest=f"gone{number}",
            filename=f"gone{number}.jpg",
            tagging_state="failed",
            error_code=code,
        )
    for number in range(2):
        WebhookDelivery.objects.create(
            event_key=f"broken{number}",
            action="fp.delete",
            raw_body=json.dumps(fp_delete(f"gone{number}")).encode(),
            state="failed",
            due_at=None,
            error_code="OperationalError",
            error="django.db.utils.OperationalError: server closed the connection",
            processed_at=now,
        )
    bulk.create(bulk.BulkRequest("export", format="csv"), user=None)


def _open_circuits() -> int:
    return Circuit.objects.exclude(opened_at=None).count()


def _failed() -> int:
    return WebhookDelivery.objects.filter(state="failed").count()


@both_widths
def test_trouble_is_mended_by_keys_alone(
    page: Page, login: Callable[[str], None], seed: Seed, screen: Callable[[str], None]
) -> None:
    seed.database(_finish_scheduled_tasks)
    seed.database(_trouble)
    login("admin")
    page.goto("/admin/filestack_tags/")
    page.get_by_role("link", name="Operations: status and problems").press("Enter")
    expect(page.get_by_role("heading", name="3 problems need attention")).to_be_visible()
    screen("operations")
    page.locator("#deliveries").evaluate("(part) => part.scrollIntoView()")
    screen("operations-reasons")

    page.get_by_role("button", name="Resume calls to workflow now").press("Enter")
    expect(page.get_by_text("Calls to workflow were resumed.")).to_be_visible()
    assert seed.database(_open_circuits) == 0

    page.get_by_role(
        "button", name="Replay all deliveries that failed with OperationalError"
    ).press("Enter")
    expect(page.get_by_role("heading", name="Replay deliveries?")).to_be_visible()
    screen("operations-replay")
    page.get_by_role("button", name="Yes, replay them").press("Enter")
    expect(page.get_by_text("2 deliveries are being replayed.")).to_be_visible()
    expect(page.get_by_role("heading", name="1 problem needs attention")).to_be_visible()
    assert seed.database(_failed) == 0

    page.get_by_role("link", name="Re-tag all assets that failed with workflow_failed").press(
        "Enter"
    )
    expect(page.get_by_label("Search")).to_have_value("status:failed error:workflow_failed")
    expect(page.get_by_label("Action")).to_have_value("retag")


def test_the_page_keeps_itself_up_to_date_and_the_focus_where_it_is(
    page: Page, login: Callable[[str], None], seed: Seed, axe: Callable[[], None]
) -> None:
    seed.database(_finish_scheduled_tasks)
    login("admin")
    page.clock.install()
    page.goto(PAGE)
    expect(page.get_by_role("heading", name="Everything is running normally")).to_be_visible()
    axe()
    seed.database(_trouble)
    page.clock.run_for(11_000)
    expect(page.get_by_role("heading", name="3 problems need attention")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("3 problems need attention")
    button = page.get_by_role("button", name="Resume calls to workflow now")
    button.focus()
    seed.database(_heal)
    page.clock.run_for(11_000)
    expect(page.get_by_role("heading", name="2 problems need attention")).to_be_visible()
    expect(button).to_be_focused()
    page.get_by_label(re.compile("Refresh every")).uncheck()
    seed.database(Asset.objects.all().delete)
    page.clock.run_for(30_000)
    expect(page.get_by_role("heading", name="2 problems need attention")).to_be_visible()


def _heal() -> None:
    WebhookDelivery.objects.all().delete()


def test_what_cannot_be_refreshed_is_said(
    page: Page, login: Callable[[str], None], seed: Seed, complaints: list[str]
) -> None:
    seed.database(_finish_scheduled_tasks)
    login("admin")
    page.clock.install()
    page.goto(PAGE)
    page.context.set_offline(True)
    page.clock.run_for(11_000)
    expect(page.get_by_role("status")).to_contain_text("could not be refreshed")
    page.context.set_offline(False)
    complaints.clear()


def test_without_javascript_the_page_is_whole(
    page: Page, login: Callable[[str], None], seed: Seed
) -> None:
    seed.database(_finish_scheduled_tasks)
    seed.database(_trouble)
    login("viewer")
    page.route(
        "**/operations.js", lambda route: route.fulfill(body="", content_type="text/javascript")
    )
    page.goto(PAGE)
    expect(page.get_by_role("heading", name="3 problems need attention")).to_be_visible()
    expect(page.get_by_role("button", name="Resume calls to workflow now")).to_have_count(0)
    page.get_by_role("link", name="Reload").click()
    expect(page.get_by_role("heading", name="3 problems need attention")).to_be_visible()


def test_a_refresh_waits_while_a_button_is_pressed(
    page: Page, login: Callable[[str], None], seed: Seed
) -> None:
    login("admin")
    page.goto(PAGE, wait_until="networkidle")
    page.evaluate("() => { document.querySelector('[data-fst-ops]').dataset.former = ''; }")
    former = page.locator("[data-fst-ops][data-former]")
    refresh = "() => document.dispatchEvent(new Event('visibilitychange'))"
    page.locator("[data-fst-ops] h2").first.hover()
    page.mouse.down()
    page.evaluate(refresh)
    page.wait_for_timeout(1500)
    expect(former).to_have_count(1)
    page.mouse.up()
    page.evaluate(refresh)
    expect(former).to_have_count(0)
