"""Processing: lease stored deliveries, apply them, and close them.

A delivery is closed in the transaction that applies it. So after a crash it was applied completely
or not at all, and :func:`.inbox.due` returns it again.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import DataError, OperationalError

from filestack_tags import metrics
from filestack_tags.concurrency.backoff import backoff
from filestack_tags.conf import get_settings
from filestack_tags.db.bulk_statements import update_rows
from filestack_tags.db.text import sanitize_text
from filestack_tags.db.transactions import alias, atomic, on_commit, retry_on_deadlock
from filestack_tags.error_codes import ErrorCode
from filestack_tags.exceptions import PayloadError
from filestack_tags.filestack.payloads import parse_event
from filestack_tags.filestack.payloads.reading import decode
from filestack_tags.models import Leased, LeaseLost, WebhookDelivery
from filestack_tags.tagging import results

from . import handlers, workflow_jobs
from .handler_types import HandlerResult, ReceivedEvent
from .handlers import Handler

logger = logging.getLogger(__name__)

INCORRECT_STRING = 1366
"""MariaDB's error for text that the character set of its column cannot store."""

REPLACED = (
    " Characters that the database cannot store were replaced: convert it to utf8mb4, see "
    "filestack_tags.W027."
)

State = WebhookDelivery.State


@dataclass(frozen=True)
class Outcome:
    """The result of processing a delivery.

    ``to_tag`` are assets whose tagging task should be enqueued. ``retry_at`` is set when the
    delivery should be processed again at that time.
    """

    delivery_id: int
    state: str
    to_tag: tuple[int, ...] = ()
    retry_at: datetime | None = None


def process(delivery_ids: Sequence[int]) -> list[Outcome]:
    """Apply deliveries; return the outcome of each one that was leased.

    Deliveries that were never tried are leased together, and applied together by kind. If that
    fails, each is applied separately, so that a bad one does not affect the others. A delivery that
    is closed, leased or not due is left alone. A payload that cannot be parsed fails the delivery
    for good. After any other error it is retried, up to ``WEBHOOK_MAX_ATTEMPTS`` times.
    """
    outcomes: list[Outcome] = []
    for start in range(0, len(delivery_ids), results.BATCH_SIZE):
        ids = delivery_ids[start : start + results.BATCH_SIZE]
        new = _acquire(ids, only_new=True)
        outcomes += _apply(new)
        together = {delivery.pk for delivery in new}
        for pk in ids:
            outcomes += [] if pk in together else _apply(_acquire([pk]))
    return outcomes


def _acquire(ids: Sequence[int], *, only_new: bool = False) -> list[WebhookDelivery]:
    settings = get_settings()
    return WebhookDelivery.objects.acquire(
        ids,
        seconds=settings.LEASE_SECONDS,
        max_attempts=settings.WEBHOOK_MAX_ATTEMPTS,
        only_new=only_new,
    )


def _apply(deliveries: Sequence[WebhookDelivery]) -> list[Outcome]:
    """Apply leased deliveries, those of one kind together."""
    events: list[ReceivedEvent] = []
    outcomes: list[Outcome] = []
    for delivery in deliveries:
        try:
            events.append(ReceivedEvent(delivery, parse_event(bytes(delivery.raw_body))))
        except PayloadError as error:
            outcomes.append(_fail(delivery, error))
    for handler, group in handlers.group_by_handler(events):
        handled: dict[int, HandlerResult] = {}
        if len(group) > 1:
            try:
                handled = _handle(handler, group)
            except Exception as error:  # noqa: BLE001  each is applied alone next, with a better error
                logger.info("Deliveries are processed one by one: %s", type(error).__name__)
        for received in group:
            pk = received.delivery.pk
            if pk in handled:
                outcomes.append(Outcome(pk, handled[pk].state, handled[pk].to_tag))
            else:
                outcomes.append(_apply_alone(handler, received))
    return outcomes


def _apply_alone(handler: Handler, received: ReceivedEvent) -> Outcome:
    delivery = received.delivery
    try:
        try:
            handled = _handle(handler, [received])
        except (DataError, OperationalError) as error:
            if error.args[:1] != (INCORRECT_STRING,):
                raise
            body = _in_three_bytes(bytes(delivery.raw_body))
            handled = _handle(handler, [ReceivedEvent(delivery, parse_event(body))], REPLACED)
    except LeaseLost:
        logger.warning("Webhook delivery %s was leased by another process", delivery.pk)
        return Outcome(delivery.pk, "lease_lost")
    except Exception as error:  # noqa: BLE001  stored with the delivery
        return _fail(delivery, error)
    result = handled[delivery.pk]
    return Outcome(delivery.pk, result.state, result.to_tag)


@retry_on_deadlock
def _handle(
    handler: Handler, events: Sequence[ReceivedEvent], note: str = ""
) -> dict[int, HandlerResult]:
    """Apply events and close their deliveries in one transaction; return the results.

    The deliveries are locked last, as everywhere.
    """
    if handler is workflow_jobs.apply:
        workflow_jobs.prepare(events)
    with atomic():
        handled = handler(events)
        closed = [received.delivery for received in events if received.delivery.pk in handled]
        WebhookDelivery.objects.lock_leased(closed)
        for delivery in closed:
            result = handled[delivery.pk]
            delivery.close(result.state)
            delivery.outcome = sanitize_text(f"{result.text}{note}")
            delivery.asset_id = result.asset_id
        update_rows(closed, WebhookDelivery.LEASE_FIELDS)
    return handled


def _in_three_bytes(body: bytes) -> bytes:
    """Return a JSON body with U+FFFD for each character that MariaDB's utf8mb3 does not have."""
    payload, _ = decode(body)
    text = sanitize_text(json.dumps(payload, ensure_ascii=False))
    return re.sub("[\U00010000-\U0010ffff]", "\ufffd", text).encode()


@retry_on_deadlock
def _fail(delivery: WebhookDelivery, error: Exception) -> Outcome:
    """Record the error outside the transaction that it rolled back; retry unless it is final."""
    settings = get_settings()
    fields: tuple[str, ...] = WebhookDelivery.LEASE_FIELDS
    try:
        with atomic():
            WebhookDelivery.objects.lock_leased([delivery])
            if isinstance(error, PayloadError):
                delivery.close(State.FAILED, str(error), ErrorCode.PAYLOAD)
            else:
                logger.error(
                    "Processing webhook delivery %s failed", delivery.pk, exc_info=error
                )
                text = "".join(traceback.format_exception(error))
                code = type(error).__name__
                if delivery.attempts >= settings.WEBHOOK_MAX_ATTEMPTS:
                    delivery.close(State.FAILED, text, code)
                else:
                    delay = backoff(
                        delivery.attempts,
                        base=settings.RETRY_DELAY,
                        longest=settings.RETRY_DELAY_MAX,
                    )
                    delivery.retry(delay, text, code)
                    fields = Leased.LEASE_FIELDS  # of an earlier result, keep the rest
                    on_commit(lambda: metrics.count("webhook.retried"))
            delivery.save(using=alias(), update_fields=fields)
    except LeaseLost:
        return Outcome(delivery.pk, "lease_lost")
    return Outcome(delivery.pk, delivery.state, retry_at=delivery.due_at)
