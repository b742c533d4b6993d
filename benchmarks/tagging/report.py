"""Save the figures of the last run, and write a readable report."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

from benchmarks.search import report as search

from .bars import bars

FIGURES = search.RESULTS / "tagging.json"
PAGE = search.RESULTS / "tagging.md"
PACKAGES = ("Django", "celery", "redis", "httpx2", "psycopg", "throttled-py", "requests")
WHAT = {
    "steady": "app, one process, `--pool solo`",
    "threads": "app, one process, `--pool threads`",
    "lean": "app, one process, a stand-in that checks nothing",
    "ceiling": "app, one process, answers at once",
    "memory": "app, one process, 10,000 calls answered after 50 ms",
    "rate": "app, four processes, 100 a second together",
    "peer, 1 process": "SDK in a task, `-c 1`",
    "peer, 8 processes": "SDK in a task, `-c 8`",
    "peer, 64 threads": "SDK in a task, `--pool threads -c 64`",
}

Run = Mapping[str, Any]


def surroundings() -> dict[str, Any]:
    """Return what the figures depend on: machine, versions, settings of the server."""
    return search.surroundings() | {"packages": {name: version(name) for name in PACKAGES}}


def write(run: Run) -> None:
    """Save a run, replacing the last one, and rewrite the report."""
    FIGURES.write_text(json.dumps(run, indent=1) + "\n", "utf-8")
    PAGE.write_text("\n".join(_document(run)) + "\n", "utf-8")


def verdicts(run: Run) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield name, target, measurement, verdict, and the reason if missed."""
    reasons = (
        tomllib.loads(search.REASONS.read_text("utf-8")) if search.REASONS.exists() else {}
    )
    for bar in bars():
        try:
            measured, met = bar.judge(run["found"])
        except KeyError:
            yield bar.name, bar.asked, "not measured in this run", "–", ""
            continue
        reason = "" if met else reasons.get("tagging", {}).get(bar.name, "not explained yet")
        yield bar.name, bar.asked, measured, "met" if met else "**missed**", reason


def _document(run: Run) -> Iterator[str]:
    around = run["surroundings"]
    machine = around["machine"]
    yield "# Tagging: measured"
    yield ""
    yield "Written by `make bench-tagging`; [Benchmarks](../../docs/benchmarks.md) says how it is"
    yield "measured."
    yield ""
    yield (
        f"{run['date']}, PostgreSQL {around['server']}, Python {around['python']}, "
        + ", ".join(f"{name} {number}" for name, number in around["packages"].items())
        + f"; {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"{machine['system']}; the whole run took {run['seconds']:.0f} s; the machine's load "
        f"before it was {run['load_before']}. Workers, database, broker and the stand-in for "
        "Filestack share the machine."
    )
    yield ""
    yield "| bar | asked | measured | | why |"
    yield "|---|---|---|---|---|"
    for row in verdicts(run):
        yield "| " + " | ".join(row) + " |"
    yield ""
    yield from _table(run["found"])
    yield from _applying(run["found"])
    yield from _alone(run["found"])
    yield from _ratios(run["found"])


def _table(found: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "| | assets a second | worker's ms a call | of one core | database's ms a call | MB | "
        "measured |"
    )
    yield "|---|---|---|---|---|---|---|"
    for name, figures in found.items():
        if name not in WHAT:
            continue
        database = figures.get("database_ms")
        yield (
            f"| {WHAT[name]} | {figures['per_second']:.1f} | {figures['cpu_ms']:.2f} | "
            f"{figures['cpu_share']:.0%} | {'–' if database is None else f'{database:.2f}'} | "
            f"{figures['memory_mb']:.0f} | {figures['tagged']:,} in {figures['seconds']:.0f} s |"
        )
    yield ""


def _applying(found: Mapping[str, Any]) -> Iterator[str]:
    rows = {name: figures for name, figures in found.items() if name.startswith("applying: ")}
    if not rows:
        return
    yield "| applied by four processes | a second | ms a batch, p50 / p95 | errors | deadlocks |"
    yield "|---|---|---|---|---|"
    for name, figures in rows.items():
        if "per_second" in figures:
            yield (
                f"| {name.removeprefix('applying: ')} | {figures['per_second']:.0f} | "
                f"{figures['p50']:.0f} / {figures['p95']:.0f} | {figures['errors']} | "
                f"{figures['deadlocks']} |"
            )
    yield ""
    yield (
        "Withdrawn: bars that compared replies with one prepared `INSERT … SELECT unnest(…)`, with "
        "`get_or_create`, and one by one. A worker waits 0.3 s for each answer, so applying must "
        "not be the bottleneck; it need not be as fast as one statement."
    )
    yield ""


def _alone(found: Mapping[str, Any]) -> Iterator[str]:
    yield "What stands in for Filestack, asked by itself, 64 at once:"
    yield ""
    for name, figures in found.items():
        if "bare" in figures:
            yield (
                f"* {WHAT[name]}: {figures['bare']['per_second']:.0f} a second by a bare client, "
                f"{figures['client']['per_second']:.0f} by the app's client alone, which takes "
                f"{figures['client']['cpu_ms']:.2f} ms of processor time a call"
            )
    yield ""
    if "found_done_ms" in found.get("steady", {}):
        figures = found["steady"]
        yield (
            f"A task that finds its asset tagged takes {figures['found_done_ms']:.2f} ms, of "
            f"which {figures['found_done_cpu_ms']:.2f} ms of the worker's processor time; "
            f"queueing an asset took {figures['queueing_ms']:.2f} ms."
        )
        yield ""


def _ratios(found: Mapping[str, Any]) -> Iterator[str]:
    if "steady" not in found:
        return
    app = found["steady"]["per_second"]
    for name, figures in found.items():
        if name.startswith("peer"):
            yield (
                f"* One process of the app tags {app / figures['per_second']:.1f} times as many "
                f"as {WHAT[name]}."
            )
