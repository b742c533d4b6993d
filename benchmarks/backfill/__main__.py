"""``python -m benchmarks.backfill``: the memory of a backfill; see docs/benchmarks.md.

Each figure is the peak memory of a separate process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from benchmarks.search import scratch

FEW, MANY = 10_000, 1_000_000
GROWTH = 0.05
"""Allowed growth of memory when the number of assets grows a hundredfold."""

INSERT = """
    INSERT INTO filestack_tags_asset
        (kind, reference, digest, filename, mimetype, container, key, store_status, upload_tags,
         uploaded_at, content_version, tagging_state, attempts, queued_by, queued_for,
         error, error_code, tags_version, created_at, updated_at)
    SELECT 'handle', 'h' || n, md5(n::text) || md5('h' || n), n || '.jpg', 'image/jpeg',
           '', '', 'Stored', '{}', now(), 1, 'new', 0, '', '', '', '', 0, now(), now()
    FROM generate_series(%s::integer, %s::integer) AS n
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backfill", description=__doc__)
    parser.add_argument("--assets", type=int, default=MANY, help="how many are many")
    parser.add_argument("--one", choices=["dry-run", "walk"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    url = os.environ["BENCHMARK_DATABASE_URL"] = scratch.address("postgres", "backfill")
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.search.settings"
    if not given.one:
        scratch.recreate(url)

    import django  # the database URL is part of its settings

    django.setup()
    return _one(given.one) if given.one else _all(given.assets)


def _all(many: int) -> int:
    from django.core.management import call_command  # after the set-up
    from django.db import connection

    call_command("migrate", verbosity=0)
    load_before = round(os.getloadavg()[0], 2)
    most: dict[str, list[float]] = {"dry-run": [], "walk": []}
    before = 0
    for assets in (FEW, many):
        with connection.cursor() as cursor:
            cursor.execute(INSERT, (before + 1, assets))
            cursor.execute("ANALYZE")
        before = assets
        for name, found in most.items():
            figures = _measured(name)
            if figures["assets"] != assets:
                raise RuntimeError(f"{figures['assets']:,} of {assets:,} assets were seen.")
            found.append(figures["megabytes"])
            print(
                f"{name:8} {assets:>9,} assets: at most {figures['megabytes']:.1f} MB, "
                f"{figures['seconds']:.0f} s",
                flush=True,
            )
    grown = {name: found[-1] / found[0] - 1 for name, found in most.items()}
    print(
        f"{datetime.now(UTC).date()}, load before {load_before}: {many / FEW:.0f} times as many "
        "assets take " + ", ".join(f"{share:+.1%} ({name})" for name, share in grown.items())
    )
    return 1 if max(grown.values()) > GROWTH else 0


def _measured(name: str) -> Any:
    command = [sys.executable, "-m", "benchmarks.backfill", "--one", name]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def _one(name: str) -> int:
    """Run one measurement in this process, and print its result."""
    begun = perf_counter()
    assets = _estimated() if name == "dry-run" else _walked()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    figures = {
        "assets": assets,
        "megabytes": peak * unit / 2**20,
        "seconds": perf_counter() - begun,
    }
    print(json.dumps(figures))
    return 0


def _estimated() -> int:
    """Run the queries of ``filestack_tags_backfill --dry-run``."""
    from filestack_tags.tagging import backfill  # after the set-up

    return backfill.estimate(backfill.Options()).assets


def _walked() -> int:
    """Process all assets like ``filestack_tags_backfill``, but without claims: a call takes the
    same memory each time, and a million of them would take an hour.
    """
    from unittest.mock import patch

    from filestack_tags.tagging import asset_leases, backfill, pipeline

    def refuse(asset_ids: list[int], **options: Any) -> list[asset_leases.LeaseRefused]:
        return [asset_leases.LeaseRefused(pk, "tagged") for pk in asset_ids]

    row = backfill.start(backfill.Options())
    # Nothing is in flight, so there is nothing to wait for.
    with patch.object(asset_leases, "claim", refuse), patch.object(pipeline, "PAUSE", 0.0):
        backfill.run(
            row, concurrency=500, report_progress=lambda row: None, is_stopped=lambda: False
        )
    return sum(row.counts.values())


if __name__ == "__main__":
    sys.exit(main())
