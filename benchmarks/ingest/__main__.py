"""``python -m benchmarks.ingest``: post webhooks, count what is stored and applied, report; see
docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime
from time import perf_counter

from benchmarks.search import scratch


def main() -> int:
    given = _arguments()
    url = os.environ["BENCHMARK_DATABASE_URL"] = scratch.address("postgres", "ingest")
    # A separate queue: other projects may use the same broker.
    os.environ["BENCHMARK_QUEUE"] = f"filestack-tags-benchmark-{os.getpid()}"
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.ingest.settings"
    scratch.recreate(url)

    import django  # the database URL is part of its settings

    django.setup()
    return _measure(given)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each view in each round")
    parser.add_argument("--rounds", type=int, default=15, help="in which the views take turns")
    parser.add_argument(
        "--connections", type=int, default=16, help="that the client keeps open"
    )
    parser.add_argument("--events", type=int, default=4000, help="to be applied by the worker")
    parser.add_argument(
        "--dry-run", action="store_true", help="print, but do not keep the result"
    )
    return parser.parse_args()


def _measure(given: argparse.Namespace) -> int:
    from django.core.management import call_command  # after the set-up

    from . import measure, report, statements

    begun = perf_counter()
    load_before = round(os.getloadavg()[0], 2)
    call_command("migrate", run_syncdb=True, verbosity=0)
    run = {
        "date": datetime.now(UTC).date().isoformat(),
        "seconds_each": given.seconds,
        "connections": given.connections,
        "load_before": load_before,
        **measure.accepting(given.rounds, given.seconds, given.connections),
        "applying": measure.applying(given.events, given.connections),
        "statements": statements.each(),
        "surroundings": report.around(),
    }
    run["seconds"] = round(perf_counter() - begun, 1)
    if not given.dry_run:
        report.write(run)
        print(f"Written to {report.PAGE}.")
    for name, asked, measured, verdict, _ in report.verdicts(run):
        print(f"{verdict:10} {name:26} {asked:44} {measured}")
    problems = report.problems(run)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
