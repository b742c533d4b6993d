"""Deciding about tags with keys and clicks, on the asset's page and in the review queue."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from filestack_tags import curation
from filestack_tags.models import AssetTag, Tag

from .browser import press, tab_to
from .marks import both_widths, every_look
from .people import PASSWORD, User
from .seeding import Seed

ASSETS = "/admin/filestack_tags/asset/"


def _decisions() -> dict[str, tuple[int, int]]:
    rows = AssetTag.objects.values_list("tag__key", "decision", "confidence")
    return {key: (decision, confidence) for key, decision, confidence in rows}


@every_look
def test_tags_of_an_asset_are_decided_by_keys_alone(
    page: Page,
    login: Callable[[str], None],
    seed: Seed,
    axe: Callable[[], None],
    screenshot: Callable[[str], None],
) -> None:
    cat = seed.photo("cat", {"cat": 93, "animal": 80, "dog": 41})
    login("editor")
    page.goto(f"{ASSETS}{cat.pk}/change/")
    said = page.locator("#fst-said")
    press(page, "j")
    press(page, "a")
    expect(said).to_have_text("Accepted cat.")
    press(page, "j")
    press(page, "c")
    page.keyboard.type("75")
    page.keyboard.press("Enter")
    expect(said).to_have_text("Set the confidence of animal to 75.")
    press(page, "j")
    press(page, "r")
    expect(said).to_have_text("Rejected dog.")
    axe()
    screenshot("asset-page")
    assert seed.database(_decisions) == {"cat": (1, 93), "animal": (1, 75), "dog": (2, 41)}
    press(page, "u")
    expect(said).to_have_text("Undid the decision about dog.")
    assert seed.database(_decisions)["dog"] == (0, 41)


SLOWLY = """() => {
  const fetchAtOnce = window.fetch;
  window.fetch = async (...asked) => {
    await new Promise((ready) => setTimeout(ready, 1500));
    return fetchAtOnce(...asked);
  };
}"""
"""Delays the page's requests to the server."""


def test_who_is_quicker_than_the_server_loses_neither_place_nor_words(
    page: Page, login: Callable[[str], None], seed: Seed
) -> None:
    cat = seed.photo("cat", {"cat": 93, "animal": 80, "dog": 41})
    login("editor")
    page.goto(f"{ASSETS}{cat.pk}/change/", wait_until="networkidle")
    page.evaluate(SLOWLY)
    said = page.locator("#fst-said")
    press(page, "j")
    press(page, "a")
    press(page, "j")
    expect(said).to_have_text("Accepted cat.")
    press(page, "r")
    expect(said).to_have_text("Rejected animal.")
    box = page.get_by_label("Add a tag")
    box.fill("pet")
    page.keyboard.press("Enter")
    page.keyboard.type("fur")
    expect(said).to_have_text("Added pet.")
    expect(box).to_have_value("fur")
    expect(box).to_be_focused()
    page.keyboard.press("Enter")
    expect(said).to_have_text("Added fur.")
    expect(box).to_have_value("")
    page.locator("[data-fst-row]", has_text="dog").get_by_role("button", name="Accept").click()
    box.click()
    page.keyboard.type("worn")
    expect(said).to_have_text("Accepted dog.")
    expect(box).to_have_value("worn")
    decisions = {key: decision for key, (decision, _) in seed.database(_decisions).items()}
    assert decisions == {"cat": 1, "animal": 2, "dog": 1, "pet": 3, "fur": 3}


