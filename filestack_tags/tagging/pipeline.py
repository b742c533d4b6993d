"""The pipeline: keep many calls in flight, and apply their answers together.

One thread leases assets, starts their calls and applies the answers, so that only it uses the
database. The calls run in other threads (:mod:`.taggers.concurrent_calls`) and continue while
answers are applied.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from random import SystemRandom
from time import monotonic
from typing import Protocol

from django.db import InterfaceError, OperationalError, connections
from django.utils import timezone

from filestack_tags.assets import registry
from filestack_tags.concurrency.single_flight import SingleFlight
from filestack_tags.conf import get_settings
from filestack_tags.db.transactions import alias
from filestack_tags.models import Asset

from . import asset_leases, circuit_breaker, rate_limit
from . import queue as tagging_queue
from .asset_leases import Lease, LeaseRefused
from .queue import CallResult
from .results import Outcome
from .taggers.concurrent_calls import ConcurrentCalls

logger = logging.getLogger(__name__)

SLICE = 10.0
"""Seconds after which a task makes room for others; the next task continues."""

GRACE = 5.0
"""Seconds after a slice in which the calls of leased assets may begin. The others are released, so
that a task ends in time although each call takes as long as it may.
"""

APPLY_SECONDS = 10.0
"""Maximum seconds needed to apply the replies that a task waited for."""

SAMPLED = 4
"""How many times more assets than needed are looked up, so that two pipelines seldom lease the same
ones.
"""

LEASED_TOGETHER = 32
"""Assets leased in one transaction: their calls start when it ends."""

PAUSE = 0.5
"""Seconds between database queries while waiting."""

ReportProgress = Callable[[Outcome], None]


class Supply(Protocol):
    """Where the assets come from."""

    def candidates(self, limit: int) -> list[int]:
        """Return up to ``limit`` assets that could be tagged now."""
        ...

    def acquire(self, asset_ids: Sequence[int]) -> list[Lease | LeaseRefused]:
        """Lease them."""
        ...

    def may_have_more(self) -> bool:
        """Whether to look again when nothing is in flight and there were no candidates."""
        ...


def run(
    supply: Supply,
    *,
    concurrency: int,
    report_progress: ReportProgress,
    is_stopped: Callable[[], bool],
    is_interrupted: Callable[[], bool] = lambda: False,
    to_idle: bool = False,
) -> None:
    """Call the tagger for all assets of ``supply``, ``concurrency`` at once; report each outcome.

    Once ``is_stopped`` returns true, nothing more is leased, and the calls of leased assets are
    made and applied. Once ``is_interrupted`` also returns true, only calls that have begun are:
    the other assets are queued again, or become idle with ``to_idle``.
    While the database is unreachable the answers are kept for as long as their lease lasts, because
    they cost money.

    Raises:
        OperationalError: when the database stayed unreachable.
        Exception: what leasing, releasing or ``report_progress`` raised, once the calls in flight
            have ended and their answers were applied.
    """
    with ConcurrentCalls[Lease](concurrency) as calls:
        problem: Exception | None = None
        unused: list[Lease] = []
        resume_at = 0.0  # for the rate limit
        while True:
            wait = PAUSE
            if problem or is_stopped():
                if problem or is_interrupted():
                    unused = _release([*unused, *calls.cancel()], to_idle=to_idle)
            elif (early := resume_at - monotonic()) > 0:
                wait = early
            else:
                resume_at = 0.0
                try:
                    if delay := _fill(calls, supply, concurrency, report_progress, is_stopped):
                        wait, resume_at = delay, monotonic() + delay
                except Exception as error:  # noqa: BLE001  # raised once the answers are applied
                    problem = error
            if not calls:
                if problem:
                    raise problem
                if is_stopped() or not (resume_at or supply.may_have_more()):
                    return
                time.sleep(wait)
                continue
            for outcome in _apply_until_lease_ends(calls.collect(wait)):
                try:
                    report_progress(outcome)
                except Exception as error:  # noqa: BLE001  # raised once the answers are applied
                    problem = problem or error


def _release(unused: list[Lease], *, to_idle: bool) -> list[Lease]:
    """Release assets whose call has not begun; return those to release later.

    An error here must not lose the answers of calls in flight. An asset that cannot be released
    waits until its lease expires.
    """
    try:
        if unused:
            asset_leases.release(unused, to_idle=to_idle)
    except (OperationalError, InterfaceError):
        logger.warning("The database is away; %s assets are not released yet", len(unused))
        return unused
    except Exception:
        logger.exception("%s assets wait until their lease ends", len(unused))
    return []


def _room(calls: ConcurrentCalls[Lease], concurrency: int) -> int:
    """Return how many assets to lease.

    Up to twice ``concurrency`` wait for an answer, so that the next calls are ready while answers
    are applied. While a circuit recovers, it is what the circuit breaker allows.
    """
    target = concurrency if concurrency == 1 else 2 * concurrency
    room = _missing(target, calls.unfinished())
    if room and (allowed := circuit_breaker.allowed(concurrency)) < concurrency:
        return _missing(allowed, len(calls))
    return room


def _missing(target: int, present: int) -> int:
    """Return how many are missing to ``target``, or 0 if few: leasing one costs as much as many."""
    missing = target - present
    return missing if missing >= (max(target // 4, 1) if present else 1) else 0


def _fill(
    calls: ConcurrentCalls[Lease],
    supply: Supply,
    concurrency: int,
    report_progress: ReportProgress,
    is_stopped: Callable[[], bool],
) -> float:
    """Lease and start as many assets as there is room for.

    Return after how many seconds to continue if the rate limit kept some from being leased, else 0.
    """
    room = _room(calls, concurrency)
    ids = supply.candidates(room) if room else []
    if not ids:
        return 0.0
    began = monotonic()
    delays, wait = rate_limit.permits(len(ids))
    permitted = ids[: len(delays)]
    settings = get_settings()
    if permitted and settings.FETCH_METADATA and settings.REUSE_TAGS_BY_HASH:
        registry.describe(permitted)
    slots = iter(delays)
    for start in range(0, len(permitted), LEASED_TOGETHER):
        leases = supply.acquire(permitted[start : start + LEASED_TOGETHER])
        refused = [lease for lease in leases if isinstance(lease, LeaseRefused)]
        for refusal in refused:
            report_progress(refusal.outcome())
        shared: list[tuple[Lease, CallResult]] = []
        for lease in leases:
            if isinstance(lease, LeaseRefused):
                continue
            if lease.shared is not None:
                shared.append((lease, lease.shared))
                continue
            calls.start(
                lease,
                lease.tagger,
                lease.source,
                lease.job_id,
                fresh=lease.fresh,
                at=began + next(slots),
            )
        for outcome in _apply_until_lease_ends(shared):
            report_progress(outcome)
        if is_stopped() or any(refusal.blocked_by for refusal in refused):
            break
    return wait if len(permitted) < len(ids) else 0.0


def _apply_until_lease_ends(answers: Sequence[tuple[Lease, CallResult]]) -> list[Outcome]:
    """Apply answers; while the database is unreachable, retry until the leases expire."""
    if not answers:
        return []
    until = monotonic() + get_settings().LEASE_SECONDS
    while True:
        try:
            return tagging_queue.apply_replies(answers)
        except (OperationalError, InterfaceError):
            connection = connections[alias()]
            if connection.in_atomic_block or monotonic() >= until:
                raise
            logger.warning(
                "The database is unreachable; %s replies are kept until it returns",
                len(answers),
            )
            connection.close_if_unusable_or_obsolete()
            time.sleep(PAUSE)


class _QueuedAssets:
    """The asset of a task, and others that are queued and due.

    A burst of uploads is a burst of tasks. The first task finds their assets in the database and
    tags them too; the other tasks then have nothing to do.
    """

    def __init__(self, first: list[int], report_progress: ReportProgress) -> None:
        self._first = first
        self._report_progress = report_progress
        self._refused: set[int] = set()

    def candidates(self, limit: int) -> list[int]:
        self._first = [pk for pk in self._first if self._is_due(pk)]
        ids = [
            pk
            for pk in tagging_queue.waiting(limit * SAMPLED + len(self._refused))
            if pk not in self._refused and pk not in self._first
        ]
        room = limit - len(self._first)
        return [*self._first, *(ids if len(ids) <= room else SystemRandom().sample(ids, room))]

    def _is_due(self, asset_id: int) -> bool:
        """Check an asset before it uses a permit of the rate limit; report one that is not due."""
        asset = Asset.objects.using(alias()).filter(pk=asset_id).first()
        if asset and asset_leases.is_due(asset, timezone.now()):
            return True
        state = "gone" if not asset or asset.deleted_at else asset.tagging_state
        self._report_progress(Outcome(state, asset_id=asset_id, was_called=False))
        return False

    def acquire(self, asset_ids: Sequence[int]) -> list[Lease | LeaseRefused]:
        first = [pk for pk in asset_ids if pk in self._first]
        others = [pk for pk in asset_ids if pk not in self._first]
        self._first = [pk for pk in self._first if pk not in first]
        leased = asset_leases.acquire(first) if first else []
        leased += asset_leases.acquire(others, skip_locked=True) if others else []
        self._refused |= {item.asset_id for item in leased if isinstance(item, LeaseRefused)}
        return leased

    def may_have_more(self) -> bool:
        return bool(self._first)


_flight = SingleFlight()
"""One task of a process works at a time, for all of them."""


def work(
    asset_id: int,
    report_progress: ReportProgress,
    is_interrupted: Callable[[], bool] = lambda: False,
) -> str:
    """Tag a queued asset, and others that are due along with it; the body of the task.

    Reports the outcome of each. If a process has several callers, one works for at most
    :data:`SLICE` seconds, and the others return at once. Then the calls of leased assets are
    completed. After :data:`GRACE`, or once ``is_interrupted`` returns true, only calls that have
    begun are, and the other assets are released. Returns the asset's state as far as it is known;
    never raises because of a tagger.
    """
    state: str = Asset.State.QUEUED
    first = [asset_id]
    until = monotonic() + SLICE

    def report(outcome: Outcome) -> None:
        nonlocal state
        if outcome.asset_id == asset_id:
            state = outcome.state
        report_progress(outcome)

    def is_over() -> bool:
        return monotonic() >= until or is_interrupted()

    def tag_queued() -> bool:
        run(
            _QueuedAssets([*first], report),
            concurrency=get_settings().TAGGING_CONCURRENCY,
            report_progress=report,
            is_stopped=is_over,
            is_interrupted=lambda: is_interrupted() or monotonic() >= until + GRACE,
        )
        first.clear()
        return not is_over()

    if not _flight.run(tag_queued):
        for pk in tagging_queue.waiting(1):
            report_progress(Outcome(Asset.State.QUEUED, timezone.now(), pk))
    return state
