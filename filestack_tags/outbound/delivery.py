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
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings as django_settings
from django.utils import timezone
from django.utils.crypto import salted_hmac

from filestack_tags import metrics
from filestack_tags.concurrency.backoff import backoff
from filestack_tags.conf import get_settings
from filestack_tags.db.transactions import alias, atomic, locked, on_commit, retry_on_deadlock
from filestack_tags.exceptions import EndpointError
from filestack_tags.models import LeaseLost, OutboundEndpoint, OutboundMessage
from filestack_tags.models.outbound import new_nonce

from . import outbox
from .http import PostResult, post, require_usable

logger = logging.getLogger(__name__)

BATCH_SIZE = 20
"""Messages to one endpoint that are leased together. Even if each takes the maximum time, they are
sent before another process counts them as lost.
"""

POSTPONED = 500
"""Messages of an unreachable endpoint that one batch postpones."""

LEASE_SECONDS = 600
"""How long after it was leased a message is sent by another process."""

OVERLAP = timedelta(days=1)
"""How long the previous secret of an endpoint still signs."""

LONGEST_DELAY = 6 * 60 * 60
"""The longest delay in seconds between two attempts, unless the receiver requests more."""

LONGEST_RETRY_AFTER = 24 * 60 * 60
"""The longest delay in seconds that a receiver's ``Retry-After`` can cause."""

THROTTLED = 429
GONE = 410
"""The receiver wants no more messages: the endpoint is disabled (Standard Webhooks)."""

SALT = "filestack_tags.outbound"
State = OutboundMessage.State


# Endpoints


def save_endpoint(
    *,
    url: str,
    events: Iterable[str],
    description: str = "",
    is_active: bool = True,
    endpoint_id: int | None = None,
) -> OutboundEndpoint:
    """Create or change an endpoint; return it. :func:`secret_of` returns its secret.

    Raises:
        EndpointError: when the URL cannot be used, or an event is unknown or missing.
        OutboundEndpoint.DoesNotExist: when there is no endpoint with that id.
    """
    known = check_endpoint(url=url, events=events)
    with atomic():
        endpoint = OutboundEndpoint()
        if endpoint_id is not None:
            endpoint = locked(OutboundEndpoint.objects.filter(pk=endpoint_id)).get()
        endpoint.url, endpoint.events = url, known
        endpoint.description, endpoint.is_active = description, is_active
        endpoint.save(using=alias())
    outbox.clear_cache()
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
    OutboundEndpoint.objects.using(alias()).filter(pk=endpoint_id).delete()
    outbox.clear_cache()


@retry_on_deadlock
def new_secret(endpoint_id: int, *, known: str | None = None) -> str:
    """Give an endpoint a new secret, and return it. The previous one also signs for a day.

    Args:
        endpoint_id: the endpoint.
        known: when the secret was last replaced as far as the caller knows, in ISO 8601; "" for
            never. If it was replaced since, nothing is done and "" is returned. Otherwise a button
            pressed twice would replace a secret that is a second old, and the original secret would
            no longer sign.

    Raises:
        OutboundEndpoint.DoesNotExist: when there is no endpoint with that id.
    """
    with atomic():
        endpoint = locked(OutboundEndpoint.objects.filter(pk=endpoint_id)).get()
        last = endpoint.rotated_at.isoformat() if endpoint.rotated_at else ""
        if known not in (None, last):
            return ""
        endpoint.former_nonce, endpoint.nonce = endpoint.nonce, new_nonce()
        endpoint.rotated_at = timezone.now()
        endpoint.save(using=alias(), update_fields=("nonce", "former_nonce", "rotated_at"))
    return secret_of(endpoint)


def secret_of(endpoint: OutboundEndpoint) -> str:
    """Return the secret (``whsec_…``) that receivers verify with. Show it once, never log it."""
    return _secret(endpoint.nonce, django_settings.SECRET_KEY)


def _secrets(endpoint: OutboundEndpoint) -> tuple[str, ...]:
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
    due = OutboundMessage.objects.due().order_by()
    return list(due.values_list("endpoint_id", flat=True).distinct())


