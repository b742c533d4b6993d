"""Outbound webhooks: written with their effect, received and verified over HTTP, bounded."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from standardwebhooks import WebhookVerificationError

from filestack_tags import curation, tasks
from filestack_tags.exceptions import EndpointError, FileNotFound
from filestack_tags.models import (
    LeaseLost,
    OutboundEndpoint,
    OutboundMessage,
    Tag,
    TaggingRun,
)
from filestack_tags.models.leases import LeasedQuerySet
from filestack_tags.operations import retention
from filestack_tags.outbound import delivery, http, outbox
from filestack_tags.tagging import results
from tests.api.rows import tagged
from tests.outbound.receiver import Receiver, receiving

pytestmark = pytest.mark.django_db

State = OutboundMessage.State


@pytest.fixture(autouse=True)
def on(settings: Any) -> Iterator[None]:
    ours = {"OUTBOUND_WEBHOOKS": True, "OUTBOUND_ALLOW_INSECURE": True}
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, **ours}
    outbox.clear_cache()
    yield
    outbox.clear_cache()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def endpoint(receiver: Receiver) -> OutboundEndpoint:
    return delivery.save_endpoint(url=receiver.url, events=outbox.EVENTS)


def due_again() -> None:
    OutboundMessage.objects.exclude(due_at=None).update(due_at=timezone.now())


def failed_run() -> TaggingRun:
    asset = tagged("failing")
    run = TaggingRun.objects.create(
        asset=asset, tagger="scripted", trigger="code", content_version=1
    )
    results.apply(run.pk, FileNotFound("It is gone."))
    return run


# Messages


def test_a_tagged_asset_is_told_of_and_the_library_verifies_it(
    receiver: Receiver, endpoint: OutboundEndpoint
) -> None:
    asset = tagged("h1", {"sky": 90})
    assert delivery.send_due() == 1
    (event,) = receiver.verified(delivery.secret_of(endpoint))
    assert event["type"] == "asset.tagged"
    assert event["data"] == {
        "asset_id": asset.pk,
        "run_id": asset.current_run_id,
        "rules": {},
    }
    headers, body = receiver.requests[0]
    assert headers["content-type"] == "application/json"
    assert b"sky" not in body
    message = OutboundMessage.objects.get()
    assert (message.state, message.http_status, message.attempts) == (State.SENT, 204, 1)
    assert message.webhook_id == headers["webhook-id"]
    assert delivery.send_due() == 0


def test_a_failure_and_decisions_are_told_of(
    receiver: Receiver, endpoint: OutboundEndpoint
) -> None:
    run = failed_run()
    asset = tagged("h1", {"sky": 90})
    tag = Tag.objects.get()
    curation.reject(asset.pk, tag.pk, user=None)
    curation.reject(asset.pk, tag.pk, user=None)  # changes nothing, so no message is written
    curation.withdraw(asset.pk, tag.pk, user=None)
    while delivery.send_due():
        pass
    events = receiver.verified(delivery.secret_of(endpoint))
    told = {event["type"]: event["data"] for event in events}
    assert told["asset.failed"] == {
        "asset_id": run.asset_id,
        "run_id": run.pk,
        "error_code": "file_not_found",
    }
    decided = [event["data"] for event in events if event["type"] == "tag.decided"]
    assert [(data["act"], data["decision"]) for data in decided] == [
        ("reject", "rejected"),
        ("withdraw", ""),
    ]
    assert decided[0]["tag"] == "sky"
    assert decided[0]["asset_id"] == asset.pk


def test_an_endpoint_is_told_of_its_events_alone(receiver: Receiver) -> None:
    delivery.save_endpoint(url=receiver.url, events=["tag.decided"])
    delivery.save_endpoint(url=receiver.url, events=["asset.tagged"], is_active=False)
    tagged("h1", {"sky": 90})
    assert not OutboundMessage.objects.exists()


def test_what_is_rolled_back_is_not_told(endpoint: OutboundEndpoint) -> None:
    with transaction.atomic():
        tagged("h1", {"sky": 90})
        assert OutboundMessage.objects.count() == 1
        transaction.set_rollback(True)
    assert not OutboundMessage.objects.exists()


def test_while_it_is_off_or_nobody_listens_nothing_more_is_asked_of_the_database(
    settings: Any, endpoint: OutboundEndpoint
) -> None:
    def statements(reference: str) -> int:
        with CaptureQueriesContext(connection) as asked:
            tagged(reference, {"sky": 90})
        return len(asked)

    tagged("h0", {"sky": 90})
    listening = statements("h1")
    delivery.delete_endpoint(endpoint.pk)
    statements("h2")  # caches that there is no endpoint
    nobody = statements("h3")
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "OUTBOUND_WEBHOOKS": False}
    assert statements("h4") == nobody == listening - 1
    with CaptureQueriesContext(connection) as asked:
        assert delivery.send_due() == 0
    assert not asked.captured_queries


def test_many_results_are_told_of_by_one_statement(endpoint: OutboundEndpoint) -> None:
    outbox.record(outbox.TAGGED, [])
    with CaptureQueriesContext(connection) as asked:
        outbox.record(outbox.TAGGED, [{"asset_id": pk} for pk in range(50)])
    assert len([each for each in asked if "INSERT" in each["sql"]]) == 1
    assert OutboundMessage.objects.count() == 50
    assert OutboundMessage.objects.values("webhook_id").distinct().count() == 50


# Sending


def test_a_message_comes_again_with_the_same_id_until_it_is_accepted(
    receiver: Receiver,
    endpoint: OutboundEndpoint,
    told: list[Any],
    django_capture_on_commit_callbacks: Any,
) -> None:
    receiver.answers = [500, 302, 400]
    tagged("h1", {"sky": 90})
    for attempt in range(1, 5):
        with django_capture_on_commit_callbacks(execute=True):
            assert delivery.send_due() == 1
        message = OutboundMessage.objects.get()
        assert message.attempts == attempt
        assert delivery.send_due() == 0  # not before it is due
        due_again()
    assert (message.state, message.due_at) == (State.SENT, None)
    assert len(set(receiver.ids)) == 1
    assert len({body for _, body in receiver.requests}) == 1
    assert len(receiver.verified(delivery.secret_of(endpoint))) == 4
    names = [each.name for each in told if each.name.startswith("outbound")]
    assert names == ["outbound.retried"] * 3 + ["outbound.sent"]


@pytest.mark.django_db(transaction=True)
def test_a_repeated_transaction_is_counted_once(
    receiver: Receiver,
    endpoint: OutboundEndpoint,
    told: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a lost lease nothing is counted."""
    receiver.answers = [400, 204]
    bulk_update = LeasedQuerySet.bulk_update
    errors: list[Exception] = [OperationalError("deadlock")]

    def update(*args: Any) -> int:
        updated = bulk_update(*args)
        if errors:
            raise errors.pop()
        return updated

    monkeypatch.setattr(LeasedQuerySet, "bulk_update", update)
    outbox.record(outbox.TAGGED, [{"asset_id": 1}, {"asset_id": 2}])  # sends them
    counted = [one.name for one in told if one.name.startswith("outbound")]
    assert (counted, errors) == (["outbound.retried", "outbound.sent"], [])
    due_again()
    errors.append(LeaseLost())
    told.clear()
    assert delivery.send_due() == 1
    assert not told


