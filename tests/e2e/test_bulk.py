"""Changing and exporting everything that a search finds, with jobs of the worker."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from playwright.sync_api import Page, Route, expect

from filestack_tags.assets import registry
from filestack_tags.curation import bulk
from filestack_tags.models import Asset, AssetTag, BulkJob, TaggingRun

from .browser import tab_to
from .marks import both_widths
from .people import PASSWORD
from .seeding import Seed

LIST = "/admin/filestack_tags/asset/"
IN_BULK = "Change or export selected assets in a bulk job"
JOB_TIME = 30_000
"""Timeout in milliseconds for the worker to finish a job."""


def choose_all_that_match(page: Page, search: str, total: str) -> None:
    """Go from the list to the form of a bulk job, for all pages of a search."""
    open_list(page, search)
    page.locator("#action-toggle").check()
    page.get_by_role("button", name=f"Select all {total} assets").click()
    run_in_bulk(page)
    expect(page.get_by_label("Search")).to_have_value(search)


def open_list(page: Page, search: str = "") -> None:
    """Open the list, and wait for the tags above it, which move the content below."""
    page.goto(f"{LIST}?q={search}", wait_until="networkidle")


def run_in_bulk(page: Page) -> None:
    page.get_by_label("Action:").select_option(IN_BULK)
    page.locator("button[name=index]").click()


def ask(page: Page, action: str, **said: str) -> None:
    page.get_by_label("Action").select_option(label=action)
    for label, value in said.items():
        box = page.get_by_label(label)
        if box.evaluate("box => box.tagName") == "SELECT":
            box.select_option(label=value)
        else:
            box.fill(value)
    page.get_by_role("button", name="Preview").click()


def hold_until_the_page_knows_of_the_end(page: Page, place: str, seed: Seed) -> None:
    """End the job when the page requests ``place``, after it has received the end."""

    def hold(request: Route) -> None:
        seed.database(lambda: bulk.cancel(BulkJob.objects.get().pk))
        time.sleep(4)  # the page polls every 1.5 seconds, which cannot be observed here
        request.continue_()

    page.route(place, hold)


def expect_end(page: Page, state: str, text: str) -> None:
    expect(page.locator("[data-fst=state_text]")).to_have_text(state, timeout=JOB_TIME)
    expect(page.locator("[data-fst=text]")).to_have_text(text)


def _having(tag: str) -> dict[int, int]:
    rows = AssetTag.objects.filter(tag__key=tag).values_list("asset_id", "decision")
    return dict(rows)


@both_widths
def test_all_that_match_are_tagged_by_a_job_and_that_is_undone(
    page: Page, login: Callable[[str], None], seed: Seed, screen: Callable[[str], None]
) -> None:
    seed.papers(60, "letter")
    login("editor")
    choose_all_that_match(page, "letter", "60")
    ask(page, "Add a tag", Tag="archive")
    expect(page.get_by_text("60 assets match.")).to_be_visible()
    expect(page.get_by_text("You can undo the job.")).to_be_visible()
    screen("bulk-ask")
    page.get_by_role("button", name="Start job").click()
    expect_end(page, "finished", "60 of 60")
    screen("bulk-job")
    assert set(seed.database(_having, "archive").values()) == {AssetTag.Decision.ADDED}
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Undo #1 (add a tag: archive)")).to_be_visible()
    expect_end(page, "finished", "60 of 60")
    assert seed.database(_having, "archive") == {}
    page.goto("/admin/filestack_tags/bulkjob/")
    expect(page.locator("#result_list tbody tr")).to_have_count(2)
    screen("bulk-jobs")


def test_a_tag_is_rejected_everywhere_by_the_keyboard_alone(
    page: Page, login: Callable[[str], None], seed: Seed
) -> None:
    seed.papers(3, "letter")
    login("editor")
    open_list(page, "letter")
    tab_to(page, page.locator("#action-toggle"))
    page.keyboard.press("Space")
    tab_to(page, page.get_by_label("Action:"))
    page.keyboard.type("Change or export")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/bulkjob/ask/**")
    tab_to(page, page.get_by_label("Action"))
    page.keyboard.type("Reject")
    tab_to(page, page.get_by_label("Tag"))
    page.keyboard.type("letter")
    page.keyboard.press("Enter")
    expect(page.get_by_text("3 assets match.")).to_be_visible()
    tab_to(page, page.get_by_role("button", name="Start job"))
    page.keyboard.press("Enter")
    expect_end(page, "finished", "3 of 3")
    assert set(seed.database(_having, "letter").values()) == {AssetTag.Decision.REJECTED}


@both_widths
def test_a_job_says_how_far_it_is_until_it_is_cancelled(
    page: Page,
    login: Callable[[str], None],
    seed: Seed,
    screen: Callable[[str], None],
    tasks_held: Callable[[], AbstractContextManager[None]],
) -> None:
    seed.papers(900)
    login("editor")
    choose_all_that_match(page, "", "900")
    ask(page, "Add a tag", Tag="archive")
    with tasks_held():
        page.get_by_role("button", name="Start job").click()
        expect(page.locator("[data-fst=text]")).to_have_text("0 of 900")
        job = seed.database(BulkJob.objects.get)
        seed.database(bulk.step, job.pk)
        expect(page.locator("[data-fst=text]")).to_have_text("450 of 900")
        expect(page.locator("[data-fst=changed]")).to_have_text("450")
        screen("bulk-job-running")
        page.get_by_role("button", name="Cancel job").click()
        expect(
            page.get_by_text("The job was canceled. Completed changes are kept.")
        ).to_be_visible()
    expect_end(page, "canceled", "450 of 900")
    page.get_by_role("button", name="Undo").click()
    expect_end(page, "finished", "450 of 450")
    assert seed.database(_having, "archive") == {}


def test_cancelling_without_a_session_leads_to_the_login_and_back_to_the_job(
    page: Page,
    login: Callable[[str], None],
    seed: Seed,
    tasks_held: Callable[[], AbstractContextManager[None]],
    complaints: list[str],
) -> None:
    seed.papers(3)
    login("editor")
    open_list(page)
    page.locator("#action-toggle").check()
    run_in_bulk(page)
    ask(page, "Add a tag", Tag="archive")
    with tasks_held():
        page.get_by_role("button", name="Start job").click()
        expect(page.locator("[data-fst=text]")).to_have_text("0 of 3")
        place = page.url
        page.context.clear_cookies(name="sessionid")
        expect(page.get_by_role("alert")).to_contain_text("Your session has expired")
        page.get_by_role("button", name="Cancel job").click()
        page.get_by_label("Username").fill("editor")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page).to_have_url(place)
        complaints.clear()  # the browser reports the 401
        assert seed.database(BulkJob.objects.get).state == BulkJob.State.WAITING
        page.get_by_role("button", name="Cancel job").click()
        expect(
            page.get_by_text("The job was canceled. Completed changes are kept.")
        ).to_be_visible()
    expect_end(page, "canceled", "0 of 3")
    assert seed.database(_having, "archive") == {}


def test_a_job_that_ends_while_a_button_is_pressed_does_not_lose_what_the_button_says(
    page: Page,
    login: Callable[[str], None],
    seed: Seed,
    tasks_held: Callable[[], AbstractContextManager[None]],
) -> None:
    seed.papers(150)
    login("editor")
    choose_all_that_match(page, "", "150")
    ask(page, "Add a tag", Tag="archive")

    hold_until_the_page_knows_of_the_end(page, "**/cancel/", seed)
    with tasks_held():
        page.get_by_role("button", name="Start job").click()
        expect(page.locator("[data-fst=text]")).to_have_text("0 of 150")
        page.get_by_role("button", name="Cancel job").click()
        expect(page.get_by_text("The job has already finished.")).to_be_visible()


@both_widths
def test_an_asset_that_cannot_be_changed_is_named_with_the_reason(
    page: Page, login: Callable[[str], None], seed: Seed, screen: Callable[[str], None]
) -> None:
    seed.papers(3, "letter")
    first, second = seed.database(lambda: list(Asset.objects.order_by("-pk")[:2]))
    login("editor")
    open_list(page)
    for asset in (first, second):
        row = page.locator("#result_list tbody tr").filter(has_text=asset.filename)
        row.locator("input.action-select").check()
    run_in_bulk(page)
    ask(page, "Add a tag", Tag="archive")
    expect(page.get_by_text("2 assets match.")).to_be_visible()
    seed.database(registry.archive, first.pk)
    page.get_by_role("button", name="Start job").click()
    expect_end(page, "finished", "2 of 2")
    row = page.get_by_role("row").filter(has_text="does not exist or does not match")
    expect(row.get_by_role("cell").first).to_have_text("skipped")
    screen("bulk-job-skipped")
    row.get_by_role("link", name=first.filename).click()
    expect(page.get_by_text("Searches do not find this asset")).to_be_visible()
    assert seed.database(_having, "archive") == {second.pk: AssetTag.Decision.ADDED}


@both_widths
def test_exports_are_downloaded_whole(
    page: Page, login: Callable[[str], None], seed: Seed, tmp_path: Path
) -> None:
    seed.papers(55, "letter")
    seed.asset("formula", {"letter": 80}, filename="=cmd.pdf", mimetype="application/pdf")
    login("editor")
    told = {}
    for kind in ("CSV", "JSON lines"):
        choose_all_that_match(page, "letter", "56")
        ask(page, "Export", Format=kind)
        page.get_by_role("button", name="Start job").click()
        expect_end(page, "finished", "56 of 56")
        with page.expect_download() as download:
            page.get_by_role("link", name="Download").click()
        target = tmp_path / download.value.suggested_filename
        download.value.save_as(target)
        told[target.suffix] = target.read_text("utf-8").splitlines()
    rows = {row["reference"]: row for row in csv.DictReader(told[".csv"])}
    lines = {row["reference"]: row for row in map(json.loads, told[".jsonl"])}
    assert len(rows) == len(lines) == 56
    assert rows["formula"]["filename"] == "'=cmd.pdf"
    assert lines["formula"]["filename"] == "=cmd.pdf"
    assert rows["formula"]["tags"] == "letter 80"


def _finished() -> list[str]:
    runs = TaggingRun.objects.filter(trigger="admin", state=TaggingRun.State.SUCCEEDED)
    return sorted(runs.values_list("tagger", flat=True))


def test_all_that_match_are_tagged_anew_and_by_a_workflow(
    page: Page, login: Callable[[str], None], seed: Seed
) -> None:
    for name in ("cat", "dogs"):
        seed.photo(name, {"photo": 90})
    login("editor")
    for action, taggers in (
        ("Re-tag", ["filestack"] * 2),
        ("Run a workflow", ["filestack"] * 2 + ["workflow"] * 2),
    ):
        open_list(page)
        page.locator("#action-toggle").check()
        run_in_bulk(page)
        ask(page, action)
        expect(page.get_by_text("You cannot undo the job.")).to_be_visible()
        page.get_by_role("button", name="Start job").click()
        expect_end(page, "finished", "2 of 2")
        for _ in range(JOB_TIME // 500):
            if seed.database(_finished) == taggers:
                break
            page.wait_for_timeout(500)
        assert seed.database(_finished) == taggers


def test_enter_after_a_preview_previews_again(
    page: Page, login: Callable[[str], None], seed: Seed
) -> None:
    seed.papers(3, "letter")
    login("editor")
    open_list(page, "letter")
    page.locator("#action-toggle").check()
    run_in_bulk(page)
    ask(page, "Add a tag", Tag="archive")
    expect(page.get_by_text("3 assets match.")).to_be_visible()
    page.get_by_label("Tag").fill("other")
    page.keyboard.press("Enter")
    page.wait_for_load_state("networkidle")
    expect(page.get_by_label("Tag")).to_have_value("other")
    expect(page.get_by_text("The form was changed after the preview")).to_have_count(0)
    assert seed.database(BulkJob.objects.count) == 0
    page.get_by_label("Tag").fill("third")
    page.get_by_role("button", name="Start job").click()
    expect(page.get_by_text("The form was changed after the preview")).to_be_visible()
    assert seed.database(BulkJob.objects.count) == 0
    page.get_by_role("button", name="Start job").click()
    expect_end(page, "finished", "3 of 3")
    assert len(seed.database(_having, "third")) == 3


def test_a_job_that_ends_while_a_link_is_followed_does_not_keep_its_page_from_coming(
    page: Page,
    login: Callable[[str], None],
    seed: Seed,
    tasks_held: Callable[[], AbstractContextManager[None]],
) -> None:
    seed.papers(150)
    login("editor")
    choose_all_that_match(page, "", "150")
    ask(page, "Add a tag", Tag="archive")

    hold_until_the_page_knows_of_the_end(page, "**/bulkjob/", seed)
    with tasks_held():
        page.get_by_role("button", name="Start job").click()
        expect(page.locator("[data-fst=text]")).to_have_text("0 of 150")
        page.locator(".breadcrumbs a[href$='/bulkjob/']").click()
        page.wait_for_url("**/bulkjob/")
