"""Save the figures of every run, and write a readable report."""

from __future__ import annotations

import json
import os
import platform
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from django.db import connection

from .bars import NotMeasured, Run, bars, growth

RESULTS = Path(__file__).parents[1] / "results"
FIGURES = RESULTS / "search.json"
PAGE = RESULTS / "search.md"
REASONS = RESULTS / "reasons.toml"
"""Reasons for missed targets, by run and target. Written by hand."""
PACKAGES = ("Django", "djangorestframework", "psycopg", "mysqlclient", "django-taggit", "numpy")
LABELS = {"postgres": "PostgreSQL", "sqlite": "SQLite", "mariadb": "MariaDB"}


def surroundings() -> dict[str, Any]:
    """Return what the figures depend on: machine, versions, settings of the server."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            wanted = (
                "shared_buffers work_mem random_page_cost synchronous_commit jit autovacuum"
            )
            settings = {}
            for name in wanted.split():
                cursor.execute(f"SHOW {name}")
                settings[name] = cursor.fetchone()[0]
            cursor.execute("SHOW server_version")
        else:
            settings = {}
            function = "sqlite_version()" if connection.vendor == "sqlite" else "version()"
            cursor.execute(f"SELECT {function}")
        server = cursor.fetchone()[0]
    return {
        "server": server,
        "settings": settings,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES if _installed(name)},
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_gb": round(
                os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
            ),
            "system": platform.platform(),
        },
    }


def _installed(name: str) -> bool:
    try:
        version(name)
    except ModuleNotFoundError:
        return False
    return True


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((x.partition(": ")[2] for x in lines if x.startswith("model name")), "unknown")


def write(key: str, run: Run) -> None:
    """Add a run, replacing the last one with that key, and rewrite the report."""
    RESULTS.mkdir(exist_ok=True)
    runs: dict[str, Any] = json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}
    runs[key] = run
    FIGURES.write_text(json.dumps(dict(sorted(runs.items())), indent=1) + "\n", "utf-8")
    PAGE.write_text("\n".join(_document(runs)) + "\n", "utf-8")


def verdicts(key: str, runs: Mapping[str, Run]) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield name, target, measurement, verdict, and the reason if missed."""
    run = runs[key]
    reasons = tomllib.loads(REASONS.read_text("utf-8")) if REASONS.exists() else {}
    smaller = runs.get(f"{run['database']}-100k") if run["assets"] > 100_000 else None
    for bar in bars(run["database"]):
        try:
            measured, met = bar.judge(run, smaller)
        except NotMeasured:
            yield bar.name, bar.asked, "not measured in this run", "–", ""
            continue
        reason = "" if met else reasons.get(key, {}).get(bar.name, "not explained yet")
        yield bar.name, bar.asked, measured, "met" if met else "**missed**", reason


def _document(runs: Mapping[str, Run]) -> Iterator[str]:
    yield "# Search: measured"
    yield ""
    yield "Written by `make bench-search`; [Benchmarks](../../docs/benchmarks.md) says what the"
    yield "classes and designs are and how they are measured. Times are p50 / p95 / max in"
    yield "milliseconds."
    for key in sorted(runs, key=lambda key: (-runs[key]["assets"], key)):
        yield ""
        yield from _section(key, runs)


def _section(key: str, runs: Mapping[str, Run]) -> Iterator[str]:
    run = runs[key]
    around = run["surroundings"]
    machine = around["machine"]
    yield f"## {LABELS[run['database']]}, {run['assets']:,} assets, {run['assets'] * 20:,} tags"
    yield ""
    yield (
        f"{run['date']}, {LABELS[run['database']]} {around['server']}, Python {around['python']}, "
        + ", ".join(f"{name} {number}" for name, number in around["packages"].items())
        + f"; {machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"{machine['system']}; the whole run took {run['seconds']:.0f} s, "
        f"of which loading {run['loading_seconds']:.0f} s; the machine's load before it was "
        f"{run.get('load_before', 'not recorded')}."
    )
    if around["settings"]:
        settings = ", ".join(f"{name} = {value}" for name, value in around["settings"].items())
        yield f"Server: {settings}. Client and server share the machine."
    yield ""
    yield "| bar | asked | measured | | why |"
    yield "|---|---|---|---|---|"
    for row in verdicts(key, runs):
        yield "| " + " | ".join(row) + " |"
    yield ""
    yield from _cells(run)
    yield from _processes(run)
    smaller = runs.get(f"{run['database']}-100k")
    if smaller is not None and run["assets"] > smaller["assets"]:
        yield from _growth(run, smaller)


