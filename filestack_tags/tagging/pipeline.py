"""The pipeline: keep many calls in flight, and apply their replies together.

One thread claims assets, starts their calls and applies the replies, so that only it uses the
database. The calls run in other threads (:mod:`.taggers.concurrent_calls`) and continue while
replies are applied.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from random import SystemRandom
from time import monotonic
from typing import Protocol

from django.db import InterfaceError, OperationalError, connections
from django.utils import timezone

from filestack_tags.assets import registry
from filestack_tags.conf import get_settings
from filestack_tags.db.transactions import alias
from filestack_tags.models import Asset

from . import circuit_breaker, leases, rate_limit
from . import queue as tagging_queue
from .leases import Refusal, Work
from .queue import Answer, Outcome
from .taggers.concurrent_calls import InFlight

logger = logging.getLogger(__name__)

SLICE = 10.0
"""Seconds after which a task makes room for others; the next task continues."""

SAMPLED = 4
"""How many times more assets than needed are looked up, so that two pipelines seldom claim the same
ones.
"""

PAUSE = 0.5
"""Seconds between database queries while waiting."""

Tell = Callable[[Outcome], None]


class Supply(Protocol):
    """Where the assets come from."""

    def candidates(self, limit: int) -> list[int]:
        """Return up to ``limit`` assets that could be tagged now."""
        ...

    def claim(self, asset_ids: Sequence[int]) -> list[Work | Refusal]:
        """Claim them."""
        ...

    def may_have_more(self) -> bool:
        """Whether to look again when nothing is in flight and there were no candidates."""
        ...


def run(
    supply: Supply,
    *,
    concurrency: int,
    tell: Tell,
    is_stopped: Callable[[], bool],
    gives_back: Callable[[], bool] = lambda: False,
    to_rest: bool = False,
) -> None:
    """Call the tagger for all assets of ``supply``, ``concurrency`` at once; report each outcome.

    Once ``is_stopped`` returns true, nothing more is claimed, and calls in flight are awaited and
    applied. If ``gives_back`` also returns true, assets whose call has not begun are queued again,
    or become idle with ``to_rest``. While the database is unreachable the replies are kept for as
    long as their lease lasts, because they cost money.

    Raises:
        OperationalError: when the database stayed unreachable.
        Exception: what claiming, releasing or ``tell`` raised, once the calls in flight have ended
            and their replies were applied.
    """
    with InFlight[Work](concurrency) as flight:
        problem: Exception | None = None
        back: list[Work] = []
        look_at = 0.0
        while True:
            wait, is_limited = PAUSE, False
            if problem is None and not is_stopped():
                try:
                    if (early := look_at - monotonic()) > 0:  # for the rate limit
                        wait, is_limited = early, True
                    else:
                        wait, is_limited = _fill(flight, supply, concurrency, tell)
                        look_at = monotonic() + wait if is_limited else 0.0
                except Exception as error:  # noqa: BLE001  # raised once the answers are applied
                    problem = error
            elif gives_back() and (back := [*back, *flight.withdraw()]):
                back = _give_back(back, to_rest=to_rest)
            if not len(flight):
                if back and _give_back(back, to_rest=to_rest):
                    logger.error("%s claimed assets wait until their lease ends", len(back))
                if problem is not None:
                    raise problem
                if is_stopped() or not (is_limited or supply.may_have_more()):
                    return
                time.sleep(wait)
                continue
            ended = flight.landed(wait)
            for outcome in _insist([(one.key, one.answer) for one in ended]):
                try:
                    tell(outcome)
                except Exception as error:  # noqa: BLE001  # raised once the answers are applied
                    problem = problem or error


def _give_back(works: list[Work], *, to_rest: bool) -> list[Work]:
    """Release assets whose call has not begun; return those to release later.

    An error here must not lose the replies of calls in flight. An asset that cannot be released
    waits until its lease expires.
    """
    try:
        leases.release(works, to_rest=to_rest)
    except (OperationalError, InterfaceError):
        logger.warning("The database is away; %s assets are given back later", len(works))
        return works
    except Exception:
        logger.exception("%s assets cannot be given back", len(works))
    return []


def _claimable(flight: InFlight[Work], concurrency: int) -> int:
    """Return how many assets to claim.

    That is up to twice ``concurrency``, so that the next calls are ready while others are applied
    or wait for their time slot. While a circuit recovers, it is only what the circuit breaker
    allows.
    """
    room = _room(flight, concurrency if concurrency == 1 else 2 * concurrency)
    if room and (allowed := circuit_breaker.allowed(concurrency)) < concurrency:
        return _room(flight, allowed)
    return room


def _room(flight: InFlight[Work], ahead: int) -> int:
    """Return how many are missing to ``ahead``, or 0 if few are: claiming one costs as much as
    claiming many.
    """
    room = ahead - len(flight)
    return room if room >= (max(ahead // 4, 1) if len(flight) else 1) else 0


def _fill(
    flight: InFlight[Work], supply: Supply, concurrency: int, tell: Tell
) -> tuple[float, bool]:
    """Claim and start as many assets as there is room for.

    Return after how many seconds to look again, and whether the rate limit kept some from being
    claimed.
    """
    room = _claimable(flight, concurrency)
    if not room:
        return PAUSE, False
    ids = supply.candidates(room)
    if not ids:
        return PAUSE, False
    began = monotonic()
    moments, wait = rate_limit.permits(len(ids))
    permitted = len(moments)
    settings = get_settings()
    if permitted and settings.FETCH_METADATA and settings.REUSE_TAGS_BY_HASH:
        registry.describe(ids[:permitted])
    landed: list[tuple[Work, Answer]] = []
    at = iter(moments)
    for claimed in supply.claim(ids[:permitted]):
        if isinstance(claimed, Refusal):
            tell(Outcome.of(claimed))
        elif claimed.shared is not None:
            landed.append((claimed, claimed.shared))
        else:
            flight.start(
                claimed,
                claimed.tagger,
                claimed.source,
                claimed.job_id,
                fresh=claimed.fresh,
                at=began + next(at),
            )
    for outcome in _insist(landed):
        tell(outcome)
    return (wait, True) if permitted < len(ids) else (PAUSE, False)


def _insist(answers: Sequence[tuple[Work, Answer]]) -> list[Outcome]:
    """Apply replies; while the database is unreachable, retry until the leases expire."""
    if not answers:
        return []
    until = monotonic() + get_settings().LEASE_SECONDS
    while True:
        try:
            return tagging_queue.land(answers)
        except (OperationalError, InterfaceError):
            connection = connections[alias()]
            if connection.in_atomic_block or monotonic() >= until:
                raise
            logger.warning("The database is away; %s answers are kept", len(answers))
            connection.close_if_unusable_or_obsolete()
            time.sleep(PAUSE)


class _Desk:
    """The assets that tasks of this process want tagged. One task at a time works for all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: deque[int] = deque()
        self._is_taken = False

    def ask(self, asset_id: int) -> bool:
        """Add an asset; return whether the caller has to do the work."""
        with self._lock:
            self._asked.append(asset_id)
            if self._is_taken:
                return False
            self._is_taken = True
            return True

    def next(self, limit: int) -> list[int]:
        """Return up to ``limit`` of the requested assets."""
        with self._lock:
            number = min(limit, len(self._asked))
            return [self._asked.popleft() for _ in range(number)]

    def leave(self) -> None:
        """Let another task take over, whatever is still requested."""
        with self._lock:
            self._is_taken = False

    def leave_if_done(self) -> bool:
        """Let another task take over unless more was requested; return whether it was released."""
        with self._lock:
            self._is_taken = bool(self._asked)
            return not self._is_taken