def test_attempts_end_and_a_person_may_have_it_sent_again(
    receiver: Receiver, endpoint: OutboundEndpoint, settings: Any
) -> None:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "OUTBOUND_MAX_ATTEMPTS": 2}
    receiver.answers = [500, 500]
    tagged("h1", {"sky": 90})
    for _ in range(3):
        delivery.send_due()
        due_again()
    message = OutboundMessage.objects.get()
    assert (message.state, message.http_status, message.due_at) == (State.FAILED, 500, None)
    assert len(receiver.requests) == 2
    assert tasks.resend([message.pk, 0]) == [message.pk]
    assert tasks.resend([message.pk]) == []  # it waits already
    assert delivery.send_due() == 1
    assert OutboundMessage.objects.get().state == State.SENT
    assert len(set(receiver.ids)) == 1


def test_an_endpoint_that_is_down_is_asked_once_for_all_that_wait(
    receiver: Receiver, endpoint: OutboundEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.answers = [503]
    for number in range(3):
        tagged(f"h{number}", {"sky": 90})
    monkeypatch.setattr(delivery, "BATCH_SIZE", 2)
    assert delivery.send_due() == 2
    assert delivery.send_due() == 0  # the third was postponed with them
    assert len(receiver.requests) == 1
    assert set(OutboundMessage.objects.values_list("state", "attempts")) == {("waiting", 1)}
    due_again()
    while delivery.send_due():
        pass
    assert OutboundMessage.objects.filter(state=State.SENT).count() == 3


def test_what_is_put_off_is_given_up_in_the_end_too(
    receiver: Receiver,
    endpoint: OutboundEndpoint,
    settings: Any,
    told: list[Any],
    django_capture_on_commit_callbacks: Any,
) -> None:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "OUTBOUND_MAX_ATTEMPTS": 2}
    receiver.answers = [503, 503]
    outbox.record(outbox.TAGGED, [{"asset_id": pk} for pk in range(delivery.BATCH_SIZE + 5)])
    delivery.send_due()
    due_again()
    with django_capture_on_commit_callbacks(execute=True):
        delivery.send_due()
    assert len(receiver.requests) == 2
    assert set(OutboundMessage.objects.values_list("state", "attempts")) == {("failed", 2)}
    failed = sum(each.value for each in told if each.name == "outbound.failed")
    assert failed == delivery.BATCH_SIZE + 5