def send_due() -> int:
    """Send the messages that are due, at most :data:`BATCH_SIZE` to each endpoint; return how many.

    Endpoints are served one after the other; see :func:`deliver`.
    """
    return sum(deliver(pk) for pk in endpoints_due())


def deliver(endpoint_id: int) -> int:
    """Send the due messages of one endpoint, at most :data:`BATCH_SIZE`; return how many.

    Each request ends within ``OUTBOUND_TIMEOUT`` seconds. If the endpoint is down, one request is
    enough to show it: its other due messages count as failed too. A failed message is retried, up
    to ``OUTBOUND_MAX_ATTEMPTS`` times. Safe to run concurrently.
    """
    messages = _acquire(endpoint_id, BATCH_SIZE)
    endpoint = OutboundEndpoint.objects.using(alias()).filter(pk=endpoint_id).first()
    if endpoint is None:
        pks = [message.pk for message in messages]
        OutboundMessage.objects.using(alias()).filter(pk__in=pks).delete()
        return 0
    secrets = _secrets(endpoint)
    failed: PostResult | None = None
    if not endpoint.is_active:
        failed = PostResult(error="The endpoint is switched off.")
    for message in messages:
        result = failed or _post(message, endpoint.url, secrets)
        if result.status == GONE:
            _deactivate(endpoint)
        if _is_down(result):
            failed = result
        _record([message], result, is_final=not endpoint.is_active)
    if failed and endpoint.is_active:
        _record(_acquire(endpoint_id, POSTPONED), failed)
    return len(messages)


def _acquire(endpoint_id: int, limit: int) -> list[OutboundMessage]:
    due = OutboundMessage.objects.due().filter(endpoint=endpoint_id)
    return OutboundMessage.objects.acquire(
        list(due.values_list("pk", flat=True)[:limit]),
        seconds=LEASE_SECONDS,
        max_attempts=get_settings().OUTBOUND_MAX_ATTEMPTS,
    )


def resend(message_ids: Iterable[int]) -> list[int]:
    """Resend messages that were sent or have failed; return the ids of those that will be sent."""
    return OutboundMessage.objects.reopen(message_ids)


def _post(message: OutboundMessage, url: str, secrets: Iterable[str]) -> PostResult:
    settings = get_settings()
    return post(
        url,
        message.body.encode(),
        headers_of(message, secrets),
        timeout=settings.OUTBOUND_TIMEOUT,
        insecure=settings.OUTBOUND_ALLOW_INSECURE,
    )


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


def _deactivate(endpoint: OutboundEndpoint) -> None:
    endpoint.is_active = False
    endpoint.save(using=alias(), update_fields=("is_active",))
    outbox.clear_cache()


@retry_on_deadlock
def _record(
    messages: Sequence[OutboundMessage], result: PostResult, *, is_final: bool = False
) -> None:
    """Save the result of messages, unless another process has leased them meanwhile."""
    limit = get_settings().OUTBOUND_MAX_ATTEMPTS
    with suppress(LeaseLost), atomic():
        OutboundMessage.objects.lock_leased(messages)
        for message in messages:
            message.http_status = result.status
            if result.is_accepted:
                message.sent_at = timezone.now()
                message.close(State.SENT)
            elif is_final or message.attempts >= limit:
                message.close(State.FAILED, result.error)
            else:
                message.retry(_delay(result, message.attempts), result.error)
                on_commit(lambda: metrics.count("outbound.retried"))
        rows = OutboundMessage.objects.using(alias())
        rows.bulk_update(messages, OutboundMessage.LEASE_FIELDS)


def _is_down(result: PostResult) -> bool:
    """Whether another message would fail now too."""
    return result.status in (None, THROTTLED, GONE) or result.status >= 500


def _delay(result: PostResult, attempts: int) -> timedelta:
    """Return how long a message waits: our own delay, or the receiver's if that is longer."""
    base = get_settings().RETRY_DELAY
    own = backoff(attempts, base=base, longest=LONGEST_DELAY)
    if not result.retry_after:
        return own
    # With jitter: everything that waits for the receiver got the same Retry-After.
    jitter = backoff(1, base=base, longest=LONGEST_DELAY).total_seconds()
    requested = min(result.retry_after + jitter, LONGEST_RETRY_AFTER)
    return max(own, timedelta(seconds=requested))
