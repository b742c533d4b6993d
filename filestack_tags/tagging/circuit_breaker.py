"""The circuit breaker: pause calls to a tagger that would reject them all, and retry now and then.

While it is closed, calls are made. Evidence about the account opens it and pauses calls: the API
key is unknown, the quota is used up, or access to several different files was denied in a row. One
denied file proves nothing: it may belong to another Filestack app. After a delay, one call is let
through. A reply closes the circuit; a rejection opens it again for twice as long. After it closes,
each process starts with one call in flight, and returns to full concurrency after :data:`RECOVERY`.
The circuit is a row, so that all processes on all hosts share it and its clock, and users can see
why calls are paused.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from filestack_tags import metrics
from filestack_tags.conf import get_settings
from filestack_tags.db.datetimes import CLOCKS_DIFFER, to_database_time
from filestack_tags.db.text import sanitize_text
from filestack_tags.db.transactions import (
    alias,
    atomic,
    locked,
    on_commit,
    retry_on_deadlock,
    shared_now,
)
from filestack_tags.exceptions import (
    AccessDenied,
    InvalidApplication,
    PolicyRejected,
    RateLimited,
    RequestRejected,
    TaggerError,
)
from filestack_tags.models import Circuit

logger = logging.getLogger(__name__)

OPENS_AT_ONCE = frozenset({InvalidApplication.code})
"""Errors about the account: every other call would fail with them too."""
OF_A_FILE = frozenset({AccessDenied.code, PolicyRejected.code})
"""Errors that may concern one file only. Each asset counts once."""
COUNTED = OF_A_FILE | {RateLimited.code}
"""Errors that open the circuit after ``CIRCUIT_FAILURES`` in a row."""
RECOVERY = timedelta(seconds=30)
"""How long after a circuit closed fewer calls than usual are made. Otherwise the backlog would
arrive at once and open it again.
"""
MOST_REFUSED = 1000
"""How many assets a row remembers at most, whatever ``CIRCUIT_FAILURES`` is."""
LONGEST_WAIT = timedelta(days=32)
"""Plan quotas are monthly."""


def trips(error: TaggerError) -> bool:
    """Whether an error concerns the account rather than the file."""
    return error.code in OPENS_AT_ONCE or error.code in COUNTED


def blocked() -> set[str]:
    """Return the taggers whose calls are paused now."""
    waiting = {row.tagger: row.retry_at for row in open_circuits() if row.retry_at}
    if not waiting:
        return set()
    now = shared_now()
    return {tagger for tagger, retry_at in waiting.items() if retry_at > now}


def open_circuits() -> list[Circuit]:
    """Return the open circuits, including those whose next trial call is due."""
    return list(Circuit.objects.using(alias()).exclude(opened_at=None))


def acquire(tagger: str, calls: int) -> tuple[int, bool]:
    """Return how many of ``calls`` may be made, and whether they test an open circuit.

    That is all, none, or the one trial call. Call it in a transaction. Only one process makes the
    trial call, within the duration of a lease.
    """
    row = Circuit.objects.using(alias()).filter(tagger=tagger).first()
    if row is None or row.opened_at is None:
        return calls, False
    now = shared_now()
    if not calls or row.retry_at is None or row.retry_at > now:
        return 0, False
    row = locked(Circuit.objects.filter(pk=row.pk), skip_locked=True).first()
    if row is None:
        return 0, False
    if row.opened_at is None:
        return calls, False
    if row.retry_at is None or row.retry_at > now:
        return 0, False
    row.retry_at = now + timedelta(seconds=get_settings().LEASE_SECONDS)
    row.save(using=alias(), update_fields=("retry_at",))
    return 1, True


def allowed(concurrency: int) -> int:
    """Return how many of ``concurrency`` calls a process may have in flight now.

    That is all of them, unless a circuit closed a moment ago.
    """
    if concurrency == 1:
        return 1
    since = timezone.now() - RECOVERY - CLOCKS_DIFFER
    closed = Circuit.objects.using(alias()).filter(closed_at__gt=since)
    last = closed.order_by("-closed_at").first()
    if last is None or last.closed_at is None:
        return concurrency
    share = (shared_now() - last.closed_at) / RECOVERY
    return max(1, min(concurrency, int(concurrency * share)))


@dataclass(frozen=True)
class Call:
    """A finished call: whether it tested an open circuit, its error if any, and its asset."""

    is_trial: bool
    error: TaggerError | None
    asset_id: int | None = None


def record(tagger: str, calls: Iterable[Call]) -> None:
    """Record how calls ended.

    Failures of calls that were admitted before the circuit opened do not prolong the pause. Their
    replies close it only if it was opened because access to files was denied: they prove that the
    account has access. An account error is cleared only by the trial call. Clocks cannot tell which
    calls were earlier, because those of two hosts may differ.
    """
    made = list(calls)
    answered = [call for call in made if _is_answer(call.error)]
    refused = [call for call in made if call.error and trips(call.error)]
    row = Circuit.objects.using(alias()).filter(tagger=tagger).first()
    if refused or (answered and row and (row.failures or row.opened_at)):
        _record(tagger, answered, refused)


@retry_on_deadlock
def close(tagger: str) -> bool:
    """Resume calls to a tagger at once; return whether its circuit was open."""
    with atomic():
        row = locked(Circuit.objects.filter(tagger=tagger)).first()
        if row is None or row.opened_at is None:
            return False
        _close(row)
        row.save(using=alias())
    return True


@retry_on_deadlock
def _record(tagger: str, answered: list[Call], refused: list[Call]) -> None:
    with atomic():
        Circuit.objects.using(alias()).get_or_create(tagger=tagger)
        row = locked(Circuit.objects.filter(tagger=tagger)).get()
        is_closed = row.opened_at is None
        refused = [call for call in refused if call.is_trial or is_closed]
        errors = [call.error for call in refused if call.error]
        if any(map(_opens_at_once, errors)):
            _open(row, errors)
        elif any(_closes(row, call) for call in answered):
            _close(row)
        elif errors:
            _count(row, refused)
            if not is_closed or row.failures >= get_settings().CIRCUIT_FAILURES:
                _open(row, errors)
        row.save(using=alias())


def _closes(row: Circuit, answered: Call) -> bool:
    """Whether a reply proves that calls may be made, or resets the count of rejections."""
    has_access = answered.error is None and row.error_code in OF_A_FILE
    return answered.is_trial or row.opened_at is None or has_access


def _count(row: Circuit, refused: Iterable[Call]) -> None:
    """Count consecutive rejections; an asset whose access was denied counts once."""
    for call in refused:
        if call.error and call.error.code in OF_A_FILE and call.asset_id is not None:
            if call.asset_id in row.refused_assets:
                continue
            row.refused_assets = [*row.refused_assets, call.asset_id][-MOST_REFUSED:]
        row.failures += 1


def _is_answer(error: TaggerError | None) -> bool:
    """Whether the tagger answered properly, or rejected one file because of its content."""
    return error is None or isinstance(error, RequestRejected)


def _opens_at_once(error: TaggerError) -> bool:
    return error.code in OPENS_AT_ONCE or error.retry_at is not None


def _close(row: Circuit) -> None:
    if row.opened_at is not None:
        on_commit(lambda: metrics.count("circuit.closed", tagger=row.tagger))
        logger.warning("Calls to the tagger %s were resumed", row.tagger)
        if row.error_code not in OF_A_FILE:  # no rate or quota to exceed
            row.closed_at = shared_now()
    row.failures = row.opened_times = 0
    row.refused_assets = []
    row.opened_at = row.retry_at = None
    row.error_code = row.reason = ""


def _open(row: Circuit, errors: list[TaggerError]) -> None:
    settings = get_settings()
    now = shared_now()
    if row.opened_at is None:
        row.opened_at = now
        on_commit(lambda: metrics.count("circuit.opened", tagger=row.tagger))
        logger.error("Calls to the tagger %s are paused: %s", row.tagger, errors[-1])
    else:
        row.opened_times += 1
    delay = min(
        settings.CIRCUIT_DELAY * 2 ** min(row.opened_times, 20), settings.CIRCUIT_DELAY_MAX
    )
    resumes_at = [to_database_time(error.retry_at) for error in errors if error.retry_at]
    row.retry_at = (
        min(max(resumes_at), now + LONGEST_WAIT)
        if resumes_at
        else now + timedelta(seconds=delay)
    )
    row.error_code = errors[-1].code[:50]
    row.reason = sanitize_text(str(errors[-1]))
