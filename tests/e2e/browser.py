"""The browser: Debian's Chromium, and errors that must not happen in it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)

from .site import Site

HEADLESS_SHELL = "/usr/lib/chromium/chromium-headless-shell"
NAMES = (HEADLESS_SHELL, "chromium", "chromium-browser", "google-chrome")
"""The first needs a fifth less processor time, as it has no windows. Its path, because Debian's
script of that name is not replaced by the program, which would outlive it.
"""

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TIMEOUT = 10_000
"""Timeout in milliseconds for something that should be on a page."""

NOT_OURS = {"label-title-only": {"enabled": False}}
"""Rules of axe that Django's own pages violate: its searches have a magnifying glass as label."""

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


class NoBrowser(Exception):
    """There is no Chromium on this machine."""


@dataclass(frozen=True)
class Look:
    """The width of the window, and the color scheme."""

    width: int = 1440
    scheme: str = "light"

    @property
    def height(self) -> int:
        return 900 if self.width > 767 else 860

    def __str__(self) -> str:
        return f"{self.width}-{self.scheme}"


LOOKS = [Look(width, scheme) for width in (1440, 400) for scheme in ("light", "dark")]


def executable() -> str:
    """Return the path of Chromium.

    Raises:
        NoBrowser: when it is not installed.
    """
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        raise NoBrowser(
            "The browser tests need Chromium: install it (on Debian: apt-get install chromium), "
            "or say where it is with CHROMIUM=/path/to/chromium."
        )
    return path


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser.

    Raises:
        NoBrowser: when it is not installed.
    """
    path = executable()
    expect.set_options(timeout=TIMEOUT)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def page_in(browser: Browser, look: Look, site: Site, complaints: list[str]) -> Iterator[Page]:
    """Open a separate window; errors in it are added to ``complaints``."""
    context = browser.new_context(
        base_url=site.url,
        viewport={"width": look.width, "height": look.height},
        color_scheme="dark" if look.scheme == "dark" else "light",
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="UTC",
    )
    context.set_default_timeout(TIMEOUT)
    page = context.new_page()
    _listen(page, site, complaints)
    yield page
    context.close()


def _listen(page: Page, site: Site, complaints: list[str]) -> None:
    known = (site.url, site.filestack, "data:", "blob:")

    def said(message: ConsoleMessage) -> None:
        # Violations of the policy are reported here, too.
        where = message.location.get("url", "")
        # The browser requests an icon automatically.
        if message.type in ("error", "warning") and not where.endswith("/favicon.ico"):
            complaints.append(f"{page.url}: console: {message.text} {_unsigned(where)}")

    def asked(request: Request) -> None:
        if not request.url.startswith(known):
            complaints.append(f"{page.url}: asks another site: {request.url}")

    def answered(response: Response) -> None:
        if response.status >= 500:
            complaints.append(f"{page.url}: {response.status} of {response.url}")

    page.on("console", said)
    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
    page.on("request", asked)
    page.on("response", answered)


def serious_violations(page: Page) -> list[str]:
    """Return axe's findings on the page that keep people from using it."""
    # Colors of links and boxes fade. An animation that is cut short counts as finished.
    page.evaluate("Promise.allSettled(document.getAnimations().map(each => each.finished))")
    # Not "preload": for a style sheet that imports another, such as that of Django's forms, axe
    # would create an inline one, which the policy rejects.
    options = {"resultTypes": ["violations"], "rules": NOT_OURS, "preload": False}
    found = Axe().run(page, options=options)
    return [
        f"{violation['id']} ({violation['impact']}): {violation['help']}: {node['html'][:200]}"
        for violation in found.response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


def tab_to(page: Page, control: Locator, *, most: int = 120) -> None:
    """Press Tab until ``control`` has the focus, as keyboard users do."""
    expect(control).to_be_visible()
    page.wait_for_load_state("domcontentloaded")
    for _ in range(most):
        page.keyboard.press("Tab")
        if control.evaluate("control => control === document.activeElement"):
            return
    raise AssertionError(f"Tab does not reach {control} within {most} steps.")


def press(page: Page, key: str) -> None:
    """Press one of our own keys, once the page's scripts listen for it.

    After a navigation the heading is visible before that.
    """
    page.wait_for_load_state("domcontentloaded")
    page.keyboard.press(key)


def look_at(page: Page, name: str, look: Look) -> None:
    """Fail for axe's findings, light and dark, or for a page wider than its window.

    A picture of each is kept; see :func:`keep_picture`.
    """
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.evaluate("Promise.all(document.getAnimations().map(each => each.finished))")
        keep_picture(page, name, replace(look, scheme=scheme))
        found = serious_violations(page)
        assert not found, f"{name}, {scheme}:\n" + "\n".join(found)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= look.width, f"{name} is {width} px wide in a window of {look.width} px"
    page.emulate_media(color_scheme="dark" if look.scheme == "dark" else "light")


def keep_picture(page: Page, name: str, look: Look) -> None:
    """Write a picture of the page into the folder ``SCREENSHOTS``, if that is set.

    ``docs/images`` only contains pictures that the documents show.
    """
    if not (folder := os.environ.get("SCREENSHOTS")):
        return
    variant = ("" if look.width == 1440 else f"-{look.width}") + (
        "" if look.scheme == "light" else f"-{look.scheme}"
    )
    path = (ROOT / folder / f"{name}{variant}.png").resolve()
    if path.parent == DOCS / "images" and not _is_shown(path):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path)


def _is_shown(path: Path) -> bool:
    shown = f"images/{path.name}"
    return any(shown in each.read_text("utf-8") for each in DOCS.glob("*.md"))


def _unsigned(url: str) -> str:
    return re.sub(r"security=[^/]+", "security=…", url)
