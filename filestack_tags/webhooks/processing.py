"""Processing: apply stored webhook deliveries, each once.

:func:`process` runs in a task. If its process crashes, :func:`.inbox.waiting` returns the delivery
again.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import DataError, IntegrityError, OperationalError
from django.utils import timezone

from filestack_tags import metrics
from filestack_tags.conf import get_settings
from filestack_tags.db.text import storable
from filestack_tags.db.transactions import alias, atomic, locked, retrying
from filestack_tags.error_codes import ErrorCode
from filestack_tags.exceptions import PayloadError
from filestack_tags.filestack.payloads import Event, parse_event
from filestack_tags.filestack.payloads.reading import decode
from filestack_tags.models import WebhookDelivery

from . import file_events, handlers, leases, workflow_jobs
from .event_time import Handled

logger = logging.getLogger(__name__)

INCORRECT_STRING = 1366
"""MariaDB's error for text that the character set of its column cannot store."""

REPLACED = (
    " Characters that the database cannot store were replaced: convert it to utf8mb4, see "
    "filestack_tags.W027."
)


@dataclass(frozen=True)
class Outcome:
    """The result of processing.

    ``to_tag`` are assets whose tagging task should be enqueued. ``retry_at`` is set when the
    delivery should be processed again at that time. ``taken`` is false if it was left alone.
    """

    state: str
    to_tag: tuple[int, ...] = ()
    retry_at: datetime | None = None
    taken: bool = True


def process(delivery_id: int) -> Outcome:
    """Apply a delivery; the body of the task.

    The effect and the delivery's new state are one transaction. A delivery that is done, taken or
    not due is left alone. A payload that cannot be parsed fails the delivery for good. After any
    other error it is retried a bounded number of times.
    """
    delivery = _take(delivery_id)
    return delivery if isinstance(delivery, Outcome) else _unless_overtaken(delivery)


def _unless_overtaken(delivery: WebhookDelivery) -> Outcome:
    try:
        return _process(delivery)
    except leases.Overtaken:
        logger.warning("Webhook delivery %s was taken over by another process", delivery.pk)
        return Outcome("overtaken")


def process_all(delivery_ids: Sequence[int]) -> list[Outcome]:
    """Apply deliveries, as :func:`process` does; return their results, in their order.

    Deliveries that were never tried are leased together. The results of workflow jobs among them
    are applied together, in one transaction with the deliveries' new states; so are uploads,
    overwrites and deletions of files. If that fails, each delivery is processed separately, so that
    a bad one does not affect the others.
    """
    taken = leases.take_new(delivery_ids)
    done = _process_together([taken[pk] for pk in delivery_ids if pk in taken])
    outcomes: list[Outcome] = []
    for pk in delivery_ids:
        if pk in done:
            outcomes.append(done[pk])
        elif pk in taken:
            outcomes.append(_unless_overtaken(taken[pk]))
        else:
            outcomes.append(process(pk))
    return outcomes


def _process_together(taken: Sequence[WebhookDelivery]) -> dict[int, Outcome]:
    """Process the deliveries that can be processed together; return the results by delivery."""
    told_jobs: list[workflow_jobs.Told] = []
    told_files: list[file_events.Told] = []
    silent: list[tuple[Event, WebhookDelivery]] = []
    for delivery in taken:
        with suppress(PayloadError):  # raised again when it is processed alone
            event = parse_event(bytes(delivery.raw_body))
            if event.action in file_events.EFFECTS:
                told_files.append(file_events.told(delivery, event))
            elif handlers.says_nothing(event):
                silent.append((event, delivery))
            elif job := workflow_jobs.told(delivery, event):
                told_jobs.append(job)
    # Jobs first: a file that has its tags already need not be tagged after its upload event.
    return {
        **_attempt(
            [one.delivery for one in told_jobs],
            lambda: workflow_jobs.apply_all(told_jobs),
            ahead=lambda: handlers.prepare_all(one.event for one in told_jobs),
        ),
        **_attempt(
            [one.delivery for one in told_files], lambda: file_events.apply_all(told_files)
        ),
        **_attempt(
            [delivery for _, delivery in silent],
            lambda: {
                delivery.pk: handlers.handle(event, delivery) for event, delivery in silent
            },
        ),
    }


Work = Callable[[], dict[int, Handled]]


