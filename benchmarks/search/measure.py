"""Time several designs on the same searches, in turn, and check their answers."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, TypeVar

from .workload import Search

CHECKED = 25
"""Answers of each design and class that are checked against the oracle."""
WARM = 3
"""Searches of each turn that a design answers regardless of time."""
BLOCK = 15
"""Searches that a design answers before the next design's turn."""
MAX_ERRORS = 3

Timed = Callable[[Search], tuple[float, Any]]
Answer = TypeVar("Answer")


@dataclass
class Figures:
    """The times of one design for one class of searches, in milliseconds."""

    times: list[float] = field(default_factory=list, repr=False)
    first: list[float] = field(default_factory=list, repr=False)
    """The time of the first run of each search."""
    strata: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    checked: int = 0
    wrong: int = 0
    errors: int = 0
    problem: str = ""

    def add(self, milliseconds: float, stratum: str = "") -> None:
        self.times.append(milliseconds)
        self.strata[stratum].append(milliseconds)

    def summary(self) -> dict[str, Any]:
        kept = {
            name: value
            for name, value in vars(self).items()
            if name not in ("times", "first", "strata") and value not in (0, "")
        }
        if not self.times:
            return {"n": 0, **kept}
        return {
            "n": len(self.times),
            "p50": round(_at(0.5, self.times), 3),
            "p95": round(_at(0.95, self.times), 3),
            "max": round(max(self.times), 3),
            "first_p50": round(_at(0.5, self.first), 3),
            "first_p95": round(_at(0.95, self.first), 3),
            **kept,
            "strata_p50": {
                name: round(sorted(times)[len(times) // 2], 3)
                for name, times in self.strata.items()
                if name
            },
        }


def _at(share: float, times: Sequence[float]) -> float:
    """Return the percentile of the times."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def timed(answer: Callable[[Search], Answer]) -> Callable[[Search], tuple[float, Answer]]:
    """Return ``answer`` together with the milliseconds it took."""

    def run(search: Search) -> tuple[float, Answer]:
        start = perf_counter()
        found = answer(search)
        return (perf_counter() - start) * 1000, found

    return run


def interleaved(
    searches: Sequence[Search],
    designs: Mapping[str, Timed],
    *,
    right: Callable[[Search, Any], bool] | None = None,
    seconds: Mapping[str, float],
) -> dict[str, Figures]:
    """Run every search on every design, a few at a time in turn.

    So all designs run under the same conditions. Each answers its few searches twice: before the
    first run, the others have evicted its data from every cache, so the second one counts.

    Args:
        searches: in this order.
        designs: by name; each returns milliseconds and its answer.
        right: whether an answer is right; None if that is checked elsewhere.
        seconds: the total time budget of a design; it is skipped once that is spent.
    """
    figures = {name: Figures() for name in designs}
    spent = dict.fromkeys(designs, 0.0)
    names = list(designs)
    for turn, start in enumerate(range(0, len(searches), BLOCK)):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            figure, run = figures[name], designs[name]
            if spent[name] > seconds.get(name, float("inf")) or figure.errors > MAX_ERRORS:
                continue
            gc.collect()
            begun = perf_counter()
            asked: list[tuple[int, Search]] = []
            for number, search in enumerate(searches[start : start + BLOCK], start):
                outcome = _attempt(figure, run, search)
                if outcome is not None:
                    figure.first.append(outcome[0])
                    asked.append((number, search))
                enough = spent[name] + perf_counter() - begun > seconds.get(name, float("inf"))
                if enough and len(asked) >= WARM:
                    break
            for number, search in asked:
                outcome = _attempt(figure, run, search)
                if outcome is None:
                    continue
                figure.add(outcome[0], search.stratum)
                if right is not None and number < CHECKED:
                    figure.checked += 1
                    if not right(search, outcome[1]):
                        figure.wrong += 1
                        figure.problem = figure.problem or f"wrong answer to {search}"
            spent[name] += perf_counter() - begun
    return figures


def _attempt(figure: Figures, run: Timed, search: Search) -> tuple[float, Any] | None:
    try:
        return run(search)
    except Exception as error:  # noqa: BLE001  # a design that fails is reported, not fatal
        figure.errors += 1
        figure.problem = figure.problem or repr(error)[:300]
        return None
