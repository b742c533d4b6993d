"""Logging in, and the list of assets."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from .marks import every_look
from .people import PASSWORD
from .seeding import Seed


@every_look
def test_an_editor_logs_in_and_sees_the_assets(
    page: Page, seed: Seed, axe: Callable[[], None]
) -> None:
    seed.photo("cat", {"cat": 93, "animal": 80})
    seed.photo("dogs", {"dog": 97, "animal": 91})
    page.goto("/admin/filestack_tags/asset/")
    page.get_by_label("Username").fill("editor")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("link", name="cat.jpg")).to_be_visible()
    expect(page.get_by_role("link", name="dogs.jpg")).to_be_visible()
    axe()


def test_the_strict_policy_is_in_force(page: Page, complaints: list[str]) -> None:
    page.goto("/admin/login/")
    page.evaluate("document.body.setAttribute('style', 'color: red')")
    page.evaluate("document.body.appendChild(document.createElement('script')).text = '1'")
    page.evaluate("fetch('http://example.invalid/').catch(() => null)")
    refused = ["Applying inline style", "Executing inline script", "Connecting to"]
    assert [each for each in refused if any(each in said for said in complaints)] == refused
    complaints.clear()
