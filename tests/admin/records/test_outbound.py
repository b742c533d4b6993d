"""Outbound webhooks in the admin: endpoints, their secrets shown once, and the log."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from filestack_tags.models import OutboundEndpoint, OutboundMessage
from filestack_tags.outbound import delivery, outbox

pytestmark = pytest.mark.django_db

ENDPOINTS = "/admin/filestack_tags/outboundendpoint/"
MESSAGES = "/admin/filestack_tags/outboundmessage/"
EVERYTHING = (
    *(f"{what}_outboundendpoint" for what in ("view", "add", "change", "delete")),
    *("view_outboundmessage", "resend_outboundmessage"),
)
SAID = {"url": "https://example.com/hook", "events": ["asset.tagged"], "is_active": "on"}


@pytest.fixture
def client(client_of: Any) -> Client:
    made: Client = client_of(*EVERYTHING)
    return made


@pytest.fixture
def endpoint(db: None) -> OutboundEndpoint:
    return delivery.save_endpoint(url="https://example.com/", events=outbox.EVENTS)


def nobody(user: Any) -> Any:
    from django.db.models import Q

    return Q(pk__in=[])


def test_an_endpoint_is_made_and_its_secret_shown_once(client: Client, page: Any) -> None:
    reply = client.post(f"{ENDPOINTS}add/", SAID)
    endpoint = OutboundEndpoint.objects.get()
    secret = delivery.secret_of(endpoint)
    assert secret.encode() not in reply.content
    assert reply["Location"] == f"{ENDPOINTS}{endpoint.pk}/secret/"
    shown = client.get(reply["Location"])
    assert secret in page(shown).text
    assert "no-store" in shown["Cache-Control"]
    place = f"{ENDPOINTS}{endpoint.pk}/change/"
    for later in (ENDPOINTS, place):
        assert secret.encode() not in client.get(later).content
    assert not page(client.get(place)).inline
    again = client.get(reply["Location"], follow=True)
    assert secret not in page(again).text
    assert "A secret is shown only once." in page(again).text
    assert OutboundEndpoint.objects.count() == 1


def test_a_new_secret_is_shown_once_too(
    client: Client, page: Any, endpoint: OutboundEndpoint
) -> None:
    former = delivery.secret_of(endpoint)
    place = f"{ENDPOINTS}{endpoint.pk}/secret/"
    assert former not in page(client.get(place, follow=True)).text
    shown = page(client.post(place, follow=True)).text
    endpoint.refresh_from_db()
    assert delivery.secret_of(endpoint) in shown
    assert former not in shown
    assert "also signed with the previous secret" in shown
    assert delivery.secret_of(endpoint) not in page(client.get(place, follow=True)).text
    assert client.post(f"{ENDPOINTS}999999/secret/").status_code == 403


def test_a_button_pressed_twice_makes_one_secret(
    client: Client, page: Any, endpoint: OutboundEndpoint
) -> None:
    former = endpoint.nonce
    for _ in range(2):
        form = page(client.get(f"{ENDPOINTS}{endpoint.pk}/change/"))
        said = {"rotated_at": form.inputs["rotated_at"]}
        client.post(f"{ENDPOINTS}{endpoint.pk}/secret/", said)
        endpoint.refresh_from_db()
        made = endpoint.nonce
        shown = page(client.post(f"{ENDPOINTS}{endpoint.pk}/secret/", said, follow=True)).text
        endpoint.refresh_from_db()
        assert (endpoint.former_nonce, endpoint.nonce) == (former, made)
        assert delivery.secret_of(endpoint) in shown
        assert made != former
        former = made


def test_a_secret_is_shown_to_who_made_it_alone(
    client: Client, client_of: Any, page: Any, endpoint: OutboundEndpoint
) -> None:
    place = f"{ENDPOINTS}{endpoint.pk}/secret/"
    client.post(place)
    endpoint.refresh_from_db()
    looking = client_of("view_outboundendpoint")
    assert delivery.secret_of(endpoint) not in page(looking.get(place, follow=True)).text
    other = delivery.save_endpoint(url="https://example.org/", events=outbox.EVENTS)
    reply = client.get(f"{ENDPOINTS}{other.pk}/secret/", follow=True)
    assert delivery.secret_of(other) not in page(reply).text


def test_an_endpoint_is_changed_and_deleted_with_its_messages(
    client: Client, endpoint: OutboundEndpoint
) -> None:
    place = f"{ENDPOINTS}{endpoint.pk}/"
    secret = delivery.secret_of(endpoint)
    said = {**SAID, "description": "Shop", "is_active": ""}
    assert client.post(f"{place}change/", said).status_code == 302
    endpoint.refresh_from_db()
    assert (str(endpoint), endpoint.events, endpoint.is_active) == (
        "Shop",
        ["asset.tagged"],
        False,
    )
    assert delivery.secret_of(endpoint) == secret
    OutboundMessage.objects.create(endpoint=endpoint, event="asset.tagged", body="{}")
    assert client.post(f"{place}delete/", {"post": "yes"}).status_code == 302
    assert not OutboundMessage.objects.exists()
    other = delivery.save_endpoint(url="https://example.com/", events=outbox.EVENTS)
    chosen = {"action": "delete_selected", "_selected_action": [other.pk], "post": "yes"}
    client.post(ENDPOINTS, chosen)
    assert not OutboundEndpoint.objects.exists()


@pytest.mark.parametrize("wrong", [{"url": "http://example.com/"}, {"events": []}])
def test_what_cannot_be_an_endpoint_is_said_at_its_field(
    client: Client, wrong: dict[str, Any]
) -> None:
    reply = client.post(f"{ENDPOINTS}add/", {**SAID, **wrong})
    assert reply.status_code == 200
    assert b"errorlist" in reply.content
    assert not OutboundEndpoint.objects.exists()


def test_the_list_says_when_nobody_is_told(client: Client, page: Any, settings: Any) -> None:
    assert "OUTBOUND_WEBHOOKS is off" in page(client.get(ENDPOINTS)).text
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "OUTBOUND_WEBHOOKS": True}
    assert "OUTBOUND_WEBHOOKS is off" not in page(client.get(ENDPOINTS)).text


def test_messages_are_looked_at_and_sent_again(
    client: Client, page: Any, endpoint: OutboundEndpoint, django_assert_num_queries: Any
) -> None:
    for _ in range(3):
        message = OutboundMessage.objects.create(
            endpoint=endpoint,
            event="asset.tagged",
            body='{"a": 1}',
            state="failed",
            due_at=None,
        )
    with django_assert_num_queries(6):  # session, user, permissions twice, count, rows
        client.get(MESSAGES)
    assert '"a": 1' in page(client.get(f"{MESSAGES}{message.pk}/change/")).text
    chosen = {"action": "resend", "_selected_action": [message.pk], "index": 0}
    assert "1 message is being resent." in page(client.post(MESSAGES, chosen, follow=True)).text
    message.refresh_from_db()
    assert message.state == "waiting"
    assert "0 messages" in page(client.post(MESSAGES, chosen, follow=True)).text


def test_who_has_a_scope_or_no_permission_is_shown_nothing(
    client: Client, client_of: Any, endpoint: OutboundEndpoint, settings: Any
) -> None:
    places = (ENDPOINTS, f"{ENDPOINTS}add/", f"{ENDPOINTS}{endpoint.pk}/change/", MESSAGES)
    looking = client_of("view_outboundendpoint")
    assert looking.get(ENDPOINTS).status_code == 200
    assert looking.post(f"{ENDPOINTS}{endpoint.pk}/secret/").status_code == 403
    for place in places:
        assert client_of("view_asset").get(place).status_code == 403
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "ASSET_SCOPE": f"{__name__}.nobody"}
    for place in places:
        assert client.get(place).status_code == 403, place
    assert client.post(f"{ENDPOINTS}{endpoint.pk}/secret/").status_code == 403
