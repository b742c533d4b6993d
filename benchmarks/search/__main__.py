"""``python -m benchmarks.search``: load, measure, check, report; see docs/benchmarks.md."""

from __future__ import annotations

import argparse
import gc
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from . import scratch

UNITS = {"": 1, "k": 1_000, "m": 1_000_000}


def main() -> int:
    given = _arguments()
    assets = _assets(given.size)
    url = os.environ["BENCHMARK_DATABASE_URL"] = scratch.address(given.db, given.size)
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.search.settings"
    if not given.reuse:
        scratch.recreate(url)

    import django  # the database URL is part of its settings

    django.setup()
    return _measure(given, assets)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("--size", default="100k", help="assets, such as 100k or 1m")
    parser.add_argument("--db", default="postgres", choices=["postgres", "sqlite", "mariadb"])
    parser.add_argument("--reuse", action="store_true", help="measure what the last run loaded")
    parser.add_argument("--only", default="", help="part of the measurements: reads or writes")
    parser.add_argument("--no-peers", action="store_true", help="leave the peer designs out")
    parser.add_argument(
        "--dry-run", action="store_true", help="print, but do not keep the result"
    )
    return parser.parse_args()


def _assets(size: str) -> int:
    found = re.fullmatch(r"(\d+)([km]?)", size.lower())
    if not found:
        sys.exit(f"SIZE {size!r} is not a number of assets; write for example 100k or 1m.")
    return int(found[1]) * UNITS[found[2]]


def _measure(given: argparse.Namespace, assets: int) -> int:
    from django.db import connection  # after the set-up

    from . import report
    from .data import generate
    from .endpoints import Endpoints
    from .load import load, settle
    from .oracle import Oracle
    from .reads import Reads
    from .workload import Workload
    from .writes import Writes

    begun = perf_counter()
    load_before = round(os.getloadavg()[0], 2)
    print(f"Making {assets:,} assets …", flush=True)
    library = generate(assets)
    loading = perf_counter()
    if not given.reuse:
        print("Loading them …", flush=True)
        load(library, with_peers=not given.no_peers)
    else:
        settle()  # the last run wrote and deleted
    loading = perf_counter() - loading
    print(f"Loaded in {loading:.0f} s.", flush=True)

    oracle = Oracle(library)
    searches = Workload(oracle).searches()
    connection.ensure_connection()
    gc.collect()
    gc.freeze()  # both as docs/production.md recommends for a process that serves requests
    gc.set_threshold(50_000, 10, 10)
    seconds = 2.0 if assets <= 200_000 else 20.0
    reads = Reads(oracle, searches, seconds=seconds, with_peers=not given.no_peers, say=_say)
    if given.only != "writes":
        for measure in (
            reads.pages,
            reads.totals,
            reads.facets,
            reads.completion,
            reads.terms,
            reads.http,
        ):
            measure()
    processes: dict[str, Any] = {}
    if given.only != "reads" and connection.vendor == "postgresql":
        writes = Writes(oracle)
        mixed = [
            search for kind in ("S1", "AND", "OR", "CONF2") for search in searches[kind][:30]
        ]
        writes.readers(mixed)
        processes = writes.found
        for name, found in processes.items():
            print(f"{name:24} {found}", flush=True)
        writes.clear()
        settle()
    endpoints = Endpoints(oracle, searches, _say)
    if given.only != "writes":
        endpoints.measure()
    run = {
        "date": datetime.now(UTC).date().isoformat(),
        "database": given.db,
        "assets": assets,
        "loading_seconds": round(loading, 1),
        "seconds": round(perf_counter() - begun, 1),
        "load_before": load_before,
        "surroundings": report.surroundings(),
        "cells": reads.cells | endpoints.cells,
        "processes": processes,
    }
    key = f"{given.db}-{given.size.lower()}"
    if not given.dry_run:
        report.write(key, run)
        print(f"Written to {report.PAGE}.")
    for name, asked, measured, verdict, _ in report.verdicts(key, {key: run}):
        print(f"{verdict:10} {name:26} {asked:44} {measured}")
    wrong = [name for name, cell in run["cells"].items() if _app_failed(cell)]
    if wrong:
        print(f"The app gave wrong answers or errors in: {', '.join(wrong)}.", file=sys.stderr)
    return 1 if wrong else 0


def _app_failed(cell: Mapping[str, Any]) -> bool:
    return any(
        found.get("wrong") or found.get("errors")
        for design, found in cell.items()
        if design.startswith("app")
    )


def _say(cell: str, figures: Mapping[str, Any]) -> None:
    for design, figure in figures.items():
        found = figure.summary()
        if found["n"]:
            print(
                f"{cell:10} {design:20} n={found['n']:4} p50={found['p50']:9.2f} "
                f"p95={found['p95']:9.2f} max={found['max']:9.2f} "
                f"wrong={found.get('wrong', 0)}/{found.get('checked', 0)} "
                f"errors={found.get('errors', 0)} {found.get('problem', '')}",
                flush=True,
            )
        else:
            print(f"{cell:10} {design:20} {found}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
