"""The storm: executes a plan, and restarts every process that died."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from psycopg import Error

from . import crashing, plan
from .brokers import Broker
from .cluster import Cluster
from .plan import Strike
from .processes import Group, answers

LIFE = 5.0
"""Minimum lifetime of a server or worker (seconds); else none would work on a slow machine."""

PATIENCE = 3.0
"""Seconds to wait for an open transaction before striking anyway."""


class Storm:
    """Strikes by lanes, each in a thread.

    Attributes:
        tried: how many strikes of each kind were made, or prepared by arming a point.
        hit: how many of those that are not points hit something.
        failures: strikes that could not be made.
    """

    def __init__(
        self,
        strikes: list[Strike],
        *,
        run: Path,
        workers: list[Group],
        web: Group,
        web_port: int,
        broker: Broker,
        cluster: Cluster,
        database: str,
    ) -> None:
        self._run = run
        self._workers = workers
        self._web = web
        self._web_port = web_port
        self._broker = broker
        self._cluster = cluster
        self._database = database
        self._stopped = threading.Event()
        self.tried: Counter[str] = Counter()
        self.hit: Counter[str] = Counter()
        self.failures: list[str] = []
        self._threads = [
            threading.Thread(target=self._strike_all, args=(lane,), daemon=True)
            for lane in plan.lanes(strikes)
        ]

    def start(self) -> None:
        self._begun = time.monotonic()
        for thread in self._threads:
            thread.start()

    @property
    def over(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Stop striking, and restore what is down."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _strike_all(self, lane: list[Strike]) -> None:
        for number, strike in enumerate(lane):
            if self._stopped.wait(max(self._begun + strike.at - time.monotonic(), 0)):
                return
            try:
                self._strike(strike, number)
            except Exception as error:  # noqa: BLE001  the storm continues, and the report shows it
                self.failures.append(f"{strike.kind}: {type(error).__name__}: {error}"[:300])
            else:
                self.tried[strike.kind] += 1

    def _strike(self, strike: Strike, number: int) -> None:
        kind = strike.kind
        if kind == plan.WEB:
            self._await_web()
        if kind in plan.CALL:
            self._take_turns()
            self._await_calls()
        if kind in plan.POINTS:
            crashing.arm(self._run, kind, number, whole_group=strike.whole_group)
        elif kind == plan.WORKER:
            self._kill_worker(strike, number)
            self.hit[kind] += 1
        elif kind == plan.FLUSHED:
            self._broker.flush(strike.pause)
            self.hit[kind] += 1
        elif kind == plan.CUT:
            self._broker.cut()
            self.hit[kind] += 1
        elif kind == plan.CRASHED:
            self.hit[kind] += self._is_busy()
            self._cluster.crash()
        else:
            self.hit[kind] += self._is_busy()
            self._cluster.terminate(self._database)

    def _kill_worker(self, strike: Strike, number: int) -> None:
        worker = self._workers[number % len(self._workers)]
        self._let_live(worker)
        pool = worker.children()
        if strike.whole_group or not pool:
            worker.kill()
        else:
            crashing.end(random.choice(pool))

    def _await_web(self) -> None:
        """Wait until the server answers, since it is slow to load."""
        until = time.monotonic() + 4 * LIFE
        while not answers(self._web_port) and time.monotonic() < until:
            if self._stopped.wait(0.1):
                return
        self._stopped.wait(LIFE)

    def _let_live(self, group: Group) -> None:
        """Wait, with a limit, until a process had time to do something after its start."""
        until = time.monotonic() + 2 * LIFE
        while group.age < LIFE and time.monotonic() < until and not self._stopped.is_set():
            time.sleep(0.1)

    def _take_turns(self) -> None:
        """Wait for the last point of a call: of several, only the first would be reached."""
        until = time.monotonic() + 2 * LIFE
        while crashing.armed(self._run, plan.CALL) and not self._stopped.is_set():
            if time.monotonic() > until:
                return
            time.sleep(0.1)

    def _await_calls(self) -> None:
        """Wait, with a limit, until calls are made.

        Otherwise, killing each trial call of an open circuit would prevent all others.
        """
        until = time.monotonic() + 2 * LIFE
        while not self._makes_calls() and time.monotonic() < until:
            if self._stopped.wait(0.1):
                return

    def _makes_calls(self) -> bool:
        try:
            return not self._cluster.has_open_circuit(self._database)
        except Error:
            return False  # the database is down

    def _is_busy(self) -> bool:
        """Wait, with a limit, until a transaction is open; return whether one is."""
        until = time.monotonic() + PATIENCE
        while not self._cluster.in_transaction(self._database):
            if time.monotonic() > until or self._stopped.wait(0.01):
                return False
        return True


class Keeper:
    """Restarts processes that died, like an init system."""

    def __init__(self, groups: dict[Group, Callable[[], dict[str, str]]]) -> None:
        self._groups = groups
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def start(self) -> None:
        for group, environment in self._groups.items():
            group.start(environment())
        self._thread.start()

    def stop(self) -> None:
        """Restart none from now on, and end them all."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()
        for group in self._groups:
            group.stop()

    def _keep(self) -> None:
        while not self._stopped.wait(0.2):
            for group, environment in self._groups.items():
                if not group.alive:
                    group.kill()  # what the dead one left of its group
                    group.start(environment())