_desk = _Desk()


class _Queue:
    """The assets that tasks requested, and others that are queued and due.

    A burst of uploads is a burst of tasks. The first task finds most of their assets in the
    database and tags them too; the other tasks then have nothing to do.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._asked: list[int] = []
        self._refused: set[int] = set()
        self.has_left = False

    def candidates(self, limit: int) -> list[int]:
        self._asked = []
        while len(self._asked) < limit and (ids := _desk.next(limit - len(self._asked))):
            self._asked += self._not_done(ids)
        if len(self._asked) == limit:
            return self._asked
        found = [
            pk
            for pk in tagging_queue.waiting(limit * SAMPLED + len(self._refused))
            if pk not in self._refused and pk not in self._asked
        ]
        wanted = limit - len(self._asked)
        if len(found) > wanted:
            found = SystemRandom().sample(found, wanted)
        return [*self._asked, *found]

    def _not_done(self, asked: Sequence[int]) -> list[int]:
        """Leave out assets with nothing to do, before they use a slot or a permit."""
        columns = ("tagging_state", "attempts", "due_at", "deleted_at")
        rows = Asset.objects.using(alias()).filter(pk__in=asked).only(*columns)
        known = {asset.pk: asset for asset in rows}
        now = timezone.now()
        wanted: list[int] = []
        for pk in asked:
            asset = known.get(pk)
            if asset and leases.is_due(asset, now):
                wanted.append(pk)
            else:
                state = "gone" if not asset or asset.deleted_at else asset.tagging_state
                self._tell(Outcome(state, asset_id=pk, made=False))
        return wanted

    def claim(self, asset_ids: Sequence[int]) -> list[Work | Refusal]:
        asked = set(self._asked)
        alone = [pk for pk in asset_ids if pk in asked]
        others = [pk for pk in asset_ids if pk not in asked]
        for pk in asked.difference(asset_ids):  # the rate limit does not permit them yet
            _desk.ask(pk)
        claimed = leases.claim(alone) if alone else []
        claimed += leases.claim(others, skip_held=True) if others else []
        self._refused |= {item.asset_id for item in claimed if isinstance(item, Refusal)}
        return claimed

    def may_have_more(self) -> bool:
        self.has_left = _desk.leave_if_done()
        return not self.has_left


def work(asset_id: int, tell: Tell, is_interrupted: Callable[[], bool] = lambda: False) -> str:
    """Tag a queued asset, and others that are due along with it; the body of the task.

    Reports the outcome of each to ``tell``. If a process has several callers, one works for at most
    :data:`SLICE` seconds, and the others return at once. Once ``is_interrupted`` returns true,
    calls that have begun are completed and the other assets are released. Returns the asset's state
    as far as it is known; never raises because of a tagger.
    """
    if not _desk.ask(asset_id):
        return Asset.State.QUEUED
    state: str = Asset.State.QUEUED
    until = monotonic() + SLICE

    def remember(outcome: Outcome) -> None:
        nonlocal state
        if outcome.asset_id == asset_id:
            state = outcome.state
        tell(outcome)

    def is_over() -> bool:
        return monotonic() >= until or is_interrupted()

    queue = _Queue(remember)
    try:
        run(
            queue,
            concurrency=get_settings().TAGGING_CONCURRENCY,
            tell=remember,
            is_stopped=is_over,
            gives_back=is_interrupted,
        )
    finally:
        if not queue.has_left:
            _desk.leave()
    if not queue.has_left and is_over():
        for pk in tagging_queue.waiting(1) or _desk.next(1):
            tell(Outcome(Asset.State.QUEUED, timezone.now(), pk))
    return state