def _attempt(
    those: Sequence[WebhookDelivery], work: Work, *, ahead: Callable[[], None] = lambda: None
) -> dict[int, Outcome]:
    """Apply ``work`` to deliveries in one transaction; return nothing if it fails."""
    if len(those) < 2:
        return {}
    try:
        try:
            done = _finish(those, work, ahead)
        except IntegrityError:  # such as for a file that another process registered meanwhile
            done = _finish(those, work, ahead)
    except Exception as error:  # noqa: BLE001  each is processed alone next, with a better error
        logger.info("Deliveries are processed one by one: %s", type(error).__name__)
        return {}
    for delivery in those:
        if delivery.pk in done:
            metrics.count("webhook.processed", action=handlers.known_action(delivery.action))
    return {pk: Outcome(handled.state, handled.to_tag) for pk, handled in done.items()}


@retrying
def _finish(
    those: Sequence[WebhookDelivery], work: Work, ahead: Callable[[], None]
) -> dict[int, Handled]:
    ahead()
    with atomic():
        done = work()
        held = leases.hold([delivery for delivery in those if delivery.pk in done])
        for delivery in held:
            handled = done[delivery.pk]
            leases.settle(
                delivery, handled.state, outcome=handled.text, asset_id=handled.asset_id
            )
        leases.write(held)
    return done


def _process(delivery: WebhookDelivery) -> Outcome:
    try:
        body = bytes(delivery.raw_body)
        try:
            done = _handle(parse_event(body), delivery)
        except (DataError, OperationalError) as error:
            if error.args[:1] != (INCORRECT_STRING,):
                raise
            done = _handle(parse_event(_in_three_bytes(body)), delivery, note=REPLACED)
    except PayloadError as error:
        _refuse(delivery, error)
        return Outcome(delivery.state)
    except leases.Overtaken:
        raise
    except Exception as error:
        logger.exception("Processing webhook delivery %s failed", delivery.pk)
        return _fail(delivery, error)
    metrics.count("webhook.processed", action=handlers.known_action(delivery.action))
    return Outcome(done.state, to_tag=done.to_tag)


@retrying
def _handle(event: Event, delivery: WebhookDelivery, *, note: str = "") -> Handled:
    handlers.prepare(event)
    with atomic():
        done = handlers.handle(event, delivery)
        leases.hold([delivery])
        text = f"{done.text}{note}"
        leases.close(delivery, done.state, outcome=text, asset_id=done.asset_id)
    return done


def _in_three_bytes(body: bytes) -> bytes:
    """Return a JSON body with U+FFFD for each character that MariaDB's utf8mb3 does not have."""
    payload, _ = decode(body)
    text = storable(json.dumps(payload, ensure_ascii=False))
    return re.sub("[\U00010000-\U0010ffff]", "\ufffd", text).encode()


@retrying
def _refuse(delivery: WebhookDelivery, error: PayloadError) -> None:
    with atomic():
        leases.hold([delivery])
        leases.close(
            delivery,
            WebhookDelivery.State.FAILED,
            error=str(error),
            error_code=ErrorCode.PAYLOAD,
        )


@retrying
def _take(delivery_id: int) -> WebhookDelivery | Outcome:
    with atomic():
        delivery = locked(WebhookDelivery.objects.filter(pk=delivery_id)).first()
        if delivery is None:
            return Outcome("gone", taken=False)
        if not leases.may_be_taken(delivery):
            return Outcome(delivery.state, taken=False)
        if delivery.attempts >= get_settings().WEBHOOK_MAX_ATTEMPTS:
            leases.close(
                delivery,
                WebhookDelivery.State.FAILED,
                error=delivery.error or ErrorCode.ABANDONED.english_meaning,
                error_code=delivery.error_code or ErrorCode.ABANDONED,
            )
            return Outcome(delivery.state)
        leases.take(delivery)
    return delivery


@retrying
def _fail(delivery: WebhookDelivery, error: Exception) -> Outcome:
    """Record the error outside the transaction that it rolled back."""
    settings = get_settings()
    text = "".join(traceback.format_exception(error))
    code = storable(type(error).__name__, 50)
    with atomic():
        leases.hold([delivery])
        if delivery.attempts >= settings.WEBHOOK_MAX_ATTEMPTS:
            leases.close(delivery, WebhookDelivery.State.FAILED, error=text, error_code=code)
            return Outcome(delivery.state)
        tries = delivery.attempts - 1
        delay = min(settings.RETRY_DELAY * 2**tries, settings.RETRY_DELAY_MAX)
        delivery.state = WebhookDelivery.State.RECEIVED
        delivery.error, delivery.error_code = storable(text), code
        delivery.due_at = timezone.now() + timedelta(seconds=delay)
        delivery.save(using=alias(), update_fields=("state", "error", "error_code", "due_at"))
    metrics.count("webhook.retried")
    return Outcome(delivery.state, retry_at=delivery.due_at)
