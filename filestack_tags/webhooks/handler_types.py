"""A received event: its delivery, its payload, when it happened, and the result of handling it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from django.utils import timezone

from filestack_tags.db.datetimes import CLOCKS_DIFFER, to_database_time
from filestack_tags.filestack.payloads import Event
from filestack_tags.models import WebhookDelivery

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)

PROCESSED = WebhookDelivery.State.PROCESSED
IGNORED = WebhookDelivery.State.IGNORED


@dataclass(frozen=True)
class ReceivedEvent:
    """A delivery and its parsed payload."""

    delivery: WebhookDelivery
    event: Event

    @property
    def happened_at(self) -> datetime:
        """When the event happened, in the form that the host stores."""
        return clamp_to_past(self.event.timestamp or self.delivery.received_at)


@dataclass(frozen=True)
class HandlerResult:
    """The result of an event: a delivery state, a sentence for users, and next steps."""

    state: str
    text: str
    asset_id: int | None = None
    to_tag: tuple[int, ...] = ()


def clamp_to_past(moment: datetime) -> datetime:
    """Return ``moment`` as the host stores it, limited to the range from 1970 to now.

    The upper limit is :data:`CLOCKS_DIFFER` in the future, since this clock may be slow. Moved back
    further, an overwrite would seem older than an earlier one. At the ends of the calendar a time
    cannot be converted to every time zone.
    """
    if timezone.is_aware(moment):
        moment = min(max(moment, EARLIEST), datetime.now(UTC) + CLOCKS_DIFFER)
    return min(to_database_time(moment), timezone.now() + CLOCKS_DIFFER)