@both_widths
def test_tags_of_an_asset_are_edited_with_tab_and_enter(
    page: Page, login: Callable[[str], None], seed: Seed, screen: Callable[[str], None]
) -> None:
    cat = seed.photo("cat", {"cat": 93, "animal": 80, "dog": 41})
    login("editor")
    page.goto(f"{ASSETS}{cat.pk}/change/")
    said, focus = page.locator("#fst-said"), page.locator(":focus")
    tab_to(page, page.get_by_role("button", name="Accept cat"))
    page.keyboard.press("Enter")
    expect(said).to_have_text("Accepted cat.")
    expect(focus).to_contain_text("animal")  # the next undecided tag
    screen("asset-page-focus")
    tab_to(page, page.get_by_label("Confidence of animal", exact=True))
    page.keyboard.type("75")  # Tab selects the existing text
    page.keyboard.press("Enter")
    expect(said).to_have_text("Set the confidence of animal to 75.")
    tab_to(page, page.get_by_role("button", name="Reject dog"))
    page.keyboard.press("Enter")
    expect(said).to_have_text("Rejected dog.")
    box = page.get_by_label("Add a tag")
    tab_to(page, box)
    for name in ("pet", "fur"):  # one after the other: the focus stays in the box
        page.keyboard.type(name)
        page.keyboard.press("Enter")
        expect(said).to_have_text(f"Added {name}.")
        expect(box).to_be_focused()
        expect(box).to_have_value("")
    assert seed.database(_decisions) == {
        "cat": (1, 93),
        "animal": (1, 75),
        "dog": (2, 41),
        "pet": (3, 100),
        "fur": (3, 100),
    }
    tab_to(page, page.get_by_role("button", name="Undo the decision about fur"))
    page.keyboard.press("Enter")
    expect(said).to_have_text("Undid the decision about fur.")
    expect(page.locator("tr[data-fst-row]")).to_have_count(4)
    page.locator("tr[data-fst-row]").filter(has_text="dog").focus()
    press(page, "u")
    expect(said).to_have_text("Undid the decision about pet.")
    expect(focus).to_contain_text("dog")
    screen("asset-page-edited")


@every_look
def test_the_review_queue_is_worked_through_by_keys_alone(
    page: Page,
    login: Callable[[str], None],
    seed: Seed,
    axe: Callable[[], None],
    screenshot: Callable[[str], None],
) -> None:
    for name, confidence in (("cat", 71), ("dogs", 62), ("coffee", 48)):
        seed.photo(name, {"animal": confidence})
    login("editor")
    page.goto(f"{ASSETS}review/")
    page.get_by_role("link", name="animal").click()
    rows = page.locator("[data-fst-row]")
    expect(rows).to_have_count(3)
    axe()
    screenshot("review-queue")
    said = page.locator("#fst-said")
    press(page, "j")
    press(page, "a")
    expect(said).to_have_text("Accepted animal.")
    expect(rows).to_have_count(2)
    press(page, "s")
    press(page, "r")
    expect(said).to_have_text("Rejected animal.")
    expect(rows).to_have_count(1)
    press(page, "u")
    expect(said).to_have_text("Undid the decision about animal.")
    expect(rows).to_have_count(2)
    axe()


def test_what_does_not_reach_the_server_is_told(
    page: Page, login: Callable[[str], None], seed: Seed, complaints: list[str]
) -> None:
    cat = seed.photo("cat", {"cat": 93})
    login("editor")
    page.goto(f"{ASSETS}{cat.pk}/change/")
    page.context.set_offline(True)
    page.get_by_role("button", name="Accept cat").click()
    expect(page.locator("#fst-said")).to_contain_text("The request failed")
    page.context.set_offline(False)
    page.get_by_role("button", name="Accept cat").click()
    expect(page.locator("#fst-said")).to_have_text("Accepted cat.")
    complaints.clear()


