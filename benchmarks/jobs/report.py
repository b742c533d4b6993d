"""The targets, and a readable report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.admin.report import around
from benchmarks.search.report import RESULTS

FIGURES = RESULTS / "jobs.json"
PAGE = RESULTS / "jobs.md"
PER_SECOND = 10_000
LONGEST = 250
"""Milliseconds of a transaction."""

Run = Mapping[str, Any]


def is_met(found: Mapping[str, Any]) -> bool:
    """Whether an action is fast enough, in transactions that are short enough."""
    return bool(found["per_second"] >= PER_SECOND and found["longest_ms"] <= LONGEST)


def row(name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    """Return an action as cells, in the order of the table."""
    return (
        name,
        f"{found['per_second']:,}",
        f"{found['client_us']} + {found['database_us']}",
        f"{found['longest_ms']:.0f}",
        f"{found['wal_per_asset']:,}",
        f"{found['dead_rows']:,}",
        "met" if is_met(found) else "**missed**",
    )


def write(run: Run) -> None:
    """Save the run, replacing the last one, and write the report."""
    FIGURES.write_text(json.dumps(run | {"surroundings": around()}, indent=1) + "\n", "utf-8")
    PAGE.write_text("\n".join(_document(run, around())) + "\n", "utf-8")


def _document(run: Run, around: Run) -> Iterator[str]:
    machine = around["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in around["packages"].items())
    yield "# Bulk jobs: measured"
    yield ""
    yield "Written by `make bench-jobs`; [Benchmarks](../../docs/benchmarks.md#bulk-jobs) says what"
    yield "is measured and how."
    yield ""
    yield (
        f"{run['date']}, {run['assets']:,} assets with {run['tags_per_asset']} tags each, "
        f"PostgreSQL {around['server']}, Python {around['python']}, {packages}; "
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"{machine['system']}; the machine's load before it was {run['load_before']}. "
        f"The targets are {PER_SECOND:,} assets a second, and {LONGEST} ms for the longest "
        "transaction."
    )
    yield ""
    yield (
        "| action | assets a second | processor, µs an asset, job + database "
        "| longest transaction, ms | WAL, bytes an asset | dead rows | |"
    )
    yield "|---|---|---|---|---|---|---|"
    for name, found in run["actions"].items():
        yield "| " + " | ".join(row(name, found)) + " |"
