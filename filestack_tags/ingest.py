"""Ingest: verify a webhook request, store it, and later do what it says, once.

:func:`receive` runs inside the request and only stores; :func:`process` runs in a task. Between
the two anything may die: the delivery is on its row, and :func:`waiting` finds it again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from random import sample

from django.db import DataError, IntegrityError, OperationalError
from django.db.models import F, Q
from django.utils import timezone

from . import deliveries, events, files, jobs, metrics
from .conf import get_settings
from .deliveries import OPEN_STATES
from .exceptions import PayloadError, WebhookSignatureInvalid
from .filestack.payloads import Event, event_key, parse_event
from .filestack.payloads.reading import decode
from .filestack.security import verify_webhook, verify_webhook_chunks
from .inserting import insert_or_count
from .models import TOO_LARGE, WebhookDelivery
from .news import Handled
from .text import storable
from .transactions import alias, atomic, locked, retrying

logger = logging.getLogger(__name__)

KEPT_HEADERS = ("FS-Timestamp", "User-Agent", "Content-Type")
"""Headers stored with a delivery. The signature is not: with the body it is a credential."""

AT_ONCE = 16
"""Deliveries that a worker takes upon itself before it looks what else waits."""

CANDIDATES = 256
"""The oldest deliveries, from which workers draw theirs."""

REOPENED = 500
"""Deliveries of one transaction that are made fit to be processed again."""

LARGEST_READ = 64 * 1024 * 1024
"""Bytes of a body above ``WEBHOOK_MAX_BODY`` that are read, a part at a time, to verify it."""

INCORRECT_STRING = 1366
"""MariaDB's error for a text that the character set of its column does not have."""

REPLACED = (
    " Characters that the database cannot store were replaced: convert it to utf8mb4, see "
    "filestack_tags.W027."
)

UNREADABLE = "payload"
"""Error code of a delivery whose payload cannot be understood; trying again does not help."""

ABANDONED = "abandoned"
"""Error code of a delivery whose process died too often."""


@dataclass(frozen=True)
class Receipt:
    """What became of a request: the delivery's id, and whether it had come before."""

    delivery_id: int
    duplicate: bool


@dataclass(frozen=True)
class Outcome:
    """What came of processing.

    ``to_tag`` are assets whose tagging task should be enqueued; ``retry_at`` is set when the
    delivery should be processed again then. ``taken`` is false when it was left alone.
    """

    state: str
    to_tag: tuple[int, ...] = ()
    retry_at: datetime | None = None
    taken: bool = True


def receive(body: bytes, headers: Mapping[str, str]) -> Receipt:
    """Verify a request and store it, once for each event.

    Nothing is stored for a request that is refused. One that came before only adds to the
    delivery's count of duplicates.

    Raises:
        WebhookError: malformed, not signed by any of ``WEBHOOK_SECRETS``, or none configured.
    """
    settings = get_settings()
    verify_webhook(
        body, headers, settings.WEBHOOK_SECRETS, tolerance=settings.WEBHOOK_TOLERANCE
    )
    key, action = event_key(body)
    delivery_id, created = _store(key, action, body, headers)
    metrics.count("webhook.duplicate" if not created else "webhook.received")
    return Receipt(delivery_id, duplicate=not created)


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: storable(headers[name], 200) for name in KEPT_HEADERS if name in headers}


@retrying
def _store(key: str, action: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bool]:
    return insert_or_count(
        event_key=key,
        action=storable(action, 100),
        headers=_kept(headers),
        raw_body=body,
        at=timezone.now(),
    )


def note_too_large(start: bytes, rest: Iterable[bytes], headers: Mapping[str, str]) -> str:
    """Store that a body was too large, without it, if a configured secret signed it.

    The failed delivery shows operators what was refused. Only :data:`LARGEST_READ` bytes are
    read to verify the signature. Filestack sends the event again, for which the limit may have
    been raised.

    Returns:
        The size of the body, to be put into a sentence; ``""`` if it is not known.

    Raises:
        WebhookError: as :func:`receive`.
    """
    digest, size = hashlib.sha256(), 0

    def read() -> Iterator[bytes]:
        nonlocal size
        for chunk in chain((start,), rest):
            size += len(chunk)
            if size > LARGEST_READ:
                return
            digest.update(chunk)
            yield chunk

    settings = get_settings()
    chunks = read()
    try:
        verify_webhook_chunks(
            chunks, headers, settings.WEBHOOK_SECRETS, tolerance=settings.WEBHOOK_TOLERANCE
        )
    except WebhookSignatureInvalid:
        if size > LARGEST_READ:
            return ""
        raise
    _store_too_large(f"sha256:{digest.hexdigest()}", size, headers)
    return f": it has {size}"


