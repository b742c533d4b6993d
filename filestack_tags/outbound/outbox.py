"""Outbox: messages for other systems, written in the transaction that they report.

So a message exists exactly if its effect does, even after a crash. :mod:`.delivery` sends the
messages. While ``OUTBOUND_WEBHOOKS`` is off, no query is made. While it is on, each process reads
the endpoints once in :data:`REMEMBERED` seconds, and a transaction writes its messages in one
statement.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from django.utils import timezone

from filestack_tags.conf import get_settings
from filestack_tags.db.transactions import alias, on_commit
from filestack_tags.models import OutboundEndpoint, OutboundMessage

TAGGED, FAILED, DECIDED = EVENTS = tuple(OutboundMessage.Event.values)
"""The events: new tags were applied, an asset could not be tagged, a user decided."""

REMEMBERED = 5.0
"""Seconds for which a process caches the endpoints. Changes by other processes take effect after
this time.
"""

BATCH_SIZE = 500
"""Messages in one statement."""


@dataclass(frozen=True)
class _CachedEndpoints:
    until: float
    endpoints: tuple[tuple[int, frozenset[str]], ...]


_cache: dict[str, _CachedEndpoints] = {}
_wakers: list[Callable[[], object]] = []


def record(event: str, payloads: Iterable[Mapping[str, Any]]) -> None:
    """Write a message for each payload and each endpoint that subscribes to the event.

    Call it in the transaction that the messages report. Nothing is sent before its commit.

    Args:
        event: one of :data:`EVENTS`.
        payloads: the ``data`` of each message. Not evaluated if no endpoint subscribes.
    """
    endpoint_ids = [pk for pk, events in _endpoints() if event in events]
    if not endpoint_ids:
        return
    now = timezone.now()
    moment = now.isoformat(timespec="milliseconds")
    messages = [
        OutboundMessage(
            endpoint_id=pk,
            event=event,
            body=json.dumps({"type": event, "timestamp": moment, "data": data}),
            due_at=now,
            created_at=now,
        )
        for data in payloads
        for pk in endpoint_ids
    ]
    OutboundMessage.objects.using(alias()).bulk_create(messages, batch_size=BATCH_SIZE)
    on_commit(_wake)


def on_new_messages(waker: Callable[[], object]) -> None:
    """Call ``waker`` after each commit that wrote messages."""
    _wakers.append(waker)


def clear_cache() -> None:
    """Drop this process's cache of endpoints, for example after one was changed."""
    _cache.clear()


def _wake() -> None:
    for waker in _wakers:
        waker()


def _endpoints() -> tuple[tuple[int, frozenset[str]], ...]:
    if not get_settings().OUTBOUND_WEBHOOKS:
        return ()
    using, now = alias(), monotonic()
    cached = _cache.get(using)
    if cached is None or cached.until <= now:
        rows = OutboundEndpoint.objects.using(using).filter(is_active=True)
        subscriptions = rows.order_by("pk").values_list("pk", "events")
        endpoints = tuple((pk, frozenset(events)) for pk, events in subscriptions)
        cached = _cache[using] = _CachedEndpoints(now + REMEMBERED, endpoints)
    return cached.endpoints
