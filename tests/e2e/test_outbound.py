"""Outbound webhooks: an endpoint is created, receives a decision, and gets a rejected message
again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from filestack_tags.models import OutboundMessage
from tests.outbound.receiver import Receiver, receiving

from .browser import press, tab_to
from .marks import both_widths
from .seeding import Seed

APP = "/admin/filestack_tags/"
SENT_WITHIN = 20_000
"""Timeout in milliseconds for the worker to send a message."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def _wait_for(page: Page, receiver: Receiver, count: int) -> None:
    for _ in range(SENT_WITHIN // 250):
        if len(receiver.requests) >= count:
            return
        page.wait_for_timeout(250)
    raise AssertionError(f"{len(receiver.requests)} messages came, not {count}.")


def _wait_until_sent(page: Page, seed: Seed) -> None:
    """Wait: the receiver has a message before the worker has recorded that."""
    for _ in range(SENT_WITHIN // 250):
        if seed.database(OutboundMessage.objects.filter(state="sent").exists):
            return
        page.wait_for_timeout(250)
    raise AssertionError("The worker did not note the message as sent.")


@both_widths
def test_an_endpoint_is_made_told_and_told_again_by_keys_alone(
    page: Page,
    login: Callable[[str], None],
    seed: Seed,
    screen: Callable[[str], None],
    receiver: Receiver,
) -> None:
    cat = seed.photo("cat", {"cat": 93})
    login("editor")
    page.goto(f"{APP}outboundendpoint/add/")
    tab_to(page, page.get_by_label("URL"))
    page.keyboard.type(receiver.url)
    tab_to(page, page.get_by_label("Description"))
    page.keyboard.type("Shop")
    screen("webhook-endpoint")
    tab_to(page, page.get_by_role("button", name="Save", exact=True))
    page.keyboard.press("Enter")
    expect(page.get_by_text("it is not shown again")).to_be_visible()
    secret = page.locator("code").inner_text()
    assert secret.startswith("whsec_")
    screen("webhook-secret")
    tab_to(page, page.get_by_role("link", name="All webhook endpoints"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Shop")).to_be_visible()
    assert secret not in page.content()
    screen("webhook-endpoints")

    page.goto(f"{APP}asset/{cat.pk}/change/")
    press(page, "j")
    press(page, "a")
    expect(page.locator("#fst-said")).to_have_text("Accepted cat.")
    _wait_for(page, receiver, 1)
    (told,) = receiver.verified(secret)
    assert told["type"] == "tag.decided"
    assert told["data"]["tag"] == "cat"

    _wait_until_sent(page, seed)
    page.goto(f"{APP}outboundmessage/")
    rows = page.locator("#result_list tbody tr")
    expect(rows).to_have_count(1)
    expect(rows.locator(".field-state")).to_have_text("sent")
    screen("outbound-messages")
    tab_to(page, rows.get_by_role("checkbox"))
    page.keyboard.press("Space")
    tab_to(page, page.get_by_label("Action:"))
    page.keyboard.type("Resend selected")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 message is being resent.")).to_be_visible()
    _wait_for(page, receiver, 2)
    assert receiver.ids[0] == receiver.ids[1]
    rows.get_by_role("link").first.press("Enter")
    expect(page.locator("pre")).to_contain_text('"tag": "cat"')
    assert secret not in page.content()
    screen("outbound-message")


def test_a_secret_is_replaced_and_an_endpoint_deleted_after_a_question(
    page: Page, login: Callable[[str], None], seed: Seed, screen: Callable[[str], None]
) -> None:
    login("editor")
    page.goto(f"{APP}outboundendpoint/add/")
    page.get_by_label("URL").fill("http://127.0.0.1:9/")
    page.get_by_role("button", name="Save", exact=True).click()
    former = page.locator("code").inner_text()
    page.get_by_role("link", name="All webhook endpoints").click()
    page.locator("#result_list").get_by_role("link").first.click()
    screen("webhook-endpoint-change")
    page.get_by_role("button", name="Create a new secret").click()
    expect(
        page.get_by_text("messages are also signed with the previous secret")
    ).to_be_visible()
    assert page.locator("code").inner_text() != former
    page.get_by_role("link", name="All webhook endpoints").click()
    page.locator("#result_list").get_by_role("link").first.click()
    page.get_by_role("link", name="Delete").click()
    screen("webhook-endpoint-delete")
    page.get_by_role("button", name="Yes, I’m sure").click()
    expect(page.get_by_text("was deleted successfully")).to_be_visible()
