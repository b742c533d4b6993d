"""News: a delivery and the event in it, when that happened, and what it came to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from django.utils import timezone

from .clock import CLOCKS_DIFFER, kept
from .filestack.payloads import Event
from .models import WebhookDelivery

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)

PROCESSED = WebhookDelivery.State.PROCESSED
IGNORED = WebhookDelivery.State.IGNORED


@dataclass(frozen=True)
class Handled:
    """What an event came to: the delivery's state, a sentence for people, and what is next."""

    state: str
    text: str
    asset_id: int | None = None
    to_tag: tuple[int, ...] = ()


def moment(event: Event, delivery: WebhookDelivery) -> datetime:
    """When the event happened, as the host keeps it."""
    return past(event.timestamp or delivery.received_at)


def past(moment: datetime) -> datetime:
    """Return ``moment`` as the host keeps it; neither the future nor a time before computers is
    believed, and at the ends of the calendar no time can be told in every zone.

    The future begins after what a slow clock may take for it: moved back, an overwrite would
    seem older than one that came before it.
    """
    if timezone.is_aware(moment):
        moment = min(max(moment, EARLIEST), datetime.now(UTC) + CLOCKS_DIFFER)
    return min(kept(moment), timezone.now() + CLOCKS_DIFFER)
