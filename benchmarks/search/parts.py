"""``python -m benchmarks.search.parts``: what hand-written parts of a search save.

Reads what ``make bench-search SIZE=100k`` loaded. Prints milliseconds, hand-written and plain.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

from . import scratch


def main() -> None:
    os.environ.setdefault("BENCHMARK_DATABASE_URL", scratch.address("postgres", "100k"))
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.search.settings"

    import django  # the database URL is part of its settings

    django.setup()
    for name, ours, plain in _parts():
        print(f"{name:40} {_milliseconds(ours):6.2f} {_milliseconds(plain):6.2f}")


def _parts() -> list[tuple[str, Callable[[], Any], Callable[[], Any]]]:
    from filestack_tags.models import Asset, Tag, TagAlias
    from filestack_tags.search import hydration
    from filestack_tags.search.search import Search

    keys = list(Tag.objects.order_by("-asset_count").values_list("key", flat=True)[300:302])
    text = " ".join(f'"{key}"' for key in keys)
    ids = list(Asset.objects.order_by("-pk").values_list("pk", flat=True)[1000:1050])
    columns = ("key", "pk", "min_confidence", "asset_count")

    def querysets() -> None:
        list(Tag.objects.filter(key__in=keys, hidden=False).values_list(*columns))
        list(TagAlias.objects.filter(key__in=keys).values_list("key", "tag_id"))

    return [
        ("look up the names of two tags", lambda: Search(text).names(), querysets),
        (
            "make 50 assets",
            lambda: hydration.assets(ids, "default"),
            lambda: Asset.objects.in_bulk(ids),
        ),
    ]


def _milliseconds(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(200):
        begun = perf_counter()
        work()
        times.append(perf_counter() - begun)
    return median(times) * 1000


if __name__ == "__main__":
    main()
