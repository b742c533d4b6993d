"""Pages of a search: four orders, both directions, each match exactly once.

A page starts after the sort key and id at which the previous one ended, so every page costs the
same, and concurrent inserts shift nothing. Cursors are signed and bound to the search and its
order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

from django.core import signing

from filestack_tags.db.text import label_key
from filestack_tags.exceptions import CursorError
from filestack_tags.models import Asset

from .hydration import assets
from .language.tree import HasTag, Not, Query
from .page_sql import Row, by_id, by_score, score_of
from .plan import Clause, Plan

if TYPE_CHECKING:
    from .search import Search

Order = Literal["newest", "oldest", "confidence", "best"]
ORDERS = ("newest", "oldest", "confidence", "best")

_SALT = "filestack_tags.search.cursor"


@dataclass(frozen=True, slots=True)
class PageSource:
    """One part of a walk: by id, or by the confidence of the clauses in ``ranking``."""

    plan: Plan
    ranking: tuple[Clause, ...] = ()

    def read(self, *, descending: bool, after: Row | None, limit: int) -> list[Row]:
        """Return the rows after ``after``."""
        if not self.ranking:
            return by_id(self.plan, descending=descending, after=after, limit=limit)
        return by_score(
            self.plan, self.ranking, descending=descending, after=after, limit=limit
        )

    def place(self, asset_id: int, *, former: bool) -> Row | None:
        """Return the position of an asset in this part, None if it has none.

        With ``former``, also return the position it had before its row was rejected.
        """
        if not self.ranking:
            return Row(asset_id, None)
        if self.plan.is_empty:
            return None
        score = score_of(self.plan, self.ranking, asset_id, former=former)
        return None if score is None else Row(asset_id, score)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of matches, in order.

    Args:
        ids: of the assets.
        confidences: the confidences that the assets are ranked by, parallel to ``ids``. None for an
            asset without the tag, and for all assets when they are ordered by id.
        next: cursor of the next page, None on the last.
        previous: cursor of the previous page, None on the first.
        using: alias of the database that was queried.
    """

    ids: list[int]
    confidences: list[int | None]
    next: str | None
    previous: str | None
    using: str

    def assets(self) -> list[Asset]:
        """Return the assets in order, in one query; deleted assets are missing."""
        return assets(self.ids, self.using)


def page(
    search: Search, *, order: Order, tag: str | None, size: int, cursor: str | None
) -> Page:
    """See :meth:`.search.Search.page`."""
    if order not in ORDERS:
        raise ValueError(f"order is one of {', '.join(ORDERS)}, not {order!r}.")
    if size < 1:
        raise ValueError(f"A page has at least one asset, not {size}.")
    key = label_key(tag) if tag and order == "confidence" else ""
    binding = _binding(search.query, order, key)
    forward, number, after = (True, 0, None) if cursor is None else _opened(cursor, binding)
    descending = (order != "oldest") is forward
    rows: list[tuple[int, Row]] = []
    with search.time_limit():
        sources = _sources(search, order, key)
        numbers = range(number, len(sources)) if forward else range(number, -1, -1)
        for number in numbers:
            some = sources[number].read(
                descending=descending, after=after, limit=size + 1 - len(rows)
            )
            rows += [(number, row) for row in some]
            after = None
            if len(rows) > size:
                break
    more = len(rows) > size
    rows = rows[:size]
    if not forward:
        rows.reverse()
    ahead, behind = (more, cursor is not None) if forward else (cursor is not None, more)
    return Page(
        ids=[row.asset_id for _, row in rows],
        confidences=[row.score for _, row in rows],
        next=_sealed(binding, True, *rows[-1]) if rows and ahead else None,
        previous=_sealed(binding, False, *rows[0]) if rows and behind else None,
        using=search.using,
    )


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The assets before and after one in the order of a search; None at either end."""

    previous: int | None
    next: int | None


def neighbours(search: Search, asset_id: int, *, order: Order, tag: str | None) -> Neighbours:
    """See :meth:`.search.Search.neighbours`."""
    key = label_key(tag) if tag and order == "confidence" else ""
    with search.time_limit():
        sources = _sources(search, order, key)
        places = (
            (number, source.place(asset_id, former=len(sources) == 1))
            for number, source in enumerate(sources)
        )
        number, place = next(((n, row) for n, row in places if row), (0, None))
        if place is None:
            return Neighbours(None, None)
        ahead, behind = sources[number:], sources[: number + 1][::-1]
        return Neighbours(
            previous=_first(behind, place, descending=order == "oldest"),
            next=_first(ahead, place, descending=order != "oldest"),
        )


def _first(sources: Sequence[PageSource], after: Row | None, *, descending: bool) -> int | None:
    """Return the first asset after a position in the first of the sources."""
    for source in sources:
        if rows := source.read(descending=descending, after=after, limit=1):
            return rows[0].asset_id
        after = None
    return None


def _sources(search: Search, order: str, key: str) -> tuple[PageSource, ...]:
    """Return the parts of the walk: two if assets without the tag come last."""
    term = HasTag(key) if key else None
    plan = search.plan(term) if term else search.plan()
    if order in ("newest", "oldest"):
        return (PageSource(plan),)
    ranking = [clause for clause in plan.clauses if clause.has_scores]
    if key:
        ranking = [clause for clause in ranking if _is_about(clause, key)]
    if order == "confidence":
        ranking = ranking[:1]
    if ranking:
        return (PageSource(plan, tuple(ranking)),)
    if term is None:
        return (PageSource(plan),)
    with_tag = plan.also(term)
    ranking = [clause for clause in with_tag.clauses if clause.node is term]
    return PageSource(with_tag, tuple(ranking)), PageSource(plan.also(Not(term)))


def _is_about(clause: Clause, key: str) -> bool:
    node = clause.node
    return isinstance(node, HasTag) and not node.prefix and label_key(node.label) == key


def _binding(query: Query, order: str, key: str) -> str:
    """Return a value that is different for cursors of other searches and orders."""
    return sha256(f"{order}\n{key}\n{query}".encode()).hexdigest()[:16]


def _sealed(binding: str, forward: bool, source: int, row: Row) -> str:
    score = "" if row.score is None else row.score
    content = f"{binding}.{forward:d}.{source}.{row.asset_id}.{score}"
    return signing.Signer(salt=_SALT).sign(content)


def _opened(cursor: str, binding: str) -> tuple[bool, int, Row]:
    try:
        content = signing.Signer(salt=_SALT).unsign(cursor)
    except signing.BadSignature:
        raise CursorError(
            "This page cursor was not made here, or was changed: start from the first page."
        ) from None
    bound, forward, source, asset_id, score = content.split(".")
    if bound != binding:
        raise CursorError(
            "This page cursor is of another search or another order: start from the first page."
        )
    return forward == "1", int(source), Row(int(asset_id), int(score) if score else None)
