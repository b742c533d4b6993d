"""The pipeline: keep many calls in flight, and land what they come to together.

One thread claims assets, starts their calls and lands the answers, so that only it uses the
database; the calls themselves are made beside it (:mod:`.taggers.inflight`). While some are
landed the others go on.
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

from . import assets, circuit, claims, ratelimit, tagging
from .claims import Refusal, Work
from .conf import get_settings
from .models import Asset
from .taggers.inflight import InFlight
from .tagging import Answer, Outcome
from .transactions import alias

logger = logging.getLogger(__name__)

SLICE = 10.0
"""Seconds after which a task makes room for others: what is left goes on in the next."""

SAMPLED = 4
"""How many times as many assets as wanted are looked at, so that two pipelines seldom reach for
the same."""

PAUSE = 0.5
"""Seconds between looks at the database, while there is nothing to do but wait."""

Tell = Callable[[Outcome], None]


class Supply(Protocol):
    """Where the assets come from."""

    def candidates(self, limit: int) -> list[int]:
        """Return up to ``limit`` assets that could be asked about now."""
        ...

    def claim(self, asset_ids: Sequence[int]) -> list[Work | Refusal]:
        """Claim them."""
        ...

    def may_have_more(self) -> bool:
        """Whether to look again, now that nothing is in flight and there were no candidates."""
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
    """Ask about all that ``supply`` has, ``concurrency`` at once; tell what came of each.

    Once ``is_stopped``, nothing more is claimed and what is in flight is landed. If then
    ``gives_back``, assets whose call has not begun are queued again, or with ``to_rest`` go to
    rest. While the database is away the
    answers are kept, for as long as their lease lasts, since they were paid for.

    Raises:
        OperationalError: when the database stayed away.
        Exception: what claiming, giving back or ``tell`` raised, once the calls in flight have
            ended and their answers were applied.
    """
    with InFlight[Work](concurrency) as flight:
        problem: Exception | None = None
        back: list[Work] = []
        look_at = 0.0
        while True:
            wait, is_limited = PAUSE, False
            if problem is None and not is_stopped():
                try:
                    if (early := look_at - monotonic()) > 0:  # for the rate to permit more
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
    """Give back assets whose call has not begun; return those to give back later.

    An error here must not lose the answers of calls in flight. What cannot be given back waits
    until its lease ends.
    """
    try:
        claims.release(works, to_rest=to_rest)
    except (OperationalError, InterfaceError):
        logger.warning("The database is away; %s assets are given back later", len(works))
        return works
    except Exception:
        logger.exception("%s assets cannot be given back", len(works))
    return []


def _claimable(flight: InFlight[Work], concurrency: int) -> int:
    """Return how many to claim: as many again as can be called, to take the places that get free
    while others are applied and claimed, or that wait for their moment. Those that may be called
    alone, while they are fewer."""
    room = _room(flight, concurrency if concurrency == 1 else 2 * concurrency)
    if room and (allowed := circuit.allowed(concurrency)) < concurrency:
        return _room(flight, allowed)
    return room


def _room(flight: InFlight[Work], ahead: int) -> int:
    """Return how many are missing of ``ahead``; 0 while they are few: a claim for them costs as
    much as one for many."""
    room = ahead - len(flight)
    return room if room >= (max(ahead // 4, 1) if len(flight) else 1) else 0


def _fill(
    flight: InFlight[Work], supply: Supply, concurrency: int, tell: Tell
) -> tuple[float, bool]:
    """Claim and start as many as there is room for.

    Return after how many seconds to look again, and whether the rate keeps some from being
    claimed.
    """
    room = _claimable(flight, concurrency)
    if not room:
        return PAUSE, False
    ids = supply.candidates(room)
    if not ids:
        return PAUSE, False
    began = monotonic()
    moments, wait = ratelimit.permits(len(ids))
    permitted = len(moments)
    settings = get_settings()
    if permitted and settings.ASK_FOR_SHA256 and settings.SHARE_TAGS:
        assets.describe(ids[:permitted])
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
    """Land answers, and while the database is away keep trying for as long as the leases last."""
    if not answers:
        return []
    until = monotonic() + get_settings().LEASE
    while True:
        try:
            return tagging.land(answers)
        except (OperationalError, InterfaceError):
            connection = connections[alias()]
            if connection.in_atomic_block or monotonic() >= until:
                raise
            logger.warning("The database is away; %s answers are kept", len(answers))
            connection.close_if_unusable_or_obsolete()
            time.sleep(PAUSE)


class _Desk:
    """What tasks of this process asked for. One of them works at a time, for all of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: deque[int] = deque()
        self._is_taken = False

    def ask(self, asset_id: int) -> bool:
        """Note an asset; return whether the caller is the one who has to work."""
        with self._lock:
            self._asked.append(asset_id)
            if self._is_taken:
                return False
            self._is_taken = True
            return True

    def next(self, limit: int) -> list[int]:
        """Return up to ``limit`` of the assets that were asked for."""
        with self._lock:
            number = min(limit, len(self._asked))
            return [self._asked.popleft() for _ in range(number)]

    def leave(self) -> None:
        """Make room for the next one, whatever was asked for."""
        with self._lock:
            self._is_taken = False

    def leave_if_done(self) -> bool:
        """Make room for the next one, unless somebody asked meanwhile; return whether."""
        with self._lock:
            self._is_taken = bool(self._asked)
            return not self._is_taken


