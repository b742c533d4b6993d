"""``python -m benchmarks.admin``: how long the admin's pages take; see docs/benchmarks.md."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from datetime import UTC, datetime
from time import perf_counter

from benchmarks.search import scratch

ASSETS = 100_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.admin", description=__doc__)
    parser.add_argument("--reuse", action="store_true", help="measure what the last run loaded")
    parser.add_argument("--dry-run", action="store_true", help="print, do not keep the result")
    given = parser.parse_args()
    url = os.environ["BENCHMARK_DATABASE_URL"] = scratch.address("postgres", "admin")
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.admin.settings"
    if not given.reuse:
        scratch.recreate(url)

    import django  # the database URL is part of its settings

    django.setup()
    from django.core.management import call_command

    from benchmarks.search.data import generate
    from benchmarks.search.load import load

    from . import pages, report

    load_before = round(os.getloadavg()[0], 2)
    library = generate(ASSETS)
    if given.reuse:
        call_command("migrate", verbosity=0)  # migrations newer than the data
    else:
        print(f"Loading {ASSETS:,} assets …", flush=True)
        load(library, with_peers=False)
    gc.collect()
    gc.freeze()  # as docs/production.md recommends for a process that serves requests
    begun = perf_counter()
    run = {
        "date": datetime.now(UTC).date().isoformat(),
        "assets": ASSETS,
        "tags": len(library.names),
        "pages": {each.name: pages.measured(each) for each in pages.pages(library)},
        "seconds": round(perf_counter() - begun, 1),
        "load_before": load_before,
        "surroundings": report.around(),
    }
    if not given.dry_run:
        report.write(run)
        print(f"Written to {report.PAGE}.")
    failed = False
    for name, asked, measured, verdict in report.verdicts(run):
        print(f"{verdict:10} {name:26} {asked:14} {measured}")
        failed = failed or verdict != "met"
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