@both_widths
def test_many_are_accepted_at_once_over_a_preview_by_keys_alone(
    page: Page, login: Callable[[str], None], seed: Seed, screen: Callable[[str], None]
) -> None:
    for name, confidence in (("cat", 71), ("dogs", 62), ("coffee", 48)):
        seed.photo(name, {"animal": confidence})
    login("editor")
    page.goto(f"{ASSETS}review/?tag=animal")
    tab_to(page, page.get_by_label("Minimum confidence"))
    page.keyboard.type("60")
    page.keyboard.press("Enter")
    expect(
        page.get_by_text("animal is unreviewed on 2 assets with a confidence of at least 60.")
    ).to_be_visible()
    screen("review-accept-many")
    tab_to(page, page.get_by_role("button", name="Accept animal on 2 assets"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("Accepted animal on 2 assets.").first).to_be_visible()
    expect(page.locator("[data-fst-row]")).to_have_count(1)
    assert seed.database(_asset_decisions) == {"cat.jpg": 1, "dogs.jpg": 1, "coffee.jpg": 0}
    tab_to(page, page.get_by_role("button", name="Undo the decision about animal").first)
    page.keyboard.press("Enter")
    expect(page.locator("[data-fst-row]")).to_have_count(2)


def _asset_decisions() -> dict[str, int]:
    return dict(AssetTag.objects.values_list("asset__filename", "decision"))


@both_widths
def test_a_result_is_walked_and_decided_by_keys_alone(
    page: Page, login: Callable[[str], None], seed: Seed, screen: Callable[[str], None]
) -> None:
    for name, confidence in (("cat", 90), ("dogs", 80), ("coffee", 70)):
        seed.photo(name, {"animal": confidence})
    seed.asset("elsewhere", {"car": 90})
    login("editor")
    page.goto(f"{ASSETS}?q=animal&order=best")
    page.get_by_role("link", name="cat.jpg").press("Enter")
    title = page.get_by_role("heading", level=2).first
    expect(title).to_contain_text("cat.jpg")
    expect(page.get_by_role("link", name="Previous asset")).to_have_count(0)
    screen("asset-beside")
    press(page, "j")
    press(page, "r")
    expect(page.locator("#fst-said")).to_have_text("Rejected animal.")
    press(page, "n")
    expect(title).to_contain_text("dogs.jpg")
    press(page, "n")
    expect(title).to_contain_text("coffee.jpg")
    expect(page.get_by_role("link", name="Next asset")).to_have_count(0)
    press(page, "p")
    expect(title).to_contain_text("dogs.jpg")
    page.get_by_role("link", name="Back to the results").press("Enter")
    expect(page).to_have_url(re.compile(r"order=best&q=animal"))


def test_what_is_asked_for_before_an_answer_comes_waits_for_it(
    page: Page, login: Callable[[str], None], seed: Seed
) -> None:
    cat = seed.photo("cat", {"cat": 93, "animal": 80, "dog": 41})
    login("editor")
    page.goto(f"{ASSETS}{cat.pk}/change/", wait_until="networkidle")
    page.evaluate(SLOWLY)
    said = page.locator("#fst-said")
    for key in "jajrjau":
        press(page, key)
    expect(said).to_have_text("Accepted cat.")
    expect(said).to_have_text("Rejected animal.")
    expect(said).to_have_text("Accepted dog.")
    expect(said).to_have_text("Undid the decision about dog.")
    expect(page.locator("[data-fst-row]", has_text="dog")).to_be_focused()
    box = page.get_by_label("Add a tag")
    box.fill("pet")
    page.keyboard.press("Enter")
    page.keyboard.type("fur")
    page.keyboard.press("Enter")
    page.keyboard.type("wo")
    expect(said).to_have_text("Added fur.")
    page.keyboard.type("rn")
    expect(box).to_have_value("worn")
    decisions = {key: decision for key, (decision, _) in seed.database(_decisions).items()}
    assert decisions == {"cat": 1, "animal": 2, "dog": 0, "pet": 3, "fur": 3}


def test_the_next_asset_waits_for_the_decisions_about_this_one(
    page: Page, login: Callable[[str], None], seed: Seed
) -> None:
    for name, confidence in (("cat", 90), ("dogs", 80)):
        seed.photo(name, {"animal": confidence})
    login("editor")
    page.goto(f"{ASSETS}?q=animal&order=best")
    page.get_by_role("link", name="cat.jpg").press("Enter")
    title = page.get_by_role("heading", level=2).first
    expect(title).to_contain_text("cat.jpg")
    page.wait_for_load_state("networkidle")
    page.evaluate(SLOWLY)
    for key in "janr":  # the last one is for the next asset
        press(page, key)
    expect(title).to_contain_text("dogs.jpg")
    assert seed.database(_asset_decisions) == {"cat.jpg": 1, "dogs.jpg": 0}


def test_what_waits_is_not_done_after_a_failure_and_a_tag_is_put_back(
    page: Page, login: Callable[[str], None], seed: Seed
) -> None:
    cat = seed.photo("cat", {"cat": 93, "dog": 41})
    login("editor")
    page.goto(f"{ASSETS}{cat.pk}/change/", wait_until="networkidle")
    page.evaluate(
        "() => { window.fetch = () => new Promise((_, no) => setTimeout(no, 1500)); }"
    )
    box = page.get_by_label("Add a tag")
    box.fill("pet")
    page.keyboard.press("Enter")
    expect(box).to_have_value("")
    page.locator("[data-fst-row]", has_text="dog").focus()
    press(page, "r")
    expect(page.locator("#fst-said")).to_contain_text("The request failed")
    expect(box).to_have_value("pet")
    page.wait_for_timeout(2000)
    assert seed.database(_decisions) == {"cat": (0, 93), "dog": (0, 41)}


SIX = {"bed": 95, "cat": 90, "dog": 85, "elm": 80, "fox": 75, "gnu": 70}


def _rejected(seed: Seed) -> list[str]:
    decisions = seed.database(_decisions)
    return sorted(key for key, (decision, _) in decisions.items() if decision == 2)


@both_widths
def test_one_key_a_second_decides_about_one_tag_after_the_other(
    page: Page, login: Callable[[str], None], seed: Seed
) -> None:
    cat = seed.photo("cat", SIX)
    login("editor")
    page.goto(f"{ASSETS}{cat.pk}/change/", wait_until="networkidle")
    for key in "jrjrjr":
        press(page, key)
        page.wait_for_timeout(1000)
    expect(page.locator(":focus")).to_contain_text("elm")
    assert _rejected(seed) == ["bed", "cat", "dog"]
    for key in "rrr":  # the focus is on the next one already
        press(page, key)
        page.wait_for_timeout(1000)
    assert _rejected(seed) == sorted(SIX)


@pytest.mark.parametrize(
    ("keys", "rejected", "focus"),
    [
        ("jrjrjr", "bed cat dog", "elm"),
        ("jrrr", "bed cat dog", "elm"),
        ("jjrrrrrr", "bed cat dog elm fox gnu", "bed"),
        ("jrsr", "bed dog", "elm"),
        ("jrkkr", "bed", "cat"),
    ],
)
def test_keys_that_are_quicker_than_the_server_go_on_to_the_next_undecided_tag(
    page: Page,
    login: Callable[[str], None],
    seed: Seed,
    keys: str,
    rejected: str,
    focus: str,
) -> None:
    cat = seed.photo("cat", SIX)
    login("editor")
    page.goto(f"{ASSETS}{cat.pk}/change/", wait_until="networkidle")
    page.evaluate(SLOWLY)
    for key in keys:
        press(page, key)
    page.evaluate(
        """() => new Promise((done) => document.addEventListener("fst-settled", done))"""
    )
    assert _rejected(seed) == rejected.split()
    expect(page.locator(":focus")).to_contain_text(focus)


def _reject(asset_id: int, key: str) -> None:
    user = User.objects.get(username="admin")
    curation.reject(asset_id, Tag.objects.get(key=key).pk, user=user)


@both_widths
def test_another_users_decision_is_overridden_only_after_a_question(
    page: Page, login: Callable[[str], None], seed: Seed, screen: Callable[[str], None]
) -> None:
    cat = seed.photo("cat", {"cat": 93, "animal": 80, "dog": 41})
    login("editor")
    page.goto(f"{ASSETS}{cat.pk}/change/", wait_until="networkidle")
    seed.database(_reject, cat.pk, "cat")
    press(page, "j")
    press(page, "a")
    said = page.locator("#fst-said")
    expect(said).to_contain_text("admin rejected “cat” (")
    expect(said).to_contain_text("Nothing was changed.")
    assert seed.database(_decisions)["cat"][0] == 2
    screen("decision-question")
    yes = page.get_by_role("button", name="Yes")
    expect(yes).to_be_focused()
    page.keyboard.press("Enter")
    expect(said).to_have_text("Accepted cat.")
    expect(page.locator(":focus")).to_contain_text("animal")
    assert seed.database(_decisions)["cat"][0] == 1


def test_the_review_queue_asks_too(
    page: Page, login: Callable[[str], None], seed: Seed, screen: Callable[[str], None]
) -> None:
    cat = seed.photo("cat", {"animal": 71})
    seed.photo("dogs", {"animal": 62})
    login("editor")
    page.goto(f"{ASSETS}review/?tag=animal", wait_until="networkidle")
    seed.database(_reject, cat.pk, "animal")
    press(page, "j")
    press(page, "a")
    expect(page.locator("#fst-said")).to_contain_text("admin rejected “animal” (")
    screen("review-question")
    page.keyboard.press("Enter")
    expect(page.locator("#fst-said")).to_have_text("Accepted animal.")
    assert seed.database(_asset_decisions) == {"cat.jpg": 1, "dogs.jpg": 0}


def test_the_key_that_undoes_leaves_what_was_not_decided_on_this_page(
    page: Page, login: Callable[[str], None], seed: Seed
) -> None:
    cat = seed.photo("cat", SIX)
    seed.database(_reject, cat.pk, "fox")
    login("editor")
    page.goto(f"{ASSETS}{cat.pk}/change/", wait_until="networkidle")
    said = page.locator("#fst-said")
    press(page, "u")
    expect(said).to_have_text("There are no decisions to undo on this page.")
    press(page, "j")
    press(page, "r")
    expect(said).to_have_text("Rejected bed.")
    press(page, "a")
    expect(said).to_have_text("Accepted cat.")
    seed.database(_reject, cat.pk, "gnu")
    press(page, "u")
    expect(said).to_have_text("Undid the decision about cat.")
    expect(page.locator(":focus")).to_contain_text("cat")
    press(page, "u")
    expect(said).to_have_text("Undid the decision about bed.")
    press(page, "u")
    expect(said).to_have_text("There are no decisions to undo on this page.")
    assert _rejected(seed) == ["fox", "gnu"]
    page.reload(wait_until="networkidle")
    press(page, "u")
    expect(said).to_have_text("There are no decisions to undo on this page.")


@both_widths
def test_a_decision_without_a_session_says_so_and_logging_in_leads_back(
    page: Page,
    login: Callable[[str], None],
    seed: Seed,
    screen: Callable[[str], None],
    complaints: list[str],
) -> None:
    cat = seed.photo("cat", {"cat": 93, "dog": 41})
    login("editor")
    place = f"{ASSETS}{cat.pk}/change/?_changelist_filters=q%3Dcat"
    page.goto(place, wait_until="networkidle")
    page.context.clear_cookies(name="sessionid")
    press(page, "j")
    press(page, "a")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Your session has expired")
    expect(page.locator("#fst-said")).to_contain_text("Your session has expired")
    screen("logged-out")
    alert.get_by_role("link", name="Log in").click()
    page.get_by_label("Username").fill("editor")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile(re.escape(place)))
    complaints.clear()  # the browser reports the 401
    assert seed.database(_decisions) == {"cat": (0, 93), "dog": (0, 41)}