@retrying
def _store_too_large(key: str, size: int, headers: Mapping[str, str]) -> None:
    limit = get_settings().WEBHOOK_MAX_BODY
    with atomic():
        delivery, is_new = WebhookDelivery.objects.using(alias()).get_or_create(
            event_key=key,
            defaults={
                "headers": _kept(headers),
                "raw_body": b"",
                "state": WebhookDelivery.State.FAILED,
                "error": f"The body has {size} bytes, more than WEBHOOK_MAX_BODY, {limit} bytes.",
                "error_code": TOO_LARGE,
                "processed_at": timezone.now(),
            },
        )
        if not is_new:
            rows = WebhookDelivery.objects.using(alias()).filter(pk=delivery.pk)
            rows.update(duplicates=F("duplicates") + 1)


def waiting(limit: int = AT_ONCE) -> list[int]:
    """Return deliveries that may be processed now, in the order of their receipt.

    Of many that wait, some are drawn from the oldest, so that workers who ask at the same moment
    seldom get the same ones.
    """
    now = timezone.now()
    rows = WebhookDelivery.objects.using(alias()).filter(
        Q(due_at__lte=now) | Q(state=WebhookDelivery.State.RECEIVED, attempts=0),
        state__in=OPEN_STATES,
        due_at__isnull=False,
    )
    oldest = rows.order_by("due_at").values_list("pk", flat=True)
    ids = list(oldest[: max(limit, CANDIDATES)])
    if len(ids) <= limit:
        return ids
    return [ids[place] for place in sorted(sample(range(len(ids)), limit))]


def replay(delivery_ids: Iterable[int]) -> list[int]:
    """Make deliveries fit to be processed again; return the ids to enqueue.

    Deliveries still open are left to their own task, and those whose body was too large have
    nothing to process. Replaying is safe: events already applied have their effect once,
    people's decisions stay.
    """
    ids = list(delivery_ids)
    again: set[int] = set()
    for start in range(0, len(ids), REOPENED):
        again |= _reopen(ids[start : start + REOPENED])
    return [pk for pk in ids if pk in again]


@retrying
def _reopen(delivery_ids: Sequence[int]) -> set[int]:
    with atomic():
        rows = locked(WebhookDelivery.objects.filter(pk__in=delivery_ids)).order_by("pk")
        closed = {
            pk
            for pk, state, code in rows.values_list("pk", "state", "error_code")
            if state not in OPEN_STATES and code != TOO_LARGE
        }
        WebhookDelivery.objects.using(alias()).filter(pk__in=closed).update(
            state=WebhookDelivery.State.RECEIVED, due_at=timezone.now(), attempts=0
        )
    return closed


def process(delivery_id: int) -> Outcome:
    """Do what a delivery says; the body of the task.

    The effect and the delivery's new state are one transaction. A delivery that is done, taken
    or not due is left alone. A payload that cannot be understood fails the delivery for good;
    any other error is tried again later, a bounded number of times.
    """
    delivery = _take(delivery_id)
    return delivery if isinstance(delivery, Outcome) else _unless_overtaken(delivery)


def _unless_overtaken(delivery: WebhookDelivery) -> Outcome:
    try:
        return _process(delivery)
    except deliveries.Overtaken:
        logger.warning("Webhook delivery %s was taken over by another process", delivery.pk)
        return Outcome("overtaken")


def process_all(delivery_ids: Sequence[int]) -> list[Outcome]:
    """Do what deliveries say, as :func:`process` does; return what came of each, in their order.

    Those that were never tried are taken together. The results of workflow jobs among them are
    applied together, in one transaction with the deliveries' new states; so are uploads,
    overwrites and deletions of files. If that fails, each is processed by itself, so that a bad
    one costs the others nothing.
    """
    taken = deliveries.take_new(delivery_ids)
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
    """Process what can be processed together; return what came of it, by delivery."""
    told_jobs: list[jobs.Told] = []
    told_files: list[files.Told] = []
    silent: list[tuple[Event, WebhookDelivery]] = []
    for delivery in taken:
        with suppress(PayloadError):  # said again when it is processed by itself
            event = parse_event(bytes(delivery.raw_body))
            if event.action in files.EFFECTS:
                told_files.append(files.told(delivery, event))
            elif events.says_nothing(event):
                silent.append((event, delivery))
            elif job := jobs.told(delivery, event):
                told_jobs.append(job)
    # Jobs first: a file whose tags have come need not be asked about when its upload is told.
    return {
        **_attempt(
            [one.delivery for one in told_jobs],
            lambda: jobs.apply_all(told_jobs),
            ahead=lambda: events.prepare_all(one.event for one in told_jobs),
        ),
        **_attempt([one.delivery for one in told_files], lambda: files.apply_all(told_files)),
        **_attempt(
            [delivery for _, delivery in silent],
            lambda: {delivery.pk: events.handle(event, delivery) for event, delivery in silent},
        ),
    }


