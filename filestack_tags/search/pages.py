"""Pages of a search: four orders, both directions, each match exactly once.

A page starts after the sort key and id at which the previous one ended, so every page costs the
same, and concurrent inserts shift nothing. Cursors are signed and bound to the search and its
order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Literal

from django.core import signing
from django.db.models import Q

from filestack_tags.db.text import label_key
from filestack_tags.exceptions import CursorError
from filestack_tags.models import Asset

from .deadline import time_limit
from .hydration import assets
from .language.tree import HasTag, Not, Query, conjunction
from .page_sql import Row, by_id, by_score, score_of
from .plan import Clause, Plan, planned
from .planner import read, understood
from .tag_lookup import default_database

Order = Literal["newest", "oldest", "confidence", "best"]
ORDERS = ("newest", "oldest", "confidence", "best")

_SALT = "filestack_tags.search.cursor"


@dataclass(frozen=True, slots=True)
class Segment:
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


def find(
    query: str | Query,
    *,
    order: Order = "newest",
    tag: str | None = None,
    size: int = 50,
    cursor: str | None = None,
    include_hidden: bool = False,
    within: Q | None = None,
    using: str | None = None,
) -> Page:
    """Return one page of the present assets that match ``query``.

    Takes three queries in most cases: for the named tags, for statistics when they are not cached
    and there is a choice, and for the page. A fourth one is for aliases among the names, a fifth
    one if assets have very many of a prefix's tags.

    Args:
        query: the text, or the result of :func:`~.parser.parse`.
        order: ``newest`` or ``oldest`` first by id; ``confidence`` of a tag, highest first;
            ``best``, the highest confidence among the rows that the search's required tag terms
            match. With equal confidence, the newer asset comes first.
        tag: the tag for ``confidence``; defaults to the search's first required tag. Assets without
            it come last.
        size: the maximum number of assets on the page.
        cursor: ``next`` or ``previous`` of another page of this search in this order.
        include_hidden: whether ``include:hidden`` is permitted in the query.
        within: the assets that may be found at all; see :mod:`.scope`. All, if None.
        using: alias of the database to query; the one to read from by default.

    Raises:
        SearchError: as :func:`~.plan.plan`.
        SearchTimeout: when it takes longer than ``SEARCH_TIMEOUT``.
        CursorError: when ``cursor`` is not of this search in this order.
        InvalidLabel: when ``tag`` cannot be a tag.
        ValueError: for an unknown order, or a size below 1.
    """
    if order not in ORDERS:
        raise ValueError(f"order is one of {', '.join(ORDERS)}, not {order!r}.")
    if size < 1:
        raise ValueError(f"A page has at least one asset, not {size}.")
    parsed = read(query) if isinstance(query, str) else query
    wanted = label_key(tag) if tag and order == "confidence" else ""
    binding = _binding(parsed, order, wanted)
    forward, segment, after = (True, 0, None) if cursor is None else _opened(cursor, binding)
    using = using or default_database()
    descending = (order != "oldest") is forward
    rows: list[tuple[int, Row]] = []
    with time_limit(using, parsed):
        segments = _segments(parsed, order, wanted, include_hidden, within, using)
        numbers = range(segment, len(segments)) if forward else range(segment, -1, -1)
        for number in numbers:
            some = segments[number].read(
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
        using=using,
    )


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The assets before and after one in the order of a search; None at either end."""

    previous: int | None
    next: int | None


def neighbours(
    query: str | Query,
    asset_id: int,
    *,
    order: Order = "newest",
    tag: str | None = None,
    include_hidden: bool = False,
    within: Q | None = None,
    using: str | None = None,
) -> Neighbours:
    """Return the assets before and after an asset in :func:`find`'s order, at any depth.

    The asset need not match any more: after a decision, navigation continues from its former
    position. One query for each side, and one for its confidence, besides those of a plan.

    Args:
        asset_id: the asset whose neighbours are returned.
        query, order, tag, include_hidden, within, using: as of :func:`find`.

    Raises:
        SearchError, InvalidLabel, SearchTimeout: as :func:`find`.
    """
    using = using or default_database()
    parsed = read(query) if isinstance(query, str) else query
    wanted = label_key(tag) if tag and order == "confidence" else ""
    with time_limit(using, parsed):
        return _beside(
            _segments(parsed, order, wanted, include_hidden, within, using), asset_id, order
        )


def _beside(segments: tuple[Segment, ...], asset_id: int, order: Order) -> Neighbours:
    place = next(
        (
            (number, row)
            for number, segment in enumerate(segments)
            if (row := segment.place(asset_id, former=len(segments) == 1)) is not None
        ),
        None,
    )
    if place is None:
        return Neighbours(None, None)
    number, row = place
    ahead, behind = segments[number:], segments[: number + 1][::-1]

    def first(parts: tuple[Segment, ...], *, descending: bool) -> int | None:
        after: Row | None = row
        for segment in parts:
            if found := segment.read(descending=descending, after=after, limit=1):
                return found[0].asset_id
            after = None
        return None

    return Neighbours(
        previous=first(behind, descending=order == "oldest"),
        next=first(ahead, descending=order != "oldest"),
    )


def _segments(
    query: Query,
    order: str,
    wanted: str,
    include_hidden: bool,
    within: Q | None,
    using: str,
) -> tuple[Segment, ...]:
    """Return the parts of the walk: two if assets without the tag come last."""
    term = HasTag(wanted) if wanted else None
    asked = Query(conjunction((query.where, term)), query.include_hidden) if term else query
    asked, names = understood(asked, include_hidden=include_hidden, using=using, within=within)
    plan = planned(query, names, using, within)
    if order in ("newest", "oldest"):
        return (Segment(plan),)
    ranking = [clause for clause in plan.clauses if clause.has_scores]
    if wanted:
        ranking = [clause for clause in ranking if _is_about(clause, wanted)]
    if order == "confidence":
        ranking = ranking[:1]
    if ranking:
        return (Segment(plan, tuple(ranking)),)
    if term is None:
        return (Segment(plan),)
    with_tag = plan.also(term)
    ranking = [clause for clause in with_tag.clauses if clause.node is term]
    without_tag = plan.also(Not(term))
    return Segment(with_tag, tuple(ranking)), Segment(without_tag)


def _is_about(clause: Clause, wanted: str) -> bool:
    node = clause.node
    return isinstance(node, HasTag) and not node.prefix and label_key(node.label) == wanted


@lru_cache(maxsize=1024)
def _binding(query: Query, order: str, wanted: str) -> str:
    """Return a value that is different for cursors of other searches and orders."""
    return sha256(f"{order}\n{wanted}\n{query}".encode()).hexdigest()[:16]


def _sealed(binding: str, forward: bool, segment: int, row: Row) -> str:
    score = "" if row.score is None else row.score
    content = f"{binding}.{forward:d}.{segment}.{row.asset_id}.{score}"
    return signing.Signer(salt=_SALT).sign(content)


def _opened(cursor: str, binding: str) -> tuple[bool, int, Row]:
    try:
        content = signing.Signer(salt=_SALT).unsign(cursor)
    except signing.BadSignature:
        raise CursorError(
            "This page cursor was not made here, or was changed: start from the first page."
        ) from None
    bound, forward, segment, asset_id, score = content.split(".")
    if bound != binding:
        raise CursorError(
            "This page cursor is of another search or another order: start from the first page."
        )
    return forward == "1", int(segment), Row(int(asset_id), int(score) if score else None)
