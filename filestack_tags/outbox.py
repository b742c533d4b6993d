"""Outbox: what other systems are to be told, written by the transaction that did it.

So a message is there exactly if its effect is, whoever dies. Sending is of :mod:`.outbound`. While
``OUTBOUND_WEBHOOKS`` is off nothing is asked of the database; while it is on, the endpoints are
read once in :data:`REMEMBERED` seconds by each process, and a transaction writes its messages by
one statement.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from django.utils import timezone

from .conf import get_settings
from .models import OutboundMessage, TaggingRun, WebhookEndpoint
from .transactions import alias, on_commit

TAGGED, FAILED, DECIDED = EVENTS = tuple(OutboundMessage.Event.values)
"""What is told: new tags were applied, an asset could not be tagged, a person decided."""

REMEMBERED = 5.0
"""Seconds for which a process remembers the endpoints. Those made or changed by another one take
so long to have an effect."""

BATCH = 500
"""Messages in one statement."""


@dataclass(frozen=True)
class _Known:
    until: float
    endpoints: tuple[tuple[int, frozenset[str]], ...]


_memory: dict[str, _Known] = {}
_wakers: list[Callable[[], object]] = []


def note(event: str, told: Iterable[Mapping[str, Any]]) -> None:
    """Write a message of ``event`` for each of ``told`` and each endpoint that wants it.

    In the transaction of what is told, which has to be open; nothing is sent before its commit.

    Args:
        event: one of :data:`EVENTS`.
        told: the ``data`` of each message. It is not looked at where nobody wants the event.
    """
    wanted = [pk for pk, events in _endpoints() if event in events]
    if not wanted:
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
        for data in told
        for pk in wanted
    ]
    OutboundMessage.objects.using(alias()).bulk_create(messages, batch_size=BATCH)
    on_commit(_wake)


def note_failure(run: TaggingRun) -> None:
    """Write that an asset could not be tagged, as :func:`note` does."""
    told = {"asset_id": run.asset_id, "run_id": run.pk, "error_code": run.error_code}
    note(FAILED, [told])


def wake_by(waker: Callable[[], object]) -> None:
    """Have ``waker`` called after each commit that wrote messages."""
    _wakers.append(waker)


def forget() -> None:
    """Have this process read the endpoints again, such as after one was changed."""
    _memory.clear()


def _wake() -> None:
    for waker in _wakers:
        waker()


def _endpoints() -> tuple[tuple[int, frozenset[str]], ...]:
    if not get_settings().OUTBOUND_WEBHOOKS:
        return ()
    using, now = alias(), monotonic()
    known = _memory.get(using)
    if known is None or known.until <= now:
        rows = WebhookEndpoint.objects.using(using).filter(is_active=True)
        found = rows.order_by("pk").values_list("pk", "events")
        endpoints = tuple((pk, frozenset(events)) for pk, events in found)
        known = _memory[using] = _Known(now + REMEMBERED, endpoints)
    return known.endpoints
