"""The targets, and a readable report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

from benchmarks.search.report import RESULTS, surroundings

FIGURES = RESULTS / "admin.json"
PAGE = RESULTS / "admin.md"
PACKAGES = ("Django", "psycopg")

Run = Mapping[str, Any]


def around() -> dict[str, Any]:
    """Return what the figures depend on."""
    return surroundings() | {"packages": {name: version(name) for name in PACKAGES}}


def verdicts(run: Run) -> Iterator[tuple[str, str, str, str]]:
    """Yield page, target, measurement, and verdict."""
    for name, found in run["pages"].items():
        met = found["p95"] <= found["most"]
        yield (
            name,
            f"p95 ≤ {found['most']} ms",
            f"p50 {found['p50']:.0f}, p95 {found['p95']:.0f} ms",
            "met" if met else "**missed**",
        )


def write(run: Run) -> None:
    """Save the run, replacing the last one, and write the report."""
    FIGURES.write_text(json.dumps(run, indent=1) + "\n", "utf-8")
    PAGE.write_text("\n".join(_document(run)) + "\n", "utf-8")


def _document(run: Run) -> Iterator[str]:
    around = run["surroundings"]
    machine = around["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in around["packages"].items())
    yield "# Admin: measured"
    yield ""
    yield "Written by `make bench-admin`; [Benchmarks](../../docs/benchmarks.md) says what is"
    yield "measured and how. Times are milliseconds, of the whole page in one process."
    yield ""
    yield (
        f"{run['date']}, {run['assets']:,} assets, {run['tags']:,} tags, "
        f"PostgreSQL {around['server']}, Python {around['python']}, {packages}; "
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"{machine['system']}; measured for {run['seconds']:.0f} s; the machine's load before "
        f"it was {run['load_before']}."
    )
    yield ""
    yield "| page | n | p50 | p95 | max | queries | asked | |"
    yield "|---|---|---|---|---|---|---|---|"
    for (name, asked, _measured, verdict), found in zip(
        verdicts(run), run["pages"].values(), strict=True
    ):
        times = " | ".join(f"{found[each]:.1f}" for each in ("p50", "p95", "max"))
        yield f"| {name} | {found['n']} | {times} | {found['queries']} | {asked} | {verdict} |"