def test_one_endpoint_that_is_down_keeps_nothing_from_another(receiver: Receiver) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    delivery.save_endpoint(url=f"http://127.0.0.1:{port}/", events=outbox.EVENTS)
    delivery.save_endpoint(url=receiver.url, events=outbox.EVENTS)
    tagged("h1", {"sky": 90})
    delivery.send_due()
    states = dict(OutboundMessage.objects.values_list("state", "error"))
    assert states == {"waiting": "ConnectError", "sent": ""}


def test_who_answers_410_is_told_no_more(
    receiver: Receiver, endpoint: OutboundEndpoint
) -> None:
    receiver.answers = [410]
    for number in range(2):
        tagged(f"h{number}", {"sky": 90})
    delivery.send_due()
    endpoint.refresh_from_db()
    assert not endpoint.is_active
    assert set(OutboundMessage.objects.values_list("state", flat=True)) == {"failed"}
    tagged("h2", {"sky": 90})
    assert OutboundMessage.objects.count() == 2
    # Messages of an endpoint that was disabled meanwhile fail without being sent.
    OutboundMessage.objects.update(state=State.WAITING, due_at=timezone.now())
    delivery.send_due()
    assert len(receiver.requests) == 1
    assert set(OutboundMessage.objects.values_list("error", flat=True)) == {
        "The endpoint is switched off."
    }


@pytest.mark.parametrize(
    ("status", "retry_after", "seconds"),
    [
        (503, "7200", 7215),
        (429, "7200", 7215),
        (400, "7200", 7215),
        (503, "Sun, 01 Nov 2026 14:00:00 GMT", 7215),
        (503, "Sunday, 01-Nov-26 14:00:00 GMT", 7215),
        (503, "Sun Nov  1 14:00:00 2026", 7215),
        (503, "99999999999999999999", 86400),
        (503, "Sat, 01 Jan 2998 00:00:00 GMT", 86400),
        (503, "1", 16),
        (503, "Sun, 01 Nov 2026 11:00:00 GMT", 15),
        (503, "-7200", 15),
        (503, "7200.5", 15),
        (503, "soon", 15),
        (503, "", 15),
    ],
)
def test_a_receiver_that_says_when_is_left_alone_until_then(
    receiver: Receiver,
    endpoint: OutboundEndpoint,
    longest_delay: None,
    status: int,
    retry_after: str,
    seconds: int,
) -> None:
    """In seconds and in each date format, but at most a day."""
    receiver.answers, receiver.retry_after = [status], retry_after
    with time_machine.travel(datetime(2026, 11, 1, 12, tzinfo=UTC), tick=False):
        tagged("h1", {"sky": 90})
        assert delivery.send_due() == 1
        message = OutboundMessage.objects.get()
        assert message.state == State.WAITING
        assert message.due_at == timezone.now() + timedelta(seconds=seconds)


