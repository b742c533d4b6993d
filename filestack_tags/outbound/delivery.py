"""Outbound: send the messages of the outbox as webhooks in the Standard Webhooks format.

https://www.standardwebhooks.com (1.0.0): the headers ``webhook-id``, ``webhook-timestamp`` and
``webhook-signature``. A message is sent at least once, with the same id and body each time.

The secret of an endpoint is stored nowhere: it is derived from ``SECRET_KEY`` and the endpoint's
nonce. A message is also signed with each of ``SECRET_KEY_FALLBACKS``, and for a day with the
previous secret after a change, so that receivers can switch without a gap.
"""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import SystemRandom
from typing import Any

from django.conf import settings as django_settings
from django.db.models import F, QuerySet
from django.utils import timezone
from django.utils.crypto import salted_hmac

from filestack_tags import metrics
from filestack_tags.conf import get_settings
from filestack_tags.db.transactions import alias, atomic, locked, retrying
from filestack_tags.exceptions import EndpointError
from filestack_tags.models import OutboundMessage, WebhookEndpoint
from filestack_tags.models.outbound import new_nonce

from . import outbox
from .http import Answer, post, require_usable

logger = logging.getLogger(__name__)

BATCH = 20
"""Messages to one endpoint that are leased together. Even if each takes the maximum time, they are
sent before another process counts them as lost.
"""

POSTPONED = 500
"""Messages of an unreachable endpoint that one batch postpones."""

LOST_AFTER = timedelta(minutes=10)
"""How long after it was leased a message is sent by another process."""

OVERLAP = timedelta(days=1)
"""How long the previous secret of an endpoint still signs."""

LONGEST_DELAY = timedelta(hours=6)
"""The longest delay between two attempts, unless the receiver requests more."""

LONGEST_RETRY_AFTER = timedelta(days=1)
"""The longest delay that a receiver's ``Retry-After`` can cause."""

THROTTLED = 429
GONE = 410
"""The receiver wants no more messages: the endpoint is disabled (Standard Webhooks)."""

SALT = "filestack_tags.outbound"
State = OutboundMessage.State


@dataclass(frozen=True)
class _Letter:
    """A message with everything needed to send it."""

    message: OutboundMessage
    url: str
    secrets: tuple[str, ...]


# Endpoints


def save_endpoint(
    *,
    url: str,
    events: Iterable[str],
    description: str = "",
    is_active: bool = True,
    endpoint_id: int | None = None,
) -> WebhookEndpoint:
    """Create or change an endpoint; return it. :func:`secret_of` returns its secret.

    Raises:
        EndpointError: when the URL cannot be used, or an event is unknown or missing.
        WebhookEndpoint.DoesNotExist: when there is no endpoint with that id.
    """
    known = check_endpoint(url=url, events=events)
    with atomic():
        endpoint = WebhookEndpoint()
        if endpoint_id is not None:
            endpoint = locked(WebhookEndpoint.objects.filter(pk=endpoint_id)).get()
        endpoint.url, endpoint.events = url, known
        endpoint.description, endpoint.is_active = description, is_active
        endpoint.save(using=alias())
    outbox.forget()
    return endpoint


def check_endpoint(*, url: str, events: Iterable[str]) -> list[str]:
    """Return the events in their order. Does not resolve the host name; each request does.

    Raises:
        EndpointError: as :func:`save_endpoint`.
    """
    require_usable(url, insecure=get_settings().OUTBOUND_ALLOW_INSECURE)
    given = set(events)
    if not given or not given <= set(outbox.EVENTS):
        raise EndpointError(f"Choose among the events {', '.join(outbox.EVENTS)}.")
    return [event for event in outbox.EVENTS if event in given]


def delete_endpoint(endpoint_id: int) -> None:
    """Delete an endpoint with its messages. Idempotent."""
    WebhookEndpoint.objects.using(alias()).filter(pk=endpoint_id).delete()
    outbox.forget()


@retrying
def new_secret(endpoint_id: int, *, known: str | None = None) -> str:
    """Give an endpoint a new secret, and return it. The previous one also signs for a day.

    Args:
        endpoint_id: the endpoint.
        known: when the secret was last replaced as far as the caller knows, in ISO 8601; "" for
            never. If it was replaced since, nothing is done and "" is returned. Otherwise a button
            pressed twice would replace a secret that is a second old, and the original secret would
            no longer sign.

    Raises:
        WebhookEndpoint.DoesNotExist: when there is no endpoint with that id.
    """
    with atomic():
        endpoint = locked(WebhookEndpoint.objects.filter(pk=endpoint_id)).get()
        last = endpoint.rotated_at.isoformat() if endpoint.rotated_at else ""
        if known not in (None, last):
            return ""
        endpoint.former_nonce, endpoint.nonce = endpoint.nonce, new_nonce()
        endpoint.rotated_at = timezone.now()
        endpoint.save(using=alias(), update_fields=("nonce", "former_nonce", "rotated_at"))
    return secret_of(endpoint)


