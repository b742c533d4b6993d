"""What goes wrong, and when: drawn from the seed before anything starts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

BEFORE_CALL = "worker killed before the call"
DURING_CALL = "worker killed during the call"
AFTER_CALL = "worker killed after the call"
WORKER = "worker killed at any moment"
WEB = "web server killed mid-request"
COMMITTED = "committed, died before enqueueing"
FLUSHED = "broker down, back empty"
CUT = "broker connections cut"
CRASHED = "database crashed"
TERMINATED = "database connections terminated"

CALL = (BEFORE_CALL, DURING_CALL, AFTER_CALL)
POINTS = (*CALL, WEB, COMMITTED)
"""Places in the code where a process crashes once they are armed; see :mod:`.crashing`."""

KINDS: dict[str, str] = {
    BEFORE_CALL: "on entering the client, the run is committed",
    DURING_CALL: "by the emulator, once it has read the request",
    AFTER_CALL: "on leaving the client, the reply is paid for and not applied",
    WORKER: "at the drawn moment; a pool process or all of them",
    WEB: "0–20 ms after it got a webhook, all of its processes",
    COMMITTED: "between the commit and the broker, in whatever process",
    FLUSHED: "killed, away for 0.2–1.5 s, its queues lost",
    CUT: "every connection at once",
    CRASHED: "while transactions are open; recovers from its log",
    TERMINATED: "while transactions are open, every connection",
}
"""The faults, and how each is triggered."""

LANES: tuple[tuple[str, ...], ...] = (
    CALL,
    (COMMITTED,),
    (WEB,),
    (WORKER,),
    (FLUSHED, CUT),
    (CRASHED, TERMINATED),
)
"""Faults that happen one after the other; the lanes are independent."""

WHOLE_GROUP = 0.15
"""How often all processes of a worker die, as if their machine failed, and not one of its pool."""

FAR = 90.0
"""Seconds by which clocks are wrong at first: far more than the lease of this run."""
NEAR = 3.0
"""Seconds by which they are wrong later: the same share of its lease as 90 s of the default one."""


@dataclass(frozen=True, order=True)
class Strike:
    """One fault. ``at`` is seconds after the storm began, ``pause`` how long something is down."""

    at: float
    kind: str
    whole_group: bool
    pause: float


def draw(seed: str, *, kills: int, seconds: float) -> list[Strike]:
    """Return ``kills`` strikes of each kind at random times, in order. Deterministic for a seed."""
    dice = random.Random(seed)
    return sorted(
        Strike(
            at=round(dice.uniform(0.04, 0.94) * seconds, 3),
            kind=kind,
            whole_group=dice.random() < WHOLE_GROUP,
            pause=round(dice.uniform(0.2, 1.5), 3),
        )
        for kind in KINDS
        for _ in range(kills)
    )


def lanes(strikes: Sequence[Strike]) -> list[list[Strike]]:
    """Return the strikes of each lane, in order."""
    return [[strike for strike in strikes if strike.kind in lane] for lane in LANES]


@dataclass(frozen=True)
class Mix:
    """How many events of each kind a run has, and how many posts must be rejected."""

    uploads: int
    overwrites: int
    workflows: int
    deletes: int
    ours: int

    @property
    def events(self) -> int:
        return self.uploads + self.overwrites + self.workflows + self.deletes + self.ours


def mix(events: int) -> Mix:
    """Divide ``events`` among the kinds, rounding up."""
    overwrites, workflows = events * 25 // 100, events * 15 // 100
    deletes, ours = events * 5 // 100, events * 15 // 100
    return Mix(
        events - overwrites - workflows - deletes - ours, overwrites, workflows, deletes, ours
    )
