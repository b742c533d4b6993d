"""The targets, and a readable report."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from operator import truediv
from statistics import median
from typing import Any

from benchmarks.search.report import REASONS, RESULTS, surroundings

from .processes import THREADS, workers

FIGURES = RESULTS / "ingest.json"
PAGE = RESULTS / "ingest.md"
PACKAGES = ("Django", "psycopg", "gunicorn", "celery", "redis")
LEAST = 0.75

Run = Mapping[str, Any]


def around() -> dict[str, Any]:
    """Return what the figures depend on."""
    return surroundings() | {"packages": {name: version(name) for name in PACKAGES}}


def verdicts(run: Run) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield name, target, measurement, verdict, and the reason if missed."""
    reasons = tomllib.loads(REASONS.read_text("utf-8")).get("ingest", {})
    views = run["views"]
    app, floor = views["app"], views["floor"]
    # Per round, so that a disturbance in one round affects only one of the shares.
    share = median(map(truediv, app["each_round"], floor["each_round"]))
    measured = (
        f"{share:.2f} ×, the median of {len(app['each_round'])} rounds "
        f"({app['per_second']:.0f} to {floor['per_second']:.0f} a second in all)"
    )
    yield _verdict(reasons, "accepted", f"≥ {LEAST} × floor", measured, share >= LEAST)
    lost = len(problems(run))
    yield _verdict(
        reasons, "nothing lost", "0 refused, all applied", f"{lost} faults", not lost
    )


def _verdict(
    reasons: Mapping[str, str], name: str, asked: str, measured: str, met: bool
) -> tuple[str, str, str, str, str]:
    reason = "" if met else reasons.get(name, "not explained yet")
    return name, asked, measured, "met" if met else "**missed**", reason


def problems(run: Run) -> list[str]:
    """Return the errors, which are never acceptable."""
    found = [
        f"{view}: {figures['refused']} requests were refused: {figures['problem']}"
        for view, figures in run["views"].items()
        if figures["refused"]
    ]
    applying = run["applying"]
    if not applying["events"] == applying["processed"] == applying["tagged"]:
        found.append(f"Not every event was applied: {applying}")
    return found


def write(run: Run) -> None:
    """Save the run, replacing the last one, and write the report."""
    RESULTS.mkdir(exist_ok=True)
    FIGURES.write_text(json.dumps(run, indent=1) + "\n", "utf-8")
    PAGE.write_text("\n".join(_document(run)) + "\n", "utf-8")


def _document(run: Run) -> Iterator[str]:
    machine, packages = run["surroundings"]["machine"], run["surroundings"]["packages"]
    settings = run["surroundings"]["settings"]
    yield "# Ingest: measured"
    yield ""
    yield "Written by `make bench-ingest`; [Benchmarks](../../docs/benchmarks.md) says what is"
    yield "measured and how. Times are milliseconds, seen by the client."
    yield ""
    yield (
        f"{run['date']}, PostgreSQL {run['surroundings']['server']}, "
        f"Python {run['surroundings']['python']}, "
        + ", ".join(f"{name} {number}" for name, number in packages.items())
        + f"; {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"{machine['system']}; the whole run took {run['seconds']:.0f} s; the machine's load "
        f"before it was {run['load_before']}."
    )
    chosen = ", ".join(f"{k} = {settings[k]}" for k in ("shared_buffers", "synchronous_commit"))
    yield (
        f"gunicorn with {workers()} workers of {THREADS} threads; {run['connections']} "
        f"connections kept open by one client process; {chosen}. Client, server, database and "
        "broker share the machine's cores."
    )
    yield ""
    yield "| bar | asked | measured | | why |"
    yield "|---|---|---|---|---|"
    for row in verdicts(run):
        yield "| " + " | ".join(row) + " |"
    yield ""
    yield "| view | accepted a second | each round | p50 | p95 | p99 | max |"
    yield "|---|---|---|---|---|---|---|"
    for view, found in run["views"].items():
        rounds = ", ".join(f"{rate:.0f}" for rate in found["each_round"])
        times = " | ".join(f"{found[name]:.1f}" for name in ("p50", "p95", "p99", "max"))
        yield f"| {view} | {found['per_second']:.0f} | {rounds} | {times} |"
    yield ""
    yield (
        f"Of the app's {run['views']['app']['n']:,} requests {run['duplicates']:,} were "
        f"duplicates; it sent {run['messages']:,} messages to the broker."
    )
    yield ""
    applying = run["applying"]
    yield (
        f"End to end, {applying['events']:,} events of 20 tags were applied in "
        f"{applying['seconds']:.1f} s, **{applying['per_second']:.0f} a second**, by a Celery "
        f"worker of {workers()} processes; all had been accepted after "
        f"{applying['posting_seconds']:.1f} s."
    )
    yield ""
    yield "Statements that an event takes to be applied, those that begin and commit included:"
    yield ""
    yield "| event | alone | one of many |"
    yield "|---|---|---|"
    for kind, number in run["statements"].items():
        yield f"| {kind} | {number['alone']:.0f} | {number['together']:.1f} |"
