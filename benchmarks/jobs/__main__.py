"""``python -m benchmarks.jobs``: assets that jobs change a second; see docs/benchmarks.md."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from datetime import UTC, datetime

from benchmarks.search import scratch

ASSETS = 100_000
ACTIONS = ("add_tag", "accept_tag", "reject_tag", "remove_tag", "merge", "archive", "export")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.jobs", description=__doc__)
    parser.add_argument("--assets", type=int, default=ASSETS)
    parser.add_argument("--only", default=",".join(ACTIONS), help="actions, with commas")
    parser.add_argument("--without", help="a function of db/bulk_statements.py to do without")
    parser.add_argument("--reuse", action="store_true", help="measure what the last run loaded")
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    parser.add_argument("--write", action="store_true", help="keep the result")
    given = parser.parse_args()
    only = given.only.split(",")
    if unknown := set(only).difference(ACTIONS):
        parser.error(
            f"unknown actions {', '.join(sorted(unknown))}; there are {', '.join(ACTIONS)}"
        )
    url = os.environ["BENCHMARK_DATABASE_URL"] = scratch.address("postgres", "jobs")
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.search.settings"
    if not given.reuse:
        scratch.recreate(url)

    import django  # the database URL is part of its settings

    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command

    from benchmarks.search.load import load

    from . import measure, parts, report
    from .library import TAGS_PER_ASSET, library

    if given.without:
        parts.replace(given.without)
    load_before = round(os.getloadavg()[0], 2)
    if given.reuse:
        call_command("migrate", verbosity=0)  # migrations newer than the data
    else:
        print(f"Loading {given.assets:,} assets …", flush=True)
        load(library(given.assets), with_peers=False)
    gc.collect()
    user, _created = User.objects.update_or_create(pk=1, defaults={"is_superuser": True})
    actions = {}
    for each in ACTIONS:
        if each not in only:
            continue
        for name, found in measure.measured(each, user, profiled=given.profile):
            actions[name] = found
            rate, processor, longest, wal, dead, verdict = report.row(name, found)[1:]
            print(
                f"{verdict:10} {name:16} {rate:>7} assets/s, {processor:>10} µs an asset, longest "
                f"transaction {longest:>4} ms, WAL {wal:>6} bytes an asset, {dead:>9} dead rows",
                flush=True,
            )
    if given.write:
        report.write(
            {
                "date": datetime.now(UTC).date().isoformat(),
                "assets": given.assets,
                "tags_per_asset": TAGS_PER_ASSET,
                "actions": actions,
                "load_before": load_before,
            }
        )
        print(f"Written to {report.PAGE}.")
    return 0 if all(map(report.is_met, actions.values())) else 1


if __name__ == "__main__":
    sys.exit(main())
