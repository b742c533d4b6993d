"""``python -m benchmarks.tagging.parts``: what each set-based statement saves a reply.

One process applies replies of 20 tags, fifty together: as the app does, and with one part replaced
by Django's own. Once for new assets, once for assets that have the tags with other confidences.
Prints the processor time of a reply, in this process and in the database's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import process_time
from typing import Any

from benchmarks.search import scratch

from .surroundings import DATABASE, KEY, REDIS, SETTINGS

BATCHES = 8
WARM = 2


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
    from . import applying

    library = applying.library()
    parts: dict[str, Callable[[], AbstractContextManager[None]]] = {
        "as it is": nullcontext,
        "bulk_update": _bulk_update,
        "bulk_create": _bulk_create,
        "counts by change": _counts_by_change,
        "names in batches": _names_in_batches,
    }
    for name, replaced in parts.items():
        work = applying.new_work(library, (BATCHES + WARM) * applying.TOGETHER)
        for what in ("first replies", "moved confidences"):
            with replaced():
                client, database = _apply(work.items(moved=what != "first replies"))
            print(f"{name:16} {what:18} {client:.3f} ms + {database:.3f} ms in the database")


def _apply(batches: Sequence[Any]) -> tuple[float, float]:
    import psutil
    from django.db import connection

    from . import applying

    do = applying.apply_together()
    for batch in batches[:WARM]:
        do(batch)
    session: Any = connection.connection
    server = psutil.Process(session.info.backend_pid)
    client, database = process_time(), sum(server.cpu_times()[:2])
    for batch in batches[WARM:]:
        do(batch)
    count = sum(map(len, batches[WARM:]))
    return (
        (process_time() - client) * 1000 / count,
        (sum(server.cpu_times()[:2]) - database) * 1000 / count,
    )


@contextmanager
def _replaced(places: Sequence[Any], name: str, value: Any) -> Iterator[None]:
    before = [getattr(place, name) for place in places]
    for place in places:
        setattr(place, name, value)
    try:
        yield
    finally:
        for place, old in zip(places, before, strict=True):
            setattr(place, name, old)


def _bulk_update() -> AbstractContextManager[None]:
    from filestack_tags.assets import asset_tags
    from filestack_tags.tagging import results

    def update(objects: Sequence[Any], names: Sequence[str]) -> None:
        if objects:
            type(objects[0])._base_manager.bulk_update(objects, names, batch_size=100)

    return _replaced([results, asset_tags], "update_rows", update)


def _bulk_create() -> AbstractContextManager[None]:
    from filestack_tags.db import bulk_statements

    return _replaced([bulk_statements], "_can_copy", lambda connection: False)


def _counts_by_change() -> AbstractContextManager[None]:
    from filestack_tags.assets import tags

    return _replaced([tags], "_adjust_together", tags._adjust_by_change)


def _names_in_batches() -> AbstractContextManager[None]:
    from filestack_tags.assets import tags

    return _replaced([tags], "_existing_ids_by_array", tags._existing_ids_in_batches)


if __name__ == "__main__":
    main()
