"""Managing tags: their names, merges, thresholds, and labels that must not be shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager

from playwright.sync_api import Page, expect

from filestack_tags.curation import merging
from filestack_tags.models import AssetTag, Tag, TagMerge

from .browser import tab_to
from .marks import both_widths
from .seeding import Seed

TAGS = "/admin/filestack_tags/tag/"
LIST = "/admin/filestack_tags/asset/"
MERGE_TIME = 30_000
"""Timeout in milliseconds for the worker to merge two small tags."""


def _tag(key: str) -> Tag:
    return Tag.objects.get(key=key)


def _labels() -> dict[tuple[str, str], int]:
    rows = AssetTag.objects.values_list("asset__filename", "tag__key", "confidence")
    return {(filename, key): confidence for filename, key, confidence in rows}


@both_widths
def test_a_tag_is_found_renamed_called_otherwise_and_hidden(
    page: Page, login: Callable[[str], None], seed: Seed, screen: Callable[[str], None]
) -> None:
    seed.photo("cat", {"cat": 97, "whiskers": 71})
    seed.photo("dogs", {"dog": 98, "animal": 95})
    login("editor")
    page.goto(TAGS)
    screen("tag-list")
    page.locator("#searchbar").fill("whisk")
    page.keyboard.press("Enter")
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    page.locator("#result_list").get_by_role("link", name="whiskers").click()
    page.get_by_label("Name").fill("Vibrissae")
    page.get_by_label("Aliases").fill("moustache\nfeelers")
    screen("tag")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".messagelist .success")).to_contain_text("changed successfully")
    for name in ("vibrissae", "whiskers", "moustache", "feelers"):
        page.goto(f"{LIST}?q={name}")
        expect(page.get_by_role("link", name="cat.jpg")).to_be_visible()
        expect(page.get_by_text("Vibrissae 71")).to_be_visible()
    page.goto(f"{TAGS}{seed.database(_tag, 'vibrissae').pk}/change/")
    page.get_by_label("Hidden").check()
    page.get_by_role("button", name="Save", exact=True).click()
    page.goto(f"{LIST}?q=cat")
    expect(page.get_by_role("link", name="cat.jpg")).to_be_visible()
    expect(page.get_by_text("Vibrissae 71")).to_have_count(0)


@both_widths
def test_tags_are_merged_over_a_preview_and_taken_apart_again(
    page: Page, login: Callable[[str], None], seed: Seed, screen: Callable[[str], None]
) -> None:
    seed.photo("cat", {"kitty": 64, "cat": 97})
    seed.photo("dogs", {"kitty": 52})
    before = seed.database(_labels)
    login("editor")
    page.goto(f"{TAGS}{seed.database(_tag, 'kitty').pk}/change/")
    page.get_by_role("link", name="Merge", exact=True).click()
    page.get_by_label("Merge into").fill("cat")
    page.get_by_role("button", name="Preview").click()
    facts = page.locator(".fst-facts")
    expect(facts.locator("dd")).to_have_text(["2", "1", "0", "kitty"])
    screen("tag-merge")
    page.get_by_role("button", name="Merge").click()
    state = page.locator(".field-state .readonly")
    expect(state).to_have_text("merged", timeout=MERGE_TIME)
    screen("tag-merged")
    assert seed.database(_labels) == {("cat.jpg", "cat"): 97, ("dogs.jpg", "cat"): 52}
    page.get_by_role("button", name="Undo merge").click()
    expect(state).to_have_text("undone", timeout=MERGE_TIME)
    assert seed.database(_labels) == before


def test_tags_are_merged_by_the_keyboard_alone(
    page: Page, login: Callable[[str], None], seed: Seed
) -> None:
    seed.photo("dogs", {"doggy": 52, "dog": 98})
    login("editor")
    page.goto(f"{TAGS}?q=doggy")
    tab_to(page, page.locator("#result_list").get_by_role("link", name="doggy"))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("link", name="Merge", exact=True))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_label("Merge into"))
    page.keyboard.type("dog")
    page.keyboard.press("Escape")  # closes the browser's own list of suggestions
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("button", name="Merge"))
    page.keyboard.press("Enter")
    expect(page.locator(".field-state .readonly")).to_have_text("merged", timeout=MERGE_TIME)
    assert seed.database(_labels) == {("dogs.jpg", "dog"): 98}


@both_widths
def test_labels_are_never_shown_though_a_later_reply_brings_them(
    page: Page, login: Callable[[str], None], seed: Seed, screen: Callable[[str], None]
) -> None:
    seed.photo("cat", {"cat": 97})
    login("editor")
    page.goto(TAGS)
    page.get_by_role("link", name="Hide tag names").click()
    box = page.get_by_label("Tag names to hide")
    tab_to(page, box)
    page.keyboard.type("fauna\nblurry\n")
    screen("tags-never-shown")
    tab_to(page, page.get_by_role("button", name="Hide", exact=True))
    page.keyboard.press("Enter")
    expect(page.get_by_text("2 tag names are hidden.")).to_be_visible()
    expect(page.locator("#result_list tbody tr")).to_have_count(2)
    seed.photo("dogs", {"dog": 98, "fauna": 95})
    page.goto(f"{LIST}?q=dog")
    expect(page.get_by_text("dog 98")).to_be_visible()
    expect(page.get_by_text("fauna")).to_have_count(0)


@both_widths
def test_a_threshold_is_explored_by_keys_and_saved(
    page: Page, login: Callable[[str], None], seed: Seed, screen: Callable[[str], None]
) -> None:
    for number, confidence in enumerate((12, 35, 35, 51, 70, 88, 88, 93)):
        name = f"{number}.pdf"
        seed.asset(f"h{number}", {"sky": confidence}, filename=name, mimetype="text/plain")
    login("editor")
    page.goto(f"{TAGS}{seed.database(_tag, 'sky').pk}/change/")
    page.get_by_role("link", name="Threshold").click()
    stay = page.locator("output")
    expect(stay).to_have_text("8 of 8 assets remain")
    slider = page.get_by_role("slider")
    tab_to(page, slider)
    for _ in range(36):
        page.keyboard.press("ArrowRight")
    expect(stay).to_have_text("5 of 8 assets remain")
    expect(page.get_by_label("Minimum confidence", exact=True)).to_have_value("36")
    screen("tag-threshold")
    tab_to(page, page.get_by_role("button", name="Save"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("The minimum was saved.")).to_be_visible()
    expect(stay).to_have_text("5 of 8 assets remain")
    page.goto(f"{LIST}?q=sky")
    expect(page.locator("#result_list tbody tr")).to_have_count(5)


@both_widths
def test_a_sensitive_label_is_withheld_until_somebody_approves_it(
    page: Page, login: Callable[[str], None], seed: Seed, screen: Callable[[str], None]
) -> None:
    seed.photo("astronaut", {"person": 97, "woman": 91, "adult": 88})
    login("editor")
    page.goto(f"{LIST}?q=woman")
    expect(page.get_by_text("No assets match.")).to_be_visible()
    page.goto(TAGS)
    page.get_by_role("link", name="Sensitive tags").click()
    expect(page.get_by_text("2 asset tags are hidden from searches")).to_be_visible()
    screen("sensitive-labels")
    tab_to(page, page.get_by_role("button", name="Approve woman"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Revoke the approval of woman")).to_be_visible()
    expect(page.get_by_text("1 asset tags are hidden from searches")).to_be_visible()
    page.goto(f"{LIST}?q=woman")
    expect(page.get_by_role("link", name="astronaut.jpg")).to_be_visible()
    badge = page.locator(".fst-tag").filter(has_text="woman")
    expect(badge.get_by_text("sensitive")).to_be_visible()
    screen("asset-sensitive")


@both_widths
def test_the_global_minimum_is_explored_by_keys(
    page: Page, login: Callable[[str], None], seed: Seed, screen: Callable[[str], None]
) -> None:
    for number in range(4):
        seed.asset(f"sky{number}", {"sky": 20 * number, "sea": 30})
    login("editor")
    page.goto(TAGS)
    page.get_by_role("link", name="Global minimum").press("Enter")
    stay = page.get_by_role("status")
    expect(stay).to_have_text("8 of 8 asset tags remain, on 4 of 4 assets")
    slider = page.get_by_role("slider")
    tab_to(page, slider)
    for _ in range(31):
        page.keyboard.press("ArrowRight")
    expect(stay).to_have_text("2 of 8 asset tags remain, on 2 of 4 assets")
    expect(page.get_by_text('"MIN_CONFIDENCE": 31')).to_be_visible()
    screen("global-minimum")


@both_widths
def test_the_log_of_decisions_undoes_a_merge(
    page: Page, login: Callable[[str], None], seed: Seed, screen: Callable[[str], None]
) -> None:
    seed.asset("two", {"cat": 90, "cats": 80})
    merge = seed.database(_merged, "cats", "cat")
    login("editor")
    page.goto("/admin/filestack_tags/tagdecision/")
    screen("decision-log")
    tab_to(page, page.get_by_role("button", name="Undo merge cats → cat"))
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"tagmerge/{merge.pk}/change/"))
    expect(page.locator(".field-state")).to_contain_text("undone", timeout=MERGE_TIME)


def _merged(source: str, target: str) -> TagMerge:
    merge = merging.start(_tag(source).pk, _tag(target).pk, user=None)
    assert merging.work(merge.pk)
    return merge


def test_the_undoing_of_a_merge_at_work_stays_within_reach(
    page: Page,
    login: Callable[[str], None],
    seed: Seed,
    tasks_held: Callable[[], AbstractContextManager[None]],
) -> None:
    seed.asset("two", {"cat": 90, "cats": 80})
    login("editor")
    state = page.locator(".field-state .readonly")
    with tasks_held():
        merge = seed.database(lambda: merging.start(_tag("cats").pk, _tag("cat").pk, user=None))
        page.goto(f"/admin/filestack_tags/tagmerge/{merge.pk}/change/")
        undo = page.get_by_role("button", name="Undo merge")
        undo.focus()
        page.wait_for_timeout(4000)  # the page polls every 1.5 seconds
        expect(undo).to_be_focused()
        seed.database(merging.work, merge.pk)
        expect(state).to_have_text("merged")