Work = Callable[[], dict[int, Handled]]


def _attempt(
    those: Sequence[WebhookDelivery], work: Work, *, ahead: Callable[[], None] = lambda: None
) -> dict[int, Outcome]:
    """Do ``work`` for deliveries in one transaction; return nothing if it cannot be done."""
    if len(those) < 2:
        return {}
    try:
        try:
            done = _finish(those, work, ahead)
        except IntegrityError:  # such as for a file that another process made known meanwhile
            done = _finish(those, work, ahead)
    except Exception as error:  # noqa: BLE001  each has it again by itself, and tells more of it
        logger.info("Deliveries are processed one by one: %s", type(error).__name__)
        return {}
    for delivery in those:
        if delivery.pk in done:
            metrics.count("webhook.processed", action=events.known_action(delivery.action))
    return {pk: Outcome(handled.state, handled.to_tag) for pk, handled in done.items()}


@retrying
def _finish(
    those: Sequence[WebhookDelivery], work: Work, ahead: Callable[[], None]
) -> dict[int, Handled]:
    ahead()
    with atomic():
        done = work()
        held = deliveries.hold([delivery for delivery in those if delivery.pk in done])
        for delivery in held:
            handled = done[delivery.pk]
            deliveries.settle(
                delivery, handled.state, outcome=handled.text, asset_id=handled.asset_id
            )
        deliveries.write(held)
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
    except deliveries.Overtaken:
        raise
    except Exception as error:
        logger.exception("Processing webhook delivery %s failed", delivery.pk)
        return _fail(delivery, error)
    metrics.count("webhook.processed", action=events.known_action(delivery.action))
    return Outcome(done.state, to_tag=done.to_tag)


@retrying
def _handle(event: Event, delivery: WebhookDelivery, *, note: str = "") -> Handled:
    events.prepare(event)
    with atomic():
        done = events.handle(event, delivery)
        deliveries.hold([delivery])
        text = f"{done.text}{note}"
        deliveries.close(delivery, done.state, outcome=text, asset_id=done.asset_id)
    return done


def _in_three_bytes(body: bytes) -> bytes:
    """Return a JSON body with U+FFFD for each character that MariaDB's utf8mb3 does not have."""
    payload, _ = decode(body)
    text = storable(json.dumps(payload, ensure_ascii=False))
    return re.sub("[\U00010000-\U0010ffff]", "\ufffd", text).encode()


@retrying
def _refuse(delivery: WebhookDelivery, error: PayloadError) -> None:
    with atomic():
        deliveries.hold([delivery])
        deliveries.close(
            delivery, WebhookDelivery.State.FAILED, error=str(error), error_code=UNREADABLE
        )


@retrying
def _take(delivery_id: int) -> WebhookDelivery | Outcome:
    with atomic():
        delivery = locked(WebhookDelivery.objects.filter(pk=delivery_id)).first()
        if delivery is None:
            return Outcome("gone", taken=False)
        if not deliveries.may_be_taken(delivery):
            return Outcome(delivery.state, taken=False)
        if delivery.attempts >= get_settings().WEBHOOK_MAX_ATTEMPTS:
            deliveries.close(
                delivery,
                WebhookDelivery.State.FAILED,
                error=delivery.error or "The process that ran it did not come back.",
                error_code=delivery.error_code or ABANDONED,
            )
            return Outcome(delivery.state)
        deliveries.take(delivery)
    return delivery


@retrying
def _fail(delivery: WebhookDelivery, error: Exception) -> Outcome:
    """Record the error outside the transaction that it rolled back."""
    settings = get_settings()
    text = "".join(traceback.format_exception(error))
    code = storable(type(error).__name__, 50)
    with atomic():
        deliveries.hold([delivery])
        if delivery.attempts >= settings.WEBHOOK_MAX_ATTEMPTS:
            deliveries.close(
                delivery, WebhookDelivery.State.FAILED, error=text, error_code=code
            )
            return Outcome(delivery.state)
        tries = delivery.attempts - 1
        delay = min(settings.RETRY_DELAY * 2**tries, settings.RETRY_DELAY_MAX)
        delivery.state = WebhookDelivery.State.RECEIVED
        delivery.error, delivery.error_code = storable(text), code
        delivery.due_at = timezone.now() + timedelta(seconds=delay)
        delivery.save(using=alias(), update_fields=("state", "error", "error_code", "due_at"))
    metrics.count("webhook.retried")
    return Outcome(delivery.state, retry_at=delivery.due_at)
