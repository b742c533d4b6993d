"""The measured pages, requested by an administrator in one process, and their times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from time import perf_counter
from typing import Any

import numpy as np
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from benchmarks.search.data import Library
from filestack_tags.search.language.tree import label_text

ASSETS = "/admin/filestack_tags/asset/"
FACETS = f"{ASSETS}facets/"
TAGS = "/admin/filestack_tags/tag/"
ROUNDS = 120
WARM = 5


@dataclass(frozen=True)
class Asked:
    """A page, its requests for each round, and its limit for the p95, in ms."""

    name: str
    most: float
    path: str
    queries: tuple[Mapping[str, str], ...]


def pages(library: Library) -> list[Asked]:
    """Return the pages: tags are common, of medium rank and rare, as in the search benchmark."""
    rng = np.random.default_rng(11)
    ranks = np.argsort(-np.bincount(library.tags.ravel(), minlength=len(library.names) + 1))

    def some(first: int, last: int) -> list[str]:
        chosen = ranks[rng.integers(first, last, ROUNDS)]
        return [label_text(library.names[tag - 1]) for tag in chosen]

    common, medium, rare = some(0, 20), some(100, 1000), some(3000, 9000)
    mixed = [name for each in zip(common, medium, rare, strict=True) for name in each][:ROUNDS]
    one = tuple({"q": f"{name}>=50"} for name in mixed)
    two = tuple(
        {"q": f"{a}>=60 {b}>=50 -{c}"} for a, b, c in zip(common, medium, rare, strict=True)
    )
    first = ({},) * ROUNDS
    return [
        Asked("browse: all", 150, ASSETS, first),
        Asked("browse: table", 150, ASSETS, ({"view": "table"},) * ROUNDS),
        Asked("browse: one tag", 150, ASSETS, one),
        Asked("browse: three tags", 150, ASSETS, two),
        Asked("browse: a filter", 150, ASSETS, ({"tagging_state__exact": "tagged"},) * ROUNDS),
        Asked("facets: all", 250, FACETS, first),
        Asked("facets: one tag", 250, FACETS, one),
        Asked("facets: a common tag", 250, FACETS, tuple({"q": name} for name in common)),
        Asked("facets: three tags", 250, FACETS, two),
        Asked("tags: first page", 150, TAGS, first),
        Asked("tags: search", 150, TAGS, tuple({"q": name.strip('"')[:3]} for name in mixed)),
    ]


def measured(page: Asked) -> dict[str, Any]:
    """Request a page in all its forms; return times (milliseconds), and queries of the last one."""
    client = _administrator()
    headers = {"X-Requested-With": "XMLHttpRequest"} if page.path == FACETS else {}
    for query in page.queries[:WARM]:
        _ask(client, page.path, query, headers)
    times = []
    for query in page.queries:
        begun = perf_counter()
        _ask(client, page.path, query, headers)
        times.append((perf_counter() - begun) * 1000)
    with CaptureQueriesContext(connection) as queries:
        _ask(client, page.path, page.queries[-1], headers)
    p50, p95 = np.percentile(times, [50, 95])
    return {
        "n": len(times),
        "most": page.most,
        "p50": round(float(p50), 1),
        "p95": round(float(p95), 1),
        "max": round(max(times), 1),
        "queries": len(queries),
    }


def _ask(client: Client, path: str, query: Mapping[str, str], headers: dict[str, str]) -> None:
    response = client.get(path, query, headers=headers)
    assert response.status_code == 200, f"{path} answered {response.status_code}"
    assert response.content


@cache
def _administrator() -> Client:
    client = Client()
    user, _ = User.objects.get_or_create(
        username="admin", defaults={"is_staff": True, "is_superuser": True}
    )
    client.force_login(user)
    return client
