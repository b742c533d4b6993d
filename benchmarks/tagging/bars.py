"""The targets, each as a function of the figures of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .scenarios import FULL

Found = Mapping[str, Mapping[str, Any]]
Outcome = tuple[str, bool]
"""What was measured, and whether that is enough."""

SHARE = 0.9
OVERSHOOT = 0.02
GROWTH = 0.05
REPLIES = 1200


@dataclass(frozen=True)
class Bar:
    """``judge`` raises :class:`KeyError` if something was not measured."""

    name: str
    asked: str
    judge: Callable[[Found], Outcome]


def bars() -> list[Bar]:
    """Return the targets, in the order of the report."""
    full = f"≥ {SHARE} of 64 / 0.3 s = {SHARE * FULL:.0f} a second"
    return [
        Bar("one process", full, _share("steady")),
        Bar("one process, threads", full, _share("threads")),
        Bar("one process, lean stand-in", full, _share("lean")),
        Bar("rate of 4 processes", f"≤ {OVERSHOOT:.0%} over the limit in any 10 s", _overshoot),
        Bar("memory", f"< {GROWTH:.0%} growth over 10,000 calls, after the warm-up", _memory),
        Bar("calls", "one for each asset, each with its tags", _once),
        Bar("replies together", f"≥ {REPLIES:,} a second by 4 processes", _applied("replies")),
        *(
            Bar(f"{name} together", f"≥ {REPLIES // 2} a second by 4 processes", _applied(name))
            for name in ("failures", "started jobs")
        ),
        Bar("deadlocks", "0, also where writers collide", _no_deadlock),
        Bar("re-tag, nothing changed", "0 dead rows", _retag),
    ]


def _share(name: str) -> Callable[[Found], Outcome]:
    def judge(found: Found) -> Outcome:
        reached = found[name]["per_second"]
        return f"{reached:.0f} a second, {reached / FULL:.2f}", reached >= SHARE * FULL

    return judge


def _overshoot(found: Found) -> Outcome:
    figures = found["rate"]
    over = figures["most_in_10_s"] / (10 * figures["limit"]) - 1
    second = figures["most_in_1_s"] / figures["limit"] - 1
    return (
        f"{over:+.1%}; in the worst second {second:+.0%}; "
        f"{figures['share_of_limit']:.1%} of the limit used",
        over <= OVERSHOOT,
    )


def _memory(found: Found) -> Outcome:
    figures = found["memory"]
    grown = figures["memory_growth"]
    return f"{grown:+.1%} in {figures['tagged']:,} calls, {figures['memory_mb']:.0f} MB", (
        grown < GROWTH
    )


def _once(found: Found) -> Outcome:
    measured = [figures for figures in found.values() if "calls" in figures]
    if not measured:
        raise KeyError("calls")
    faults = sum(figures["faults"] for figures in measured)
    return f"{faults} faults in {sum(f['calls'] for f in measured):,} calls", not faults


def _applied(name: str) -> Callable[[Found], Outcome]:
    least = REPLIES if name == "replies" else REPLIES // 2

    def judge(found: Found) -> Outcome:
        reached = found[f"applying: {name}"]["per_second"]
        return f"{reached:.0f} a second", reached >= least

    return judge


def _no_deadlock(found: Found) -> Outcome:
    names = ("replies", "failures", "started jobs", "soak")
    measured = [found[f"applying: {name}"] for name in names]
    deadlocks = sum(figures["deadlocks"] for figures in measured)
    errors = sum(figures["errors"] for figures in measured)
    return f"{deadlocks} deadlocks, {errors} errors", deadlocks == errors == 0


def _retag(found: Found) -> Outcome:
    figures = found["applying: re-tag"]
    written = figures["inserted"] + figures["updated"] + figures["deleted"]
    return f"{figures['dead']} dead, {written} written", figures["dead"] <= 0 and not written
