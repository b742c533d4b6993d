"""``python -m benchmarks.tagging.parts``: what each set-based statement is faster than, and by how
much.

Four processes apply replies of 20 tags, fifty together: as the app does, and with one part replaced
by Django's own. Once for new assets, once for assets that have the tags with other confidences.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.search import scratch

from .surroundings import DATABASE, KEY, REDIS, SETTINGS

ROUNDS = 1
SECONDS = 2.0
ASSETS = 1000


def with_bulk_update() -> Callable[[Any], None]:
    """Apply answers with Django's ``bulk_update``."""
    from filestack_tags.assets import tag_rows
    from filestack_tags.tagging import results

    from .applying import apply_together

    def update(objects: Sequence[Any], names: Sequence[str]) -> None:
        if objects:
            type(objects[0])._base_manager.bulk_update(objects, names, batch_size=100)

    results.update_rows = tag_rows.update_rows = update  # type: ignore[assignment]
    return apply_together()


def with_bulk_create() -> Callable[[Any], None]:
    """Apply answers with Django's ``bulk_create`` instead of ``COPY``."""
    from filestack_tags.db import set_based

    from .applying import apply_together

    set_based._can_copy = lambda connection: False  # type: ignore[assignment]
    return apply_together()


def with_plain_counts() -> Callable[[Any], None]:
    """Apply answers with one UPDATE for each change of a count."""
    from filestack_tags.assets import tags

    from .applying import apply_together

    tags._can_adjust_together = lambda: False
    return apply_together()


def main() -> None:
    os.environ[DATABASE] = scratch.address("postgres", "parts")
    os.environ.update({KEY: "BENCHMARK", REDIS: "", "DJANGO_SETTINGS_MODULE": SETTINGS})
    scratch.recreate(os.environ[DATABASE])

    import django  # the database URL is part of its settings

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    _measure()


def _measure() -> None:
    from benchmarks.search.processes import Job, observe, summary

    from . import applying

    library = applying.library()
    parts = [applying.APPLY]
    parts += [
        f"{__package__}.parts.{name}"
        for name in ("with_bulk_update", "with_bulk_create", "with_plain_counts")
    ]
    found: dict[tuple[str, str], list[Any]] = {}
    for _ in range(ROUNDS):
        for part in parts:
            writers = [applying.new_work(library, ASSETS) for _ in range(applying.WRITERS)]
            for what in ("first replies", "moved confidences"):
                jobs = [
                    Job(part, work.items(what != "first replies"), SECONDS) for work in writers
                ]
                found.setdefault((part, what), []).append(observe(jobs, part))
    for (part, what), rounds in found.items():
        figures = summary(rounds, applying.TOGETHER)
        print(f"{part.rpartition('.')[2]:18} {what:18} {figures['per_second']:8.1f} a second")


if __name__ == "__main__":
    main()