def secret_of(endpoint: WebhookEndpoint) -> str:
    """Return the secret (``whsec_…``) that receivers verify with. Show it once, never log it."""
    return _secret(endpoint.nonce, django_settings.SECRET_KEY)


def _secrets(endpoint: WebhookEndpoint) -> tuple[str, ...]:
    nonces = [endpoint.nonce]
    rotated = endpoint.rotated_at
    if endpoint.former_nonce and rotated and timezone.now() < rotated + OVERLAP:
        nonces.append(endpoint.former_nonce)
    keys = (django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS)
    return tuple(_secret(nonce, key) for nonce in nonces for key in keys)


def _secret(nonce: str, key: Any) -> str:
    digest = salted_hmac(SALT, nonce, secret=key, algorithm="sha256").digest()
    return f"whsec_{b64encode(digest).decode()}"


# Sending


def endpoints_due() -> list[int]:
    """Return the endpoints that have messages due now; none while outbound webhooks are off."""
    if not get_settings().OUTBOUND_WEBHOOKS:
        return []
    return list(_due().order_by().values_list("endpoint_id", flat=True).distinct())


def send_due() -> int:
    """Send the messages that are due, at most :data:`BATCH` to each endpoint; return how many.

    Endpoints are served one after the other; see :func:`deliver`.
    """
    return sum(deliver(pk) for pk in endpoints_due())


def deliver(endpoint_id: int) -> int:
    """Send the due messages of one endpoint, at most :data:`BATCH`; return how many.

    Each request ends within ``OUTBOUND_TIMEOUT`` seconds. If the endpoint is down, one request is
    enough to show it: its other due messages count as failed too. A failed message is retried, up
    to ``OUTBOUND_MAX_ATTEMPTS`` times. Safe to run concurrently.
    """
    due = _due().filter(endpoint=endpoint_id).order_by("due_at")
    letters = _take(list(due.values_list("pk", flat=True)[:BATCH]))
    answers = _post(letters)
    for message, answer in answers:
        _settle(message, answer)
    if answers and _is_down(answers[-1][1]):
        _postpone(endpoint_id, answers[-1][1])
    return len(letters)


def _due() -> QuerySet[OutboundMessage]:
    return OutboundMessage.objects.using(alias()).filter(due_at__lte=timezone.now())


def resend(message_ids: Iterable[int]) -> list[int]:
    """Resend messages that were sent or have failed; return the ids of those that will be sent."""
    closed = OutboundMessage.objects.using(alias()).filter(state__in=(State.SENT, State.DEAD))
    again = []
    for pk in message_ids:
        fresh = {"state": State.WAITING, "due_at": timezone.now(), "attempts": 0, "error": ""}
        if closed.filter(pk=pk).update(**fresh):
            again.append(pk)
    return again


@retrying
def _take(message_ids: Sequence[int]) -> list[_Letter]:
    """Lease messages to this process, which has :data:`LOST_AFTER` to send them."""
    now = timezone.now()
    with atomic():
        rows = locked(OutboundMessage.objects.filter(pk__in=message_ids), skip_held=True)
        due = [row for row in rows.order_by("pk") if row.due_at and row.due_at <= now]
        if not due:
            return []
        endpoints = WebhookEndpoint.objects.using(alias()).in_bulk(
            {row.endpoint_id for row in due}
        )
        orphans = [row.pk for row in due if row.endpoint_id not in endpoints]
        OutboundMessage.objects.using(alias()).filter(pk__in=orphans).delete()
        taken = [row for row in due if row.endpoint_id in endpoints]
        OutboundMessage.objects.using(alias()).filter(pk__in=[row.pk for row in taken]).update(
            attempts=F("attempts") + 1, due_at=now + LOST_AFTER
        )
    letters = []
    for row in taken:
        endpoint = endpoints[row.endpoint_id]
        row.attempts += 1
        if endpoint.is_active:
            letters.append(_Letter(row, endpoint.url, _secrets(endpoint)))
        else:
            _settle(row, Answer(error="The endpoint is switched off."), is_final=True)
    return letters


