"""Count the assets that match a search: exactly if that is cheap, otherwise up to a cap.

A page never waits for its total, which is requested separately.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.models import Q

from .deadline import time_limit
from .language.tree import Query
from .plan import plan
from .planner import read
from .sql import Fragment
from .tag_lookup import default_database

if TYPE_CHECKING:
    from django.db.models import QuerySet


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
    found = rows.order_by()[: cap + 1].count()
    return Total(min(found, cap), is_exact=found <= cap)


def total(
    query: str | Query,
    *,
    cap: int = 10_000,
    include_hidden: bool = False,
    within: Q | None = None,
    using: str | None = None,
) -> Total:
    """Return how many present assets match ``query``.

    A search for one tag is counted completely, in an index. Any other is counted until it has
    passed ``cap``, so the database reads no more matches than that; how many assets it must examine
    to find them depends on the search. One query, besides those of :func:`~.plan.plan`; none when a
    required tag does not exist.

    Args:
        query: the text, or the result of :func:`~.parser.parse`.
        cap: the greatest total that is still counted exactly, at least 1.
        include_hidden: whether ``include:hidden`` is permitted in the query.
        within: the assets that may be found at all; see :mod:`.scope`. All, if None.
        using: alias of the database; by default the one that the router reads assets from.

    Raises:
        SearchError: as :func:`~.plan.plan`.
        SearchTimeout: when it takes longer than ``SEARCH_TIMEOUT``.
        ValueError: when ``cap`` is less than 1.
    """
    if cap < 1:
        raise ValueError(f"cap must be at least 1, not {cap}.")
    using = using or default_database()
    parsed = read(query) if isinstance(query, str) else query
    with time_limit(using, parsed):
        planned = plan(parsed, include_hidden=include_hidden, within=within, using=using)
        if planned.is_empty:
            return Total(0, is_exact=True)
        matches = planned.matches()
        if planned.is_one_tag:
            return Total(_count(matches, using), is_exact=True)
        capped = Fragment(
            f"SELECT 1 FROM ({matches.sql}) m LIMIT {cap + 1:d}",  # noqa: S608  # our own statement
            matches.params,
        )
        found = _count(capped, using)
    return Total(min(found, cap), is_exact=found <= cap)


def _count(rows: Fragment, using: str) -> int:
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM ({rows.sql}) x", rows.params)  # noqa: S608  # our own statement
        return int(cursor.fetchone()[0])
