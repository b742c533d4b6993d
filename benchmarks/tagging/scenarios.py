"""The measurements, one after another."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from . import applying, rows
from .processes import Meter, Sample, Upstream, upstream, workers
from .surroundings import LIMITS

IN_FLIGHT = 64
LATENCY = 0.3
"""Seconds until Filestack answers."""
FULL = IN_FLIGHT / LATENCY
"""Calls a second if every slot is reused at once."""
WARM = 5.0
"""Seconds after the first tagged asset that do not count."""
RATE = 100
"""Calls a second that four processes share."""
MANY = 10_000
"""Calls over which memory must stay flat."""
MOMENT = 0.05
LONG = 600.0
"""Maximum seconds for them."""
ANSWER = 120.0
"""Maximum seconds until the first asset is tagged."""

SOLO = ("--pool", "solo")
THREADS = ("--pool", "threads", "--concurrency", "8")

Figures = dict[str, Any]


class Scenarios:
    """Runs measurements; ``found`` has the figures by name of the measurement.

    Args:
        seconds: maximum duration of each, after the warm-up.
        assets: how many to use; as many as can be tagged in that time when ``None``.
        logs: where the workers' logs are written.
        say: called with every figure.
    """

    def __init__(
        self, seconds: float, assets: int | None, logs: Path, say: Callable[[str], None]
    ) -> None:
        self._seconds = seconds
        self._assets = assets
        self._logs = logs
        self._say = say
        self.found: dict[str, Figures] = {}

    def steady(self) -> None:
        """One process, ``--pool solo``, against the emulator; and the cost of its last tasks."""
        self._one("steady", SOLO, "emulator", LATENCY, self._seconds, to_the_end=True)

    def threads(self) -> None:
        """The same with ``--pool threads``."""
        self._one("threads", THREADS, "emulator", LATENCY, self._seconds / 2)

    def lean(self) -> None:
        """As steady, but against a stand-in that checks nothing."""
        self._one("lean", SOLO, "lean", LATENCY, self._seconds / 2)

    def ceiling(self) -> None:
        """One process, with a Filestack that answers at once."""
        self._one("ceiling", SOLO, "lean", 0.0, self._seconds / 2, fastest=1200)

    def memory(self) -> None:
        """One process, until it has made ten thousand calls, each answered after a short time."""
        files = self._assets or MANY * 13 // 10  # those of the warm-up do not count
        with upstream("lean", latency=MOMENT, files=files) as far:
            figures = self._run("memory", rows.App(), far, "lean", SOLO, LONG)
        figures["calls"] = len(far.arrivals)
        self._note("memory", figures)

    def rate(self) -> None:
        """Four processes, which share one rate."""
        assets = self._number(RATE, self._seconds)
        with upstream("emulator", latency=LATENCY, files=assets) as far:
            figures = self._run(
                "rate",
                rows.App(),
                far,
                "emulator",
                SOLO,
                self._seconds,
                processes=4,
                rate=f"{RATE}/second",
            )
        moments = far.arrivals[bisect_left(far.arrivals, far.arrivals[0] + WARM) :]
        until = moments[0] + self._seconds
        moments = moments[: bisect_left(moments, until)]
        elapsed = moments[-1] - moments[0]
        figures |= {
            "limit": RATE,
            "share_of_limit": round((len(moments) - 1) / elapsed / RATE, 4),
            "most_in_10_s": most_within(10.0, moments),
            "most_in_1_s": most_within(1.0, moments),
        }
        self._note("rate", figures)

    def peers(self) -> None:
        """A task for each picture, which makes a blocking call, with one, eight and 64 workers."""
        for name, options, fastest in (
            ("peer, 1 process", ("--concurrency", "1"), 1 / LATENCY),
            ("peer, 8 processes", ("--concurrency", "8"), 8 / LATENCY),
            ("peer, 64 threads", ("--pool", "threads", "--concurrency", "64"), FULL),
        ):
            seconds = self._seconds / 2
            with upstream(
                "emulator", latency=LATENCY, files=self._number(fastest, seconds)
            ) as far:
                figures = self._run(name, rows.Peer(), far, "emulator", options, seconds)
            self._note(name, figures)

    def applying(self) -> None:
        """Results applied by four processes, without calls."""
        for name, figures in applying.measure().items():
            self._note(f"applying: {name}", figures)

    def _one(
        self,
        name: str,
        options: Sequence[str],
        kind: str,
        latency: float,
        seconds: float,
        *,
        fastest: float = FULL,
        to_the_end: bool = False,
    ) -> None:
        with upstream(kind, latency=latency, files=self._number(fastest, seconds)) as far:
            bare = far.probe("bare", min(seconds, 5.0))
            client = far.probe("client", min(seconds, 5.0))
            before = monotonic()
            figures = self._run(
                name, rows.App(), far, kind, options, seconds, to_the_end=to_the_end
            )
        figures["bare"] = bare
        figures["client"] = client
        figures["calls"] = len(far.arrivals) - bisect_left(far.arrivals, before)
        self._note(name, figures)

    def _number(self, fastest: float, seconds: float) -> int:
        return self._assets or int(fastest * (seconds + WARM + 2)) + 4 * IN_FLIGHT

    def _run(
        self,
        name: str,
        design: rows.App | rows.Peer,
        far: Upstream,
        kind: str,
        options: Sequence[str],
        seconds: float,
        *,
        processes: int = 1,
        rate: str = "",
        to_the_end: bool = False,
    ) -> Figures:
        design.fill(far.handles)
        begun = monotonic()
        design.queue()
        queueing = monotonic() - begun
        log = self._logs / f"{name.replace(' ', '-').replace(',', '')}.log"
        with workers(processes, options, far.url, log, **{LIMITS: rate}) as running:
            meter = Meter(running)
            samples = self._watch(design, meter, len(far.handles), seconds)
            rest = self._drain(meter, design) if to_the_end else {}
        found = summary(samples, len(far.handles))
        found |= rest
        found["queueing_ms"] = round(queueing * 1000 / len(far.handles), 3)
        found["faults"] = design.faults(kind, far.handles)
        rows.clear_broker()
        return found

    def _watch(
        self, design: rows.App | rows.Peer, meter: Meter, assets: int, seconds: float
    ) -> list[Sample]:
        """Return the resources used, second by second."""
        until = monotonic() + ANSWER
        samples: list[Sample] = []
        while monotonic() < until:
            sleep(1)
            done = design.done()
            if not done:
                continue
            if not samples:
                until = monotonic() + WARM + seconds
            samples.append(meter.read(done))
            if done >= assets:
                break
        if not samples:
            raise RuntimeError("Nothing was tagged; the workers' logs say why.")
        return samples

    def _drain(self, meter: Meter, design: rows.App | rows.Peer) -> Figures:
        """Return the cost of tasks whose asset is tagged already."""
        left = rows.messages()
        begun = meter.read(0)
        until = monotonic() + self._seconds
        while monotonic() < until and rows.messages() > left / 20:
            sleep(0.2)
        ended, served = meter.read(0), left - rows.messages()
        if not served:
            return {}
        return {
            "found_done": served,
            "found_done_ms": round((ended.at - begun.at) * 1000 / served, 3),
            "found_done_cpu_ms": round(
                (ended.worker_cpu - begun.worker_cpu) * 1000 / served, 3
            ),
        }

    def _note(self, name: str, figures: Figures) -> None:
        self.found[name] = figures
        self._say(f"{name:20} {figures}")


def summary(samples: Sequence[Sample], assets: int) -> Figures:
    """Return the figures of the steady part: without the beginning and the last few calls."""
    steady = [
        sample
        for sample in samples
        if sample.at >= samples[0].at + WARM and sample.done <= assets - 2 * IN_FLIGHT
    ]
    if len(steady) < 3 or steady[-1].done == steady[0].done:
        raise RuntimeError("Too few assets for a steady part: give more --assets.")
    first, last = steady[0], steady[-1]
    done, elapsed = last.done - first.done, last.at - first.at
    figures: Figures = {
        "tagged": done,
        "seconds": round(elapsed, 1),
        "per_second": round(done / elapsed, 2),
        "cpu_ms": round((last.worker_cpu - first.worker_cpu) * 1000 / done, 3),
        "cpu_share": round((last.worker_cpu - first.worker_cpu) / elapsed, 3),
        "memory_mb": round(last.memory / 2**20, 1),
        "memory_growth": round(growth(steady), 4),
    }
    if first.database_cpu is not None and last.database_cpu is not None:
        used = last.database_cpu - first.database_cpu
        figures["database_ms"] = round(used * 1000 / done, 3)
    return figures


def growth(samples: Sequence[Sample]) -> float:
    """Return the relative growth of memory over the samples, by linear regression."""
    mean_done = sum(sample.done for sample in samples) / len(samples)
    mean_memory = sum(sample.memory for sample in samples) / len(samples)
    slope = sum(
        (sample.done - mean_done) * (sample.memory - mean_memory) for sample in samples
    ) / sum((sample.done - mean_done) ** 2 for sample in samples)
    return slope * (samples[-1].done - samples[0].done) / samples[0].memory


def most_within(seconds: float, moments: Sequence[float]) -> int:
    """Return the maximum number of moments in any window of that length."""
    most = first = 0
    for last, moment in enumerate(moments):
        while moment - moments[first] >= seconds:
            first += 1
        most = max(most, last - first + 1)
    return most