def _post(letters: Sequence[_Letter]) -> list[tuple[OutboundMessage, Answer]]:
    """Post the messages of one endpoint, one by one, until a response shows that it is down."""
    settings = get_settings()
    answers: list[tuple[OutboundMessage, Answer]] = []
    failed: Answer | None = None
    for letter in letters:
        if failed is None:
            answer = post(
                letter.url,
                letter.message.body.encode(),
                headers_of(letter.message, letter.secrets),
                timeout=settings.OUTBOUND_TIMEOUT,
                insecure=settings.OUTBOUND_ALLOW_INSECURE,
            )
            failed = answer if _is_down(answer) or answer.status == GONE else None
        else:
            answer = failed
        answers.append((letter.message, answer))
    return answers


def headers_of(message: OutboundMessage, secrets: Iterable[str]) -> dict[str, str]:
    """Return the headers to send a message with now, signed with each secret."""
    from standardwebhooks import Webhook  # only where something is sent

    now = datetime.now(UTC)
    signatures = (
        Webhook(secret).sign(message.webhook_id, now, message.body) for secret in secrets
    )
    return {
        "Content-Type": "application/json",
        "User-Agent": "django-filestack-tags",
        "webhook-id": message.webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


@retrying
def _settle(message: OutboundMessage, answer: Answer, *, is_final: bool = False) -> None:
    """Save the result of a message, unless another process has settled it meanwhile."""
    now = timezone.now()
    if answer.status == GONE:
        WebhookEndpoint.objects.using(alias()).filter(pk=message.endpoint_id).update(
            is_active=False
        )
        outbox.forget()
        is_final = True
    changes = _course(answer, message.attempts, now, is_final=is_final)
    rows = OutboundMessage.objects.using(alias()).filter(pk=message.pk, state=State.WAITING)
    _tell(changes["state"], rows.update(**changes))


@retrying
def _postpone(endpoint_id: int, answer: Answer) -> None:
    """Count a failure for the other due messages of an endpoint, without sending them."""
    now = timezone.now()
    waiting_messages = OutboundMessage.objects.using(alias()).filter(
        state=State.WAITING, due_at__lte=now
    )
    due = waiting_messages.filter(endpoint=endpoint_id).order_by("pk")
    by_attempts: dict[int, list[int]] = {}
    for pk, attempts in due.values_list("pk", "attempts")[:POSTPONED]:
        by_attempts.setdefault(attempts + 1, []).append(pk)
    for attempts, ids in by_attempts.items():
        changes = _course(answer, attempts, now)
        rows = waiting_messages.filter(pk__in=ids)
        _tell(changes["state"], rows.update(**changes, attempts=attempts))


def _course(
    answer: Answer, attempts: int, now: datetime, *, is_final: bool = False
) -> dict[str, Any]:
    """Return how an answer changes a message after this many attempts."""
    changes: dict[str, Any] = {"http_status": answer.status, "error": answer.error[:200]}
    if answer.is_accepted:
        return changes | {"state": State.SENT, "due_at": None, "sent_at": now}
    if is_final or attempts >= get_settings().OUTBOUND_MAX_ATTEMPTS:
        return changes | {"state": State.DEAD, "due_at": None}
    return changes | {"state": State.WAITING, "due_at": now + _wait(answer, attempts)}


def _tell(state: str, messages: int) -> None:
    if state == State.SENT:
        metrics.count("outbound.sent", messages)
    elif state == State.DEAD:
        metrics.count("outbound.failed", messages)
    else:
        metrics.count("outbound.retried", messages)


def _is_down(answer: Answer) -> bool:
    """Whether another message would fail now too."""
    return answer.status is None or answer.status == THROTTLED or answer.status >= 500


def _wait(answer: Answer, attempts: int) -> timedelta:
    """Return how long a message waits: our own delay, or the receiver's if that is longer."""
    # With jitter: everything that waits for the receiver got the same Retry-After.
    asked = (answer.retry_after or 0.0) * SystemRandom().uniform(1, 1.2)
    asked = min(asked, LONGEST_RETRY_AFTER.total_seconds())
    return max(_delay(attempts), timedelta(seconds=asked))


def _delay(attempts: int) -> timedelta:
    """Return the delay after this many attempts: doubled each time, with jitter."""
    seconds = get_settings().RETRY_DELAY * 2.0 ** min(attempts - 1, 20)
    return min(timedelta(seconds=seconds), LONGEST_DELAY) * SystemRandom().uniform(1, 1.2)
