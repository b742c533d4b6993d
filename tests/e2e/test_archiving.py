"""Archiving files, and restoring them with everything that was known of them."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from .browser import tab_to
from .marks import both_widths
from .seeding import Seed

LIST = "/admin/filestack_tags/asset/"


@both_widths
def test_assets_are_archived_after_a_question_and_restored(
    page: Page, login: Callable[[str], None], seed: Seed, screen: Callable[[str], None]
) -> None:
    seed.photo("cat", {"cat": 97}, {"mine": 80})
    seed.photo("dogs", {"dog": 98})
    login("editor")
    page.goto(f"{LIST}?q=cat", wait_until="networkidle")
    page.locator("input.action-select").check()
    page.get_by_label("Action:").select_option("Archive selected assets")
    page.locator("button[name=index]").click()
    screen("archive")
    page.get_by_role("button", name="Yes, archive them").click()
    expect(page.get_by_text("1 asset archived.")).to_be_visible()
    page.goto(LIST)
    expect(page.get_by_role("link", name="dogs.jpg")).to_be_visible()
    expect(page.get_by_role("link", name="cat.jpg")).to_have_count(0)
    page.goto(f"{LIST}?presence=archived")
    page.get_by_role("link", name="cat.jpg").click()
    expect(page.get_by_text("Searches do not find this asset")).to_be_visible()
    screen("asset-archived")
    page.get_by_role("button", name="Restore").click()
    expect(page.get_by_text("1 asset restored.")).to_be_visible()
    page.goto(f"{LIST}?q=mine")
    expect(page.get_by_role("link", name="cat.jpg")).to_be_visible()


def test_an_asset_is_archived_by_the_keyboard_alone(
    page: Page, login: Callable[[str], None], seed: Seed
) -> None:
    cat = seed.photo("cat", {"cat": 97})
    login("editor")
    page.goto(f"{LIST}{cat.pk}/change/")
    tab_to(page, page.get_by_role("button", name="Archive"))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("button", name="Yes, archive them"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 asset archived.")).to_be_visible()
    expect(page.get_by_text("There are no assets yet.")).to_be_visible()