def _cells(run: Run) -> Iterator[str]:
    cells = run["cells"]
    designs = list(dict.fromkeys(name for cell in cells.values() for name in cell))
    yield "| | " + " | ".join(designs) + " |"
    yield "|---" * (len(designs) + 1) + "|"
    for name, cell in cells.items():
        yield f"| {name} | " + " | ".join(_figures(cell.get(d)) for d in designs) + " |"
    yield ""
    yield from _asked_first(run)
    yield from _by_stratum(run)
    faults = [
        f"* {name}, {design}: {found.get('wrong', 0)} of {found.get('checked', 0)} answers wrong, "
        f"{found.get('errors', 0)} errors ({found.get('problem', '')})"
        for name, cell in cells.items()
        for design, found in cell.items()
        if found.get("wrong") or found.get("errors")
    ]
    checked = sum(found.get("checked", 0) for cell in cells.values() for found in cell.values())
    yield (
        f"{checked:,} answers were compared with the truth; "
        + ("these were wrong:" if faults else "all are right.")
    )
    yield from faults
    yield ""


def _asked_first(run: Run) -> Iterator[str]:
    yield "The app when each search was asked for the first time, p50 / p95:"
    yield ""
    for name, cell in run["cells"].items():
        for design, found in cell.items():
            if design.startswith("app") and "first_p50" in found:
                yield f"* {name}, {design}: {found['first_p50']:.2f} / {found['first_p95']:.2f}"
    yield ""


def _by_stratum(run: Run) -> Iterator[str]:
    cells = {
        name: {design: found for design, found in cell.items() if found.get("strata_p50")}
        for name, cell in run["cells"].items()
        if name in ("S1", "AND", "OR", "CONF2", "CNT1", "CNT2", "FAC1", "FAC2")
    }
    yield "p50 by how frequent the tags are (C common, M medium, R rare):"
    yield ""
    for name, cell in cells.items():
        for design, found in cell.items():
            if design.startswith(("app", "limit")):
                strata = ", ".join(f"{k} {v:.2f}" for k, v in found["strata_p50"].items())
                yield f"* {name}, {design}: {strata}"
    yield ""


def _figures(found: Mapping[str, Any] | None) -> str:
    if not found or not found["n"]:
        return "–"
    text = f"{found['p50']:.2f} / {found['p95']:.2f} / {found['max']:.1f}"
    if found["n"] < 100:
        text += f" (n={found['n']})"
    if found.get("recall") is not None:
        text += f", recall {found['recall']:.3f} (least {found['recall_min']:.3f})"
    return text


def _processes(run: Run) -> Iterator[str]:
    if not run["processes"]:
        return
    yield "| several processes | processes | a second | p50 / p95 / max | errors | deadlocks |"
    yield "|---|---|---|---|---|---|"
    for name, found in run["processes"].items():
        if "per_second" in found:
            yield (
                f"| {name} | {found['processes']} | {found['per_second']:.0f} | "
                f"{_figures(found)} | {found['errors']} | {found['deadlocks']} |"
            )
    yield ""


def _growth(run: Run, smaller: Run) -> Iterator[str]:
    yield f"Growth from {smaller['assets']:,} assets, exponent of p50 / p95:"
    yield ""
    for cell, found in run["cells"].items():
        for design in found:
            try:
                by50 = growth(run, smaller, cell, design, "p50")
                by95 = growth(run, smaller, cell, design, "p95")
            except NotMeasured:
                continue
            yield f"* {cell}, {design}: {by50:.2f} / {by95:.2f}"
    yield ""
