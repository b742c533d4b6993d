"""Count the assets that match a search: exactly if that is cheap, otherwise up to a cap.

A page never waits for its total, which is requested separately.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import connections

from .term_sql import Fragment

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from .search import Search


@dataclass(frozen=True, slots=True)
class Total:
    """A number of assets; a lower bound when it is not exact, as in ``10,000+``."""

    count: int
    is_exact: bool

    def __str__(self) -> str:
        return f"{self.count:,}" if self.is_exact else f"{self.count:,}+"


def capped(rows: QuerySet[Any, Any], cap: int) -> Total:
    """Return how many rows there are, counting no further than ``cap``."""
    # Unordered, so that the database can stop at the first rows it finds.
    count = rows.order_by()[: cap + 1].count()
    return Total(min(count, cap), is_exact=count <= cap)


def total(search: Search, cap: int) -> Total:
    """See :meth:`.search.Search.total`."""
    with search.time_limit():
        plan = search.plan()
        if plan.is_empty:
            return Total(0, is_exact=True)
        matches = plan.matches()
        if plan.is_one_tag:
            return Total(_count(matches, search.using), is_exact=True)
        some = Fragment(
            f"SELECT 1 FROM ({matches.sql}) m LIMIT {cap + 1:d}",  # noqa: S608  # our own statement
            matches.params,
        )
        count = _count(some, search.using)
    return Total(min(count, cap), is_exact=count <= cap)


def exact(search: Search) -> int:
    """Return how many assets match, counting them all."""
    plan = search.plan()
    return 0 if plan.is_empty else _count(plan.matches(), search.using)


def _count(rows: Fragment, using: str) -> int:
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM ({rows.sql}) x", rows.params)  # noqa: S608  # our own statement
        return int(cursor.fetchone()[0])
