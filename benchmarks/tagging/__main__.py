"""``python -m benchmarks.tagging``: measure and report; see docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from benchmarks.search import scratch

from .surroundings import DATABASE, KEY, REDIS, SETTINGS

PARTS = ("steady", "threads", "lean", "ceiling", "memory", "rate", "applying", "peers")
LOGS = Path(__file__).parents[2] / "var" / "benchmarks" / "tagging"


def main() -> int:
    given = _arguments()
    os.environ[DATABASE] = scratch.address("postgres", "tagging")
    os.environ.setdefault(REDIS, os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/15"))
    os.environ[KEY] = f"BENCHMARK{os.getpid()}"
    os.environ["DJANGO_SETTINGS_MODULE"] = SETTINGS
    scratch.recreate(os.environ[DATABASE])

    import django  # the database URL is part of its settings

    django.setup()
    return _measure(given)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tagging", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="of the longest measurement, after warm-up"
    )
    parser.add_argument("--assets", type=int, help="as many as fit into that time by default")
    parser.add_argument("--only", default="", help=f"some of {', '.join(PARTS)}, by comma")
    parser.add_argument(
        "--dry-run", action="store_true", help="print, but do not keep the result"
    )
    given = parser.parse_args()
    given.parts = given.only.split(",") if given.only else list(PARTS)
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"There is no {', '.join(sorted(unknown))}.")
    return given


def _measure(given: argparse.Namespace) -> int:
    from django.core.management import call_command  # after the set-up

    from . import report, rows, worker  # noqa: F401  # tasks are sent by this application
    from .scenarios import Scenarios

    begun = perf_counter()
    load_before = round(os.getloadavg()[0], 2)
    call_command("migrate", verbosity=0)
    call_command("migrate", run_syncdb=True, verbosity=0)
    LOGS.mkdir(parents=True, exist_ok=True)
    scenarios = Scenarios(
        given.seconds, given.assets, LOGS, lambda text: print(text, flush=True)
    )
    try:
        for part in given.parts:
            getattr(scenarios, part)()
    finally:
        rows.clear_broker()
    run = {
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(perf_counter() - begun, 1),
        "load_before": load_before,
        "surroundings": report.surroundings(),
        "found": scenarios.found,
    }
    if not given.dry_run:
        report.write(run)
        print(f"Written to {report.PAGE}.")
    for name, asked, measured, verdict, _ in report.verdicts(run):
        print(f"{verdict:10} {name:26} {asked:44} {measured}")
    wrong = [name for name, found in scenarios.found.items() if found.get("faults")]
    if wrong:
        print(f"Assets failed or have wrong tags in: {', '.join(wrong)}.", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