_desk = _Desk()


class _Queue:
    """The assets that tasks asked for, and with them others that are queued and due.

    A burst of uploads is a burst of tasks; the first finds most of their assets in the database
    and takes them along, the others find their work done.
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
            for pk in tagging.waiting(limit * SAMPLED + len(self._refused))
            if pk not in self._refused and pk not in self._asked
        ]
        wanted = limit - len(self._asked)
        if len(found) > wanted:
            found = SystemRandom().sample(found, wanted)
        return [*self._asked, *found]

    def _not_done(self, asked: Sequence[int]) -> list[int]:
        """Leave out those there is nothing to do for, before they take a place or a permit."""
        columns = ("tagging_state", "attempts", "due_at", "deleted_at")
        rows = Asset.objects.using(alias()).filter(pk__in=asked).only(*columns)
        known = {asset.pk: asset for asset in rows}
        now = timezone.now()
        wanted: list[int] = []
        for pk in asked:
            asset = known.get(pk)
            if asset and claims.is_due(asset, now):
                wanted.append(pk)
            else:
                state = "gone" if not asset or asset.deleted_at else asset.tagging_state
                self._tell(Outcome(state, asset_id=pk, made=False))
        return wanted

    def claim(self, asset_ids: Sequence[int]) -> list[Work | Refusal]:
        asked = set(self._asked)
        alone = [pk for pk in asset_ids if pk in asked]
        others = [pk for pk in asset_ids if pk not in asked]
        for pk in asked.difference(asset_ids):  # not permitted yet
            _desk.ask(pk)
        claimed = claims.claim(alone) if alone else []
        claimed += claims.claim(others, skip_held=True) if others else []
        self._refused |= {item.asset_id for item in claimed if isinstance(item, Refusal)}
        return claimed

    def may_have_more(self) -> bool:
        self.has_left = _desk.leave_if_done()
        return not self.has_left


def work(asset_id: int, tell: Tell, is_interrupted: Callable[[], bool] = lambda: False) -> str:
    """Have a queued asset tagged, and others that are due along with it; the body of the task.

    Tells what came of each. Of several callers in one process one works, for at most
    :data:`SLICE` seconds, and the others return at once. Once ``is_interrupted``, calls that
    have begun are landed and the others given back. Returns the asset's state as far as it is
    known; never raises for what a tagger does.
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
            concurrency=get_settings().CONCURRENCY,
            tell=remember,
            is_stopped=is_over,
            gives_back=is_interrupted,
        )
    finally:
        if not queue.has_left:
            _desk.leave()
    if not queue.has_left and is_over():
        for pk in tagging.waiting(1) or _desk.next(1):
            tell(Outcome(Asset.State.QUEUED, timezone.now(), pk))
    return state
