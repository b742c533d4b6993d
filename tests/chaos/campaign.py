"""One run with one broker: start processes, run the storm, wait for calm, check the rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from . import apps, crashing, people, plan
from .brokers import BROKERS, Broker
from .cluster import Cluster
from .emulator import FAULTS
from .feeder import Feeder
from .processes import ROOT, Group, answers, free_port, python
from .receiver import receiving
from .storm import Keeper, Storm

CLOCKS = (0, +1, -1)
"""Workers: one with the right time, one whose clock is fast, one whose clock is slow."""
POOL = 2
"""Processes in the pool of each worker."""
FAR_UNTIL = 0.3
"""Share of the storm in which clocks are far wrong, so that all work due then becomes due."""
CALM = 75.0
"""Seconds for all remaining work once nothing is killed any more."""
LATE = 25.0
"""Seconds after the storm for strikes that had to wait for their target."""
LAST_POINTS = 15.0
"""Seconds for points that were armed last to be reached."""
GUNICORN = (
    "--preload",
    "--workers=2",
    "--threads=4",
    "--worker-class=gthread",
    "--graceful-timeout=1",
)
OPEN = {
    **dict.fromkeys(
        ("webhookdelivery", "outboundmessage", "modelfile", "bulkjob", "tagmerge"),
        "due_at IS NOT NULL",
    ),
    "asset": "tagging_state IN ('queued', 'running')",
    "taggingrun": "state = 'started'",
}
"""Work that has to end: the condition of its rows, by table."""
OPEN_WORK = " UNION ALL ".join(
    f"SELECT '{table}', count(*) FROM filestack_tags_{table} WHERE {condition}"
    for table, condition in OPEN.items()
)


@dataclass
class Report:
    """The result of a campaign."""

    broker: str
    tried: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    starts: dict[str, int] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def broken(self) -> bool:
        return not self.findings or any(finding["broken"] for finding in self.findings)


@dataclass(frozen=True)
class Campaign:
    """One run. ``seconds`` is its total time limit."""

    broker: str
    seed: str
    mix: plan.Mix
    kills: int
    seconds: float
    run: Path
    say: Callable[[str], None]

    def fight(self, cluster: Cluster) -> Report:
        """Run it; everything that was started has ended when this returns or raises."""
        begun = time.monotonic()
        (self.run / "tokens").mkdir(parents=True)
        report = Report(self.broker)
        with ExitStack() as stack:
            broker: Broker = BROKERS[self.broker](self.run)
            stack.enter_context(broker)
            database = f"chaos_{self.broker}"
            emulator_port, web_port = free_port(), free_port()
            webhook = f"http://127.0.0.1:{web_port}/filestack/webhook/"
            environment = os.environ | {
                "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
                "PYTHONPATH": str(ROOT),
                "DATABASE_URL": cluster.create(database),
                "BROKER_URL": broker.url,
                "FILESTACK_URL": f"http://127.0.0.1:{emulator_port}",
                crashing.DIRECTORY: str(self.run),
                people.RECEIVER: stack.enter_context(receiving()),
            }
            self._migrate(environment)
            emulator = Group(
                "emulator",
                python("tests.chaos.emulator", str(emulator_port), webhook),
                self.run / "emulator.log",
            )
            stack.callback(emulator.stop)
            emulator.start(environment)
            workers = [self._worker(number) for number in range(len(CLOCKS))]
            clocks = Clocks()
            bind = f"--bind=127.0.0.1:{web_port}"
            web = Group(
                "web",
                python("gunicorn", *GUNICORN, bind, "tests.chaos.wsgi"),
                self.run / "web.log",
            )
            others = {
                "sweeper-1": python("tests.chaos.sweeper", "1"),
                "sweeper-2": python("tests.chaos.sweeper", "2"),
                "people": python("tests.chaos.people", self.seed),
            }
            groups: dict[Group, Callable[[], dict[str, str]]] = {
                worker: partial(clocks.wrong, environment, sign)
                for worker, sign in zip(workers, CLOCKS, strict=True)
            }
            groups[web] = lambda: environment
            for name, command in others.items():
                groups[Group(name, command, self.run / f"{name}.log")] = lambda: environment
            keeper = Keeper(groups)
            stack.callback(keeper.stop)
            keeper.start()
            while not (answers(web_port) and answers(emulator_port)):
                time.sleep(0.1)
            for fault in FAULTS:
                _control(emulator_port, "POST", fault | {"times": None})
            lasting = self.seconds - (time.monotonic() - begun) - CALM - LATE - LAST_POINTS - 10
            self.say(f"{self.broker}: everything is up; the storm lasts {lasting:.0f} s")
            storm = Storm(
                plan.draw(self.seed, kills=self.kills, seconds=lasting),
                run=self.run,
                workers=workers,
                web=web,
                web_port=web_port,
                broker=broker,
                cluster=cluster,
                database=database,
            )
            stack.callback(storm.stop)
            feeder = Feeder(
                self.seed,
                self.mix,
                f"http://127.0.0.1:{emulator_port}",
                webhook,
                lasting * 0.95,
            )
            stack.callback(feeder.stop)
            storm.start()
            feeder.start()
            self._wait(lasting * FAR_UNTIL, storm, feeder)
            clocks.seconds = plan.NEAR
            for worker in workers:
                worker.kill()
            self._wait(lasting * (1 - FAR_UNTIL), storm, feeder)
            until = time.monotonic() + LATE
            while not storm.over and time.monotonic() < until:
                time.sleep(0.2)
            storm.stop()
            until = time.monotonic() + LAST_POINTS
            while crashing.armed(self.run) and time.monotonic() < until:
                time.sleep(0.2)
            left = crashing.disarm(self.run)
            _control(emulator_port, "DELETE")
            clocks.seconds = 0.0
            for worker in workers:
                worker.stop()
            told = feeder.join(30)
            self._end_people(groups)
            calm = self._await_calm(cluster, database, emulator_port)
            keeper.stop()
            feeder.save(self.run / "facts.json")
            self._write_events(emulator_port)
            report.tried = storm.tried
            report.struck = self._struck(storm)
            report.starts = {group.name: group.starts for group in groups}
            report.notes = [
                *(storm.failures),
                *([] if told else ["Not everything happened in time at Filestack."]),
                *([f"{left} armed point(s) that nobody came by"] if left else []),
                calm,
                f"{sum(feeder.done.values())} events at Filestack: {_told(feeder.done)}",
                f"our own posts were answered {_told(feeder.posted.answers)}",
                f"two sweeps at once ×{self._sweeps_at_once()}",
                f"workers with a wrong clock: {_told(clocks.given)}",
            ]
            report.findings = self._judge(environment)
            if report.broken:
                cluster.dump(database, self.run / "rows.sql")
                report.notes.append(f"the rows are kept in {self.run / 'rows.sql'}")
        return report

    def _migrate(self, environment: dict[str, str]) -> None:
        with (self.run / "migrate.log").open("wb") as log:
            subprocess.run(
                python("django", "migrate", "--verbosity=0"),
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=True,
            )

    def _worker(self, number: int) -> Group:
        command = python(
            *("celery", "--app=tests.chaos.celery_app", "worker", f"--hostname=w{number}@%h"),
            *(f"--concurrency={POOL}", "--prefetch-multiplier=4", "--loglevel=WARNING"),
            *("--without-gossip", "--without-mingle"),
        )
        return Group(f"worker-{number}", command, self.run / f"worker-{number}.log")

    def _wait(self, lasting: float, storm: Storm, feeder: Feeder) -> None:
        until = time.monotonic() + lasting
        told = time.monotonic()
        while time.monotonic() < until and not storm.over:
            time.sleep(0.2)
            if time.monotonic() - told > 20:
                told = time.monotonic()
                events, strikes = sum(feeder.done.values()), sum(storm.tried.values())
                self.say(f"{self.broker}: {events} events and {strikes} strikes so far")
        while time.monotonic() < until and not feeder.join(0.2):
            pass

    def _end_people(self, groups: dict[Group, Any]) -> None:
        """Stop the simulated users: the keeper must not restart them."""
        for group in [group for group in groups if group.name == "people"]:
            del groups[group]
            group.stop()

    def _await_calm(self, cluster: Cluster, database: str, emulator: int) -> str:
        begun = time.monotonic()
        quiet, last = 0, "none"
        while time.monotonic() - begun < CALM:
            with cluster.connect(database) as connection:
                rows = connection.execute(OPEN_WORK).fetchall()
            left = {table: number for table, number in rows if number}
            pending = _control(emulator, "GET", what="")["pending_deliveries"]
            last = _told(left) or last
            quiet = 0 if left or pending else quiet + 1
            if quiet == 4:
                return f"calm after {time.monotonic() - begun:.0f} s; open were last: {last}"
            time.sleep(0.5)
        return (
            f"NOT calm after {CALM:.0f} s: open are {_told(left)}; {pending} events undelivered"
        )

    def _write_events(self, emulator: int) -> None:
        events = _control(emulator, "GET", what="events")["events"]
        (self.run / "events.json").write_text(json.dumps(events))

    def _struck(self, storm: Storm) -> Counter[str]:
        """Return what was hit, and how often; processes that crashed at a point recorded it."""
        log = self.run / "crashes.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return Counter(line.split("\t")[1] for line in lines) + storm.hit

    def _sweeps_at_once(self) -> int:
        swept: defaultdict[str, set[str]] = defaultdict(set)
        for line in (self.run / "sweeps.log").read_text().splitlines():
            tick, sweeper, _ = line.split("\t", 2)
            swept[tick].add(sweeper)
        return sum(len(sweepers) > 1 for sweepers in swept.values())

    def _judge(self, environment: dict[str, str]) -> list[dict[str, Any]]:
        done = subprocess.run(
            python("tests.chaos.verdict"),
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=sys.stderr,
            check=True,
        )
        findings: list[dict[str, Any]] = json.loads(done.stdout)
        return findings


class Clocks:
    """The clock errors of workers that are started now.

    Attributes:
        seconds: by how much they are fast or slow.
    """

    def __init__(self) -> None:
        self.seconds = plan.FAR
        self.given: Counter[str] = Counter()

    def wrong(self, environment: dict[str, str], sign: int) -> dict[str, str]:
        """Return the environment of a worker."""
        if sign and self.seconds:
            self.given[f"{sign * self.seconds:+.0f} s"] += 1
        return environment | {apps.CLOCK: str(sign * self.seconds)}


def _told(counted: Mapping[str, int]) -> str:
    return ", ".join(f"{what} ×{number}" for what, number in sorted(counted.items()))


def _control(port: int, method: str, body: Any = None, *, what: str = "faults") -> Any:
    """Call the emulator's control endpoints."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {"Content-Type": "application/json"}
        sent = None if body is None else json.dumps(body).encode()
        connection.request(method, f"/_emulator/{what}", sent, headers)
        response = connection.getresponse()
        read = response.read()
    finally:
        connection.close()
    if response.status >= 300:
        raise RuntimeError(f"The emulator's control answered {response.status}: {read!r}")
    return json.loads(read) if read else None
