"""Deliveries: lease them, and record how each ends.

A worker leases a delivery, applies it, and closes it in the same transaction. If another process
took the lease in the meantime, that transaction is rolled back.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import attrgetter

from django.utils import timezone

from filestack_tags import metrics
from filestack_tags.conf import get_settings
from filestack_tags.db.rowsets import update
from filestack_tags.db.text import storable
from filestack_tags.db.transactions import alias, atomic, locked, retrying
from filestack_tags.models import WebhookDelivery

from . import handlers

TAKEN = ("state", "attempts", "due_at")
CLOSED = ("state", "outcome", "error", "error_code", "asset", "due_at", "processed_at")
"""The columns that leasing and closing a delivery write."""

OPEN_STATES = (WebhookDelivery.State.RECEIVED, WebhookDelivery.State.PROCESSING)


class Overtaken(Exception):
    """The lease expired during the work, or the work was committed and the acknowledgment lost."""


def may_be_taken(delivery: WebhookDelivery) -> bool:
    """Whether a locked delivery is ready to be processed."""
    return delivery.state in OPEN_STATES and _is_due(delivery, timezone.now())


def take(delivery: WebhookDelivery) -> None:
    """Lease a locked delivery that may be taken."""
    _lease(delivery, timezone.now())
    delivery.save(using=alias(), update_fields=TAKEN)


@retrying
def take_new(delivery_ids: Sequence[int]) -> dict[int, WebhookDelivery]:
    """Lease deliveries that were never tried; leave the others alone.

    Only those without attempts are leased together: a delivery that crashes its worker costs each
    of the others one attempt, not all of them.
    """
    if len(delivery_ids) < 2:
        return {}
    now = timezone.now()
    with atomic():
        rows = locked(WebhookDelivery.objects.filter(pk__in=delivery_ids), skip_held=True)
        taken = [
            delivery
            for delivery in rows.order_by("pk")
            if delivery.state == WebhookDelivery.State.RECEIVED and not delivery.attempts
        ]
        for delivery in taken:
            _lease(delivery, now)
        write(taken, TAKEN)
    return {delivery.pk: delivery for delivery in taken}


def _lease(delivery: WebhookDelivery, now: datetime) -> None:
    delivery.state = WebhookDelivery.State.PROCESSING
    delivery.attempts += 1
    delivery.due_at = now + timedelta(seconds=get_settings().LEASE_SECONDS)


def _is_due(delivery: WebhookDelivery, now: datetime) -> bool:
    """Whether a delivery is due; one without attempts always is, whatever its host's clock."""
    is_new = delivery.state == WebhookDelivery.State.RECEIVED and not delivery.attempts
    return is_new or delivery.due_at is None or delivery.due_at <= now


def hold(deliveries: Sequence[WebhookDelivery]) -> Sequence[WebhookDelivery]:
    """Lock deliveries, as the last rows of their transaction, if this process still leases them.

    Raises:
        Overtaken: when another process has taken one since; the transaction must be rolled back.
    """
    ids = [delivery.pk for delivery in deliveries]
    rows = locked(WebhookDelivery.objects.filter(pk__in=ids)).order_by("pk")
    now = {pk: said for pk, *said in rows.values_list("pk", "state", "attempts")}
    for delivery in deliveries:
        if now.get(delivery.pk) != [WebhookDelivery.State.PROCESSING, delivery.attempts]:
            raise Overtaken
    return deliveries


def close(
    delivery: WebhookDelivery,
    state: str,
    *,
    outcome: str = "",
    error: str = "",
    error_code: str = "",
    asset_id: int | None = None,
) -> None:
    """Close a locked delivery and write it; see :func:`settle`."""
    settle(
        delivery,
        state,
        outcome=outcome,
        error=error,
        error_code=error_code,
        asset_id=asset_id,
    )
    delivery.save(using=alias(), update_fields=CLOSED)


def settle(
    delivery: WebhookDelivery,
    state: str,
    *,
    outcome: str = "",
    error: str = "",
    error_code: str = "",
    asset_id: int | None = None,
) -> None:
    """Set how a delivery ended, without writing it."""
    delivery.state = state
    delivery.outcome = storable(outcome)
    delivery.error = storable(error)
    delivery.error_code = storable(error_code, 50)
    delivery.asset_id = asset_id
    delivery.due_at = None
    first_time = delivery.processed_at is None
    delivery.processed_at = timezone.now()
    if first_time:
        waited = (delivery.processed_at - delivery.received_at).total_seconds()
        metrics.observe(
            "webhook.seconds", waited, action=handlers.known_action(delivery.action)
        )
    if state == WebhookDelivery.State.FAILED:
        metrics.count("webhook.failed")


def write(deliveries: Sequence[WebhookDelivery], fields: tuple[str, ...] = CLOSED) -> None:
    """Write locked deliveries, in one statement if the database supports it."""
    values = attrgetter("pk", *(f"{name}_id" if name == "asset" else name for name in fields))
    if deliveries:
        update(WebhookDelivery, fields, [values(delivery) for delivery in deliveries])