def test_delays_double_up_to_six_hours(
    receiver: Receiver, endpoint: OutboundEndpoint, longest_delay: None
) -> None:
    receiver.answers = [500] * 13
    delays = []
    with time_machine.travel(datetime(2026, 11, 1, 12, tzinfo=UTC), tick=False) as clock:
        tagged("h1", {"sky": 90})
        for _ in receiver.answers[:]:
            delivery.send_due()
            due_at = OutboundMessage.objects.get().due_at
            assert due_at is not None
            delays.append((due_at - timezone.now()).total_seconds())
            clock.shift(delays[-1])
    assert delays == [*(15 * 2**number for number in range(11)), 21600, 21600]


def test_who_is_asked_for_too_much_gets_nothing_more_until_then(
    receiver: Receiver, endpoint: OutboundEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither leased messages nor waiting ones are sent meanwhile."""
    receiver.answers, receiver.retry_after = [429], "3600"
    for number in range(3):
        tagged(f"h{number}", {"sky": 90})
    monkeypatch.setattr(delivery, "BATCH_SIZE", 2)
    delivery.send_due()
    soon = timezone.now() + timedelta(seconds=3590)
    assert len(receiver.requests) == 1
    assert not OutboundMessage.objects.filter(due_at__lt=soon).exists()
    assert OutboundMessage.objects.filter(state=State.WAITING).count() == 3


def test_a_message_whose_sender_died_is_sent_by_another(
    receiver: Receiver, endpoint: OutboundEndpoint
) -> None:
    tagged("h1", {"sky": 90})
    assert len(delivery._acquire(endpoint.pk, 1)) == 1  # and then the process dies
    assert delivery.send_due() == 0
    due_again()
    assert delivery.send_due() == 1
    assert OutboundMessage.objects.get().attempts == 2


def test_a_message_of_an_endpoint_that_is_gone_goes_too(endpoint: OutboundEndpoint) -> None:
    tagged("h1", {"sky": 90})
    OutboundEndpoint.objects.filter(pk=endpoint.pk)._raw_delete("default")
    assert delivery.send_due() == 0
    assert not OutboundMessage.objects.exists()


def test_what_was_settled_by_another_stays_so(endpoint: OutboundEndpoint) -> None:
    tagged("h1", {"sky": 90})
    messages = delivery._acquire(endpoint.pk, 1)
    OutboundMessage.objects.update(state=State.SENT, due_at=None)
    delivery._record(messages, http.PostResult(status=500))
    message = OutboundMessage.objects.get()
    assert (message.state, message.due_at, message.http_status) == (State.SENT, None, None)


def test_the_task_sends_after_the_commit_and_the_sweep_what_was_lost(
    receiver: Receiver, endpoint: OutboundEndpoint, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        tagged("h1", {"sky": 90})
        assert not receiver.requests
    assert len(receiver.requests) == 1
    tagged("h2", {"sky": 90})  # its message to the broker is lost
    with django_capture_on_commit_callbacks(execute=True):
        tasks.sweep()
    assert len(receiver.requests) == 2


# Secrets


def test_a_new_secret_signs_at_once_and_the_former_one_for_a_day(
    receiver: Receiver, endpoint: OutboundEndpoint
) -> None:
    former = delivery.secret_of(endpoint)
    fresh = delivery.new_secret(endpoint.pk)
    assert fresh != former
    tagged("h1", {"sky": 90})
    delivery.send_due()
    assert receiver.verified(former) == receiver.verified(fresh)
    OutboundEndpoint.objects.update(rotated_at=timezone.now() - timedelta(days=1, minutes=1))
    receiver.requests.clear()
    tagged("h2", {"sky": 90})
    delivery.send_due()
    receiver.verified(fresh)
    with pytest.raises(WebhookVerificationError):
        receiver.verified(former)


def test_a_changed_secret_key_signs_beside_its_fallbacks(
    receiver: Receiver, endpoint: OutboundEndpoint, settings: Any
) -> None:
    former = delivery.secret_of(endpoint)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key of the host's"
    tagged("h1", {"sky": 90})
    delivery.send_due()
    assert receiver.verified(former) == receiver.verified(delivery.secret_of(endpoint))


def test_a_secret_is_in_no_row_log_and_repr(
    receiver: Receiver, endpoint: OutboundEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    secret = delivery.secret_of(endpoint)
    assert secret.startswith("whsec_")
    receiver.answers = [500]
    tagged("h1", {"sky": 90})
    delivery.send_due()
    rows = [*OutboundEndpoint.objects.values(), *OutboundMessage.objects.values()]
    said = [json.dumps(rows, default=str), caplog.text, repr(endpoint)]
    assert not [text for text in said if secret in text or secret[6:] in text]
    assert "from=us" not in caplog.text


# Addresses


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "https://",
        "https:///path",
        "https://user:word@example.com/",
        "https://example.com/#part",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://[::1/",
        "https://exämple.com/",
        "https://example.com/a b",
        "https://example.com/" + "x" * 2000,
    ],
)
def test_only_https_urls_are_endpoints(settings: Any, url: str) -> None:
    settings.FILESTACK_TAGS = {**settings.FILESTACK_TAGS, "OUTBOUND_ALLOW_INSECURE": False}
    with pytest.raises(EndpointError):
        delivery.save_endpoint(url=url, events=outbox.EVENTS)
    assert http.post(url, b"", {}, timeout=1, insecure=False).status is None


@pytest.mark.parametrize("events", [[], ["asset.tagged", "asset.lost"]])
def test_an_endpoint_has_known_events(events: list[str]) -> None:
    with pytest.raises(EndpointError, match="Choose among"):
        delivery.save_endpoint(url="https://example.com/", events=events)


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["93.184.216.34", "10.0.0.1"],
        ["169.254.169.254"],
        ["::1"],
        ["fe80::1%eth0"],
        ["::ffff:192.168.0.1"],
        ["fec0::1"],
        ["64:ff9b::a00:1"],
        ["64:ff9b:1::808:808"],
        ["2002:a00:1::"],
        ["2606:4700::1111", "::7f00:1"],
    ],
)
def test_a_name_that_leads_to_a_private_address_is_refused_when_it_is_resolved(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 443)) for each in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
    answer = http.post("https://example.com/", b"", {}, timeout=1, insecure=False)
    assert answer == http.PostResult(error="The host has an address that is not public.")


def test_the_connection_is_made_to_the_address_that_was_looked_at(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    url = receiver.url.replace("127.0.0.1", "hooks.example")
    answer = http.post(url, b"{}", {}, timeout=5, insecure=True)
    assert answer.status == 204
    assert receiver.requests[0][0]["host"].startswith("hooks.example:")
    # The connection may resolve again, but only the address itself, which cannot change.
    assert asked[0] == "hooks.example"
    assert set(asked[1:]) <= {"127.0.0.1"}


def test_a_name_that_leads_nowhere_is_a_failure_like_any_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nowhere(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    answer = http.post("https://example.com/", b"", {}, timeout=1, insecure=False)
    assert answer.error == "The host's name cannot be resolved."
    monkeypatch.undo()
    long = "https://" + "a" * 70 + ".example/"
    assert http.post(long, b"", {}, timeout=1, insecure=False).status is None


def test_a_receiver_that_does_not_answer_costs_the_timeout_alone() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        answer = http.post(url, b"{}", {}, timeout=1, insecure=True)
    assert answer.error == "ReadTimeout"


# Retention


def test_old_messages_are_pruned_unless_they_wait(
    receiver: Receiver, endpoint: OutboundEndpoint
) -> None:
    for number in range(3):
        tagged(f"h{number}", {"sky": 90})
    delivery.send_due()
    long_ago = timezone.now() - timedelta(days=31)
    OutboundMessage.objects.update(created_at=long_ago)
    first, second, _third = OutboundMessage.objects.order_by("pk")
    OutboundMessage.objects.filter(pk=first.pk).update(
        state=State.WAITING, due_at=timezone.now()
    )
    OutboundMessage.objects.filter(pk=second.pk).update(created_at=timezone.now())
    assert retention.prune(dry_run=True).messages == 1
    assert retention.prune().messages == 1
    assert set(OutboundMessage.objects.values_list("pk", flat=True)) == {first.pk, second.pk}
