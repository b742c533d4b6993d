"""The asset browser, as an editor uses it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from filestack_tags.curation import tag_editing
from filestack_tags.models import Asset, Tag

from .marks import every_look
from .seeding import Seed

LIST = "/admin/filestack_tags/asset/"

TAGS = {
    "cat": {"cat": 97, "animal": 92, "pet": 88, "whiskers": 71},
    "dogs": {"dog": 98, "animal": 95, "pet": 90, "grass": 55},
    "coffee": {"coffee cup": 93, "drink": 84, "table": 62},
    "mountains": {"mountain": 96, "sky": 91, "snow": 74},
    "forest-stream": {"forest": 94, "water": 90, "sky": 41},
    "pagoda": {"pagoda": 89, "sky": 83, "architecture": 77},
    "dahlia": {"flower": 98, "plant": 93},
    "rocket-launch": {"rocket": 95, "sky": 72, "smoke": 66},
    "astronaut": {"person": 97, "space": 90, "flag": 65},
}


@pytest.fixture
def album(seed: Seed) -> dict[str, Asset]:
    return {name: seed.photo(name, tags) for name, tags in TAGS.items()}


def wait_until_completed(page: Page, text: str) -> None:
    """Wait: the server may use names for a while that it loaded before these tags were created."""
    for _ in range(40):
        found = page.request.get(f"{LIST}complete/", params={"before": text, "after": ""})
        if found.json()["tags"]:
            return
        page.wait_for_timeout(250)
    raise AssertionError(f"No tag completes {text}.")


@every_look
def test_the_browser_shows_pictures_terms_and_tags(
    page: Page,
    login: Callable[[str], None],
    album: dict[str, Asset],
    axe: Callable[[], None],
    screenshot: Callable[[str], None],
) -> None:
    login("editor")
    page.goto(f"{LIST}?q=sky")
    panel = page.locator("details.fst-facets")
    if panel.get_attribute("open") is None:
        panel.locator("summary").click()
    expect(page.get_by_role("link", name="sky 4")).to_be_visible()
    expect(page.locator("#result_list tbody tr")).to_have_count(4)
    for picture in page.locator("img.fst-picture").all():
        picture.scroll_into_view_if_needed()
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    page.evaluate("window.scrollTo(0, 0)")
    axe()
    screenshot("asset-browser")


@every_look
def test_the_table_is_remembered(
    page: Page,
    login: Callable[[str], None],
    album: dict[str, Asset],
    axe: Callable[[], None],
    screenshot: Callable[[str], None],
) -> None:
    login("editor")
    page.goto(LIST)
    page.get_by_role("link", name="Table", exact=True).click()
    expect(page.locator(".fst-table")).to_be_visible()
    page.goto(LIST)
    expect(page.locator(".fst-table")).to_be_visible()
    axe()
    screenshot("asset-table")


@every_look
def test_names_are_completed_by_keyboard_also_after_operators(
    page: Page,
    login: Callable[[str], None],
    album: dict[str, Asset],
    seed: Seed,
    axe: Callable[[], None],
    screenshot: Callable[[str], None],
) -> None:
    coffee = seed.database(Tag.objects.get, key="coffee cup")
    seed.database(tag_editing.set_minimum, coffee.pk, 60)
    login("editor")
    page.goto(LIST)
    box = page.get_by_role("combobox", name="Search")
    box.focus()
    wait_until_completed(page, "coff")
    # At once, so that there is one response and not one for each letter.
    page.keyboard.insert_text("-coff")
    expect(page.get_by_role("option", name="coffee cup")).to_contain_text(
        "at any confidence; minimum 60"
    )
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("option", name="coffee cup")).to_have_attribute(
        "aria-selected", "true"
    )
    axe()
    screenshot("asset-search-completion")
    page.keyboard.press("Enter")
    expect(box).to_have_value('-"coffee cup"')
    page.keyboard.type(" (sky OR an")
    expect(page.get_by_role("option", name="animal")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox")).to_be_hidden()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("option", name="animal")).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.type(")")
    page.keyboard.press("Enter")
    expect(page.locator("#result_list tbody tr")).to_have_count(6)
    chips = page.locator(".fst-chip bdi")
    expect(chips).to_have_text(['-"coffee cup"', "sky OR animal"])
    remove = page.get_by_role("link", name='Remove -"coffee cup"')
    remove.focus()
    page.keyboard.press("Enter")
    expect(chips).to_have_text(["sky OR animal"])
    expect(page.get_by_role("combobox", name="Search")).to_have_value("sky OR animal")


@every_look
def test_an_error_is_marked_under_the_box_and_corrected_by_a_click(
    page: Page,
    login: Callable[[str], None],
    album: dict[str, Asset],
    axe: Callable[[], None],
    screenshot: Callable[[str], None],
) -> None:
    login("editor")
    page.goto(f"{LIST}?q=sky%3D%3E80")
    problem = page.locator(".fst-problem")
    expect(problem.locator("mark")).to_have_text(">")
    expect(page.get_by_role("combobox", name="Search")).to_have_attribute(
        "aria-invalid", "true"
    )
    axe()
    screenshot("asset-search-error")
    problem.get_by_role("link", name="sky>=80").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(2)


def test_a_tag_is_added_excluded_and_made_surer(
    page: Page, login: Callable[[str], None], album: dict[str, Asset]
) -> None:
    login("editor")
    page.clock.install()
    page.goto(LIST)
    box = page.get_by_role("combobox", name="Search")
    page.get_by_role("link", name="sky 4").click()
    expect(box).to_have_value("sky")
    page.get_by_role("link", name="mountain 1").click(modifiers=["Shift"])
    expect(box).to_have_value("sky -mountain")
    exclude = page.get_by_role("link", name="Exclude forest")
    exclude.focus()
    page.keyboard.press("Enter")
    expect(box).to_have_value("sky -mountain -forest")
    slider = page.get_by_role("slider", name="Minimum confidence")
    slider.focus()
    # The slider waits until it rests, regardless of how long the keys take here.
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 2)
    for _ in range(16):
        page.keyboard.press("ArrowRight")
    expect(page.locator(".fst-slider output")).to_have_text("80")
    expect(box).to_have_value("sky -mountain -forest")
    page.clock.resume()
    expect(box).to_have_value("sky>=80 -mountain -forest")
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    page.go_back()
    expect(box).to_have_value("sky -mountain -forest")


def test_a_picture_that_is_gone_leaves_a_frame(
    page: Page, login: Callable[[str], None], seed: Seed, complaints: list[str]
) -> None:
    seed.asset("nothingthere", {"sky": 90}, filename="gone.jpg")
    login("viewer")
    page.goto(LIST)
    expect(page.get_by_text("no preview")).to_be_visible()
    expect(page.get_by_role("link", name="gone.jpg")).to_be_visible()
    assert all("404" in each for each in complaints)
    complaints.clear()


def test_it_works_without_javascript(
    page: Page, login: Callable[[str], None], album: dict[str, Asset]
) -> None:
    login("viewer")
    page.route("**/*.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
    page.goto(LIST)
    page.locator("#searchbar").fill("sky")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(4)
    page.locator("details.fst-facets summary").click()
    page.get_by_role("link", name="Show the most frequent tags").click()
    page.get_by_role("link", name="Exclude mountain").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(3)
    page.locator("#fst-at-least").fill("80")
    page.get_by_role("button", name="Apply", exact=True).click()
    expect(page.locator("#searchbar")).to_have_value("sky>=80 -mountain")


@pytest.mark.parametrize("name", ["viewer", "editor"])
def test_a_viewer_may_export_and_gets_no_other_action(
    page: Page, login: Callable[[str], None], album: dict[str, Asset], name: str
) -> None:
    login(name)
    page.goto(LIST)
    expect(page.locator("input.action-select")).to_have_count(len(TAGS))
    # Exporting is the only action that requires no permission except viewing.
    others = page.locator("select[name=action] option:not([value='']):not([value=in_bulk])")
    if name == "viewer":
        expect(others).to_have_count(0)
    else:
        expect(others.filter(has_text="tag").first).to_be_attached()


def test_a_name_that_is_marked_stays_marked_while_the_list_is_asked_for_again(
    page: Page, login: Callable[[str], None], album: dict[str, Asset]
) -> None:
    login("editor")
    page.goto(LIST)
    box = page.get_by_role("combobox", name="Search")
    box.focus()
    page.keyboard.type("cof")
    option = page.get_by_role("option", name="coffee cup")
    expect(option).to_be_visible()
    held: list[Route] = []
    page.route(lambda url: "before=coff" in url, lambda route: held.append(route))
    with page.expect_request(lambda request: "before=coff" in request.url):
        page.keyboard.type("f")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")  # the list still shows the previous text's matches
    expect(box).to_have_value("coff")
    former = option.element_handle()
    held[0].continue_()
    page.wait_for_function("each => !each.isConnected", arg=former)  # the list is the new one
    expect(option).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(box).to_have_value('"coffee cup"')
