"""Files dropped into the admin: they become assets, and their tags fill in."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, expect

from filestack_tags.models import Asset, WebhookDelivery

from .marks import every_look
from .seeding import PHOTOS, Seed
from .site import Site

UPLOAD = "/admin/filestack_tags/asset/upload/"
TAGGING = 30_000
"""Timeout in milliseconds for tagging real pictures with the local tagger."""


def photos(count: int) -> list[Path]:
    found = sorted(PHOTOS.glob("*.jpg"))[:count]
    assert len(found) == count
    return found


def drop(page: Page, files: list[Path]) -> None:
    """Drop files on the form, as from a file manager."""
    given = [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in files]
    transfer = page.evaluate_handle(
        """(given) => {
          const dropped = new DataTransfer();
          for (const [name, content] of given) {
            const bytes = Uint8Array.from(atob(content), (char) => char.charCodeAt(0));
            dropped.items.add(new File([bytes], name, { type: "image/jpeg" }));
          }
          return dropped;
        }""",
        given,
    )
    for kind in ("dragenter", "dragover", "drop"):
        page.dispatch_event(".fst-drop", kind, {"dataTransfer": transfer})


def fault(site: Site, **rule: Any) -> None:
    httpx2.post(
        f"{site.filestack}/_emulator/faults", json=rule, trust_env=False
    ).raise_for_status()


@pytest.fixture(autouse=True)
def _no_fault_is_left(site: Site) -> Iterator[None]:
    """Remove the faults that a failed test has left for the next."""
    yield
    httpx2.delete(f"{site.filestack}/_emulator/faults", trust_env=False).raise_for_status()


def uploaded() -> list[tuple[str, str, str]]:
    rows = Asset.objects.order_by("filename")
    return [
        (row.filename, row.tagging_state, row.uploader.username if row.uploader else "")
        for row in rows.select_related("uploader")
    ]


def wait_for_the_webhook(page: Page, seed: Seed) -> None:
    """Filestack's event about an upload would create an asset in the next test."""
    for _ in range(TAGGING // 250):
        if seed.database(WebhookDelivery.objects.filter(state="processed").exists):
            return
        page.wait_for_timeout(250)
    raise AssertionError("The webhook of the upload was not processed.")


@every_look
def test_dropped_files_become_assets_and_their_tags_fill_in(
    page: Page,
    login: Callable[[str], None],
    seed: Seed,
    site: Site,
    axe: Callable[[], None],
    screenshot: Callable[[str], None],
    complaints: list[str],
) -> None:
    login("editor")
    page.goto("/admin/filestack_tags/asset/")
    page.get_by_role("link", name="Upload files").first.click()
    expect(page.get_by_text("Allowed types: image/*")).to_be_visible()
    axe()
    files = photos(4)
    fault(site, kind="plain_text", operation="multipart.start", text="no room")

    drop(page, files)

    items = page.locator(".fst-upload")
    expect(items).to_have_count(4)
    failed = page.locator('.fst-upload[data-state="failed"]')
    expect(failed).to_have_count(1)
    expect(failed).to_contain_text(re.compile("Filestack rejected the file .400.: no room"))
    expect(page.locator('.fst-upload[data-state="stored"]')).to_have_count(3)
    axe()
    failed.get_by_role("button", name="Try again").click()
    status = page.get_by_role("status")
    expect(status).to_have_text("4 of 4 stored, 0 failed, 4 tagged.", timeout=TAGGING)
    expect(page.locator(".fst-upload .fst-tag").first).to_be_visible()
    axe()
    screenshot("upload")

    assert seed.database(uploaded) == [(path.name, "tagged", "editor") for path in files]
    assert all("400" in each for each in complaints)  # the browser reports the fault
    complaints.clear()


def test_everything_is_done_by_keyboard(
    page: Page, login: Callable[[str], None], seed: Seed, site: Site, complaints: list[str]
) -> None:
    login("editor")
    # Registered early: Playwright does not wait until it can report choosers.
    page.on("filechooser", lambda asked: None)
    page.goto(UPLOAD)
    fault(site, kind="plain_text", operation="multipart.start")
    chooser = page.get_by_label("Drop files here or choose them")
    expect(chooser).to_be_visible()  # a hidden element gets no focus
    chooser.focus()
    with page.expect_file_chooser() as asked:
        page.keyboard.press("Enter")
    asked.value.set_files(photos(1)[0])

    again = page.get_by_role("button", name="Try again")
    expect(again).to_be_visible()
    chooser.focus()
    page.keyboard.press("Tab")
    expect(again).to_be_focused()
    page.keyboard.press("Enter")

    expect(page.locator('.fst-upload[data-state="stored"]')).to_have_count(1)
    # The button is gone; the focus is now on the file.
    assert page.evaluate("document.activeElement.closest('.fst-upload') !== null")
    complaints.clear()
    wait_for_the_webhook(page, seed)


def test_an_upload_is_cancelled_and_sent_again(
    page: Page, login: Callable[[str], None], seed: Seed, site: Site
) -> None:
    login("editor")
    page.goto(UPLOAD)
    fault(site, kind="slow", operation="multipart.upload", seconds=3)
    page.locator("input[type=file]").set_input_files(photos(1)[0])

    page.get_by_role("button", name="Cancel").click()

    expect(page.locator('.fst-upload[data-state="cancelled"]')).to_have_count(1)
    assert seed.database(uploaded) == []
    page.get_by_role("button", name="Try again").click()
    expect(page.locator('.fst-upload[data-state="stored"]')).to_have_count(1)
    assert len(seed.database(uploaded)) == 1
    wait_for_the_webhook(page, seed)


def test_what_is_not_taken_is_said_before_a_byte_is_sent(
    page: Page, login: Callable[[str], None], seed: Seed, tmp_path: Path
) -> None:
    text, empty = tmp_path / "notes.txt", tmp_path / "empty.jpg"
    text.write_text("no preview")
    empty.touch()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    login("editor")
    page.goto(UPLOAD)

    page.locator("input[type=file]").set_input_files([text, empty])

    items = page.locator('.fst-upload[data-state="rejected"]')
    expect(items.nth(0)).to_contain_text("Files of this type are not allowed.")
    expect(items.nth(1)).to_contain_text("The file is empty.")
    assert not [url for url in asked if url.endswith("/permit/") or "multipart" in url]


def test_a_session_that_ended_is_said(
    page: Page, login: Callable[[str], None], complaints: list[str]
) -> None:
    login("editor")
    page.goto(UPLOAD)
    page.context.clear_cookies()

    page.locator("input[type=file]").set_input_files(photos(1)[0])

    expect(page.locator('.fst-upload[data-state="failed"]')).to_contain_text(
        "Your session has expired"
    )
    complaints.clear()


def test_without_javascript_it_offers_the_form(
    page: Page, login: Callable[[str], None], site: Site
) -> None:
    login("editor")
    cookies = page.context.cookies()
    assert page.context.browser is not None
    context = page.context.browser.new_context(base_url=site.url, java_script_enabled=False)
    context.add_cookies(cookies)  # type: ignore[arg-type]  # accepts what cookies() returns
    plain = context.new_page()

    plain.goto(UPLOAD)

    # By its class: Playwright does not search texts within <noscript>.
    expect(plain.locator(".errornote")).to_be_visible()
    expect(plain.locator("#fst-upload")).to_be_hidden()
    plain.locator(".errornote a").click()
    expect(plain.get_by_label("reference")).to_be_visible()
    context.close()
