"""The statements that read a page of a plan: by id, or by confidence and id.

Several tags are read as one limited stream each, which the database merges: by ``UNION ALL``,
or for many on PostgreSQL by ``LATERAL``, which is planned once for all of them.

Written by hand, because joins of the ORM are slow and unpredictable: a page of one tag takes 1.7 ms
instead of 22 ms (95th percentile 2.3 and 667), one of two tags 3.1 ms instead of 616 ms. Measured
by ``make bench-search SIZE=100k`` on PostgreSQL, against its design "naive FK".
"""

# ruff: noqa: S608  # names of tables and columns are put in, values never are

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db import connections

from filestack_tags.db import prepared_statements

from .language.tree import Node
from .plan import Clause, Plan
from .term_sql import Fragment, Stream

MAX_SELECTS = 200
"""Maximum number of limited selects in one statement: SQLite accepts 500."""

MAX_PARAMS = 30_000
"""Maximum number of values in one statement of several selects: SQLite's default is 32,766."""

MAX_UNION = 2
"""Maximum number of streams that PostgreSQL reads as one select each: it plans every one."""

USUALLY_ALIKE = 4
"""How many rows of one asset are expected at most when many streams are merged."""


class Row(NamedTuple):
    """An asset and the confidence it is ranked by, None when ordered by id.

    This is the sort key of a page: the next page starts after the last row's key.
    """

    asset_id: int
    score: int | None


Match = tuple[int, Any]
"""An asset and a score, as the database returns them."""


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of streams that differ in their tag only, and the conditions on them."""

    streams: tuple[Stream, ...]
    conditions: tuple[Fragment, ...]
    probes: tuple[Node, ...]
    examined: float


def by_id(plan: Plan, *, descending: bool, after: Row | None, limit: int) -> list[Row]:
    """Return the matches after ``after`` in the order of their ids."""
    if plan.is_empty:
        return []
    sign, word = ("<", "DESC") if descending else (">", "ASC")
    if plan.driver is None:
        bounds = [Fragment(f"a.id {sign} %s", (after.asset_id,))] if after else []
        if plan.rare:
            # All of them: with an order and a limit, PostgreSQL could walk the assets instead.
            found = _fetch(plan, plan.assets("a.id, NULL", *bounds))
            return sorted((Row(*row) for row in found), reverse=descending)[:limit]
        tail = f" ORDER BY a.id {word} LIMIT {limit}"
        return [
            Row(*row) for row in _fetch(plan, plan.assets("a.id, NULL", *bounds, tail=tail))
        ]
    bounds = [Fragment(f"d.asset_id {sign} %s", (after.asset_id,))] if after else []
    examined = plan.examined(plan.driver, limit)
    parts = [
        Part(alike, tuple(bounds), plan.probes, examined)
        for alike in _alike(plan.driver.streams)
    ]
    rows = _merged(
        plan, parts, f"d.asset_id {word}", f"asset_id {word}", limit, ordered_by_id=True
    )
    ids = sorted((row[0] for row in rows), reverse=descending)
    return [Row(asset_id, None) for asset_id in ids[:limit]]


def by_score(
    plan: Plan, ranking: Sequence[Clause], *, descending: bool, after: Row | None, limit: int
) -> list[Row]:
    """Return the matches after ``after`` in the order of their best confidence.

    Args:
        ranking: clauses of the plan whose every row has a score; an asset's key is its highest.
    """
    if plan.is_empty:
        return []
    if _sorts(plan, ranking, limit):
        return _sorted(plan, ranking, descending=descending, after=after, limit=limit)
    word = "DESC" if descending else "ASC"
    streams = tuple(dict.fromkeys(each for clause in ranking for each in clause.streams))
    # The first page drops an asset's lower rows anyway; later ones could repeat the asset.
    best = (_no_better(plan, streams),) if len(streams) > 1 and after else ()
    parts = [
        Part(alike, (*bound, *best), plan.without(clause), plan.examined(clause, limit))
        for clause in ranking
        for alike in _alike(clause.streams)
        for bound in _bounds(plan, after, descending)
    ]
    rows = _merged(
        plan,
        parts,
        f"d.score {word}, d.asset_id {word}",
        f"2 {word}, 1 {word}",
        limit,
    )
    ranked = sorted(rows, key=lambda row: (row[1], row[0]), reverse=descending)
    return [Row(*row) for row in ranked[:limit]]


def score_of(
    plan: Plan, ranking: Sequence[Clause], asset_id: int, *, former: bool
) -> int | None:
    """Return the confidence that an asset is ranked by, None if it has none of the tags.

    With ``former``, rows that no longer count, such as rejected ones, are included. One query.
    """
    streams = tuple(dict.fromkeys(each for clause in ranking for each in clause.streams))
    rows = plan.compiler.of_streams(streams, "r")
    tags = ", ".join(str(each.tag_id) for each in streams)
    statement = Fragment(
        f"SELECT MAX(CASE WHEN {rows.sql} THEN r.score END), MAX(r.confidence)"
        f" FROM {plan.compiler.tables.asset_tag} r"
        f" WHERE r.asset_id = %s AND r.tag_id IN ({tags})",
        (*rows.params, asset_id),
        varies=True,
    )
    found: Any = _fetch(plan, statement)
    score: int | None
    ((score, confidence),) = found
    return confidence if score is None and former else score


def _sorts(plan: Plan, ranking: Sequence[Clause], limit: int) -> bool:
    """Whether reading all of the driver and sorting costs less than walking by confidence.

    A walk reads rows until ``limit`` of them meet the other terms too.
    """
    if plan.rare:
        return True
    if len(plan.clauses) < 2 or plan.driver is None:
        return False
    return plan.driver.rows < sum(plan.examined(clause, limit) for clause in ranking)


def _sorted(
    plan: Plan, ranking: Sequence[Clause], *, descending: bool, after: Row | None, limit: int
) -> list[Row]:
    """Read all matches from the driver or the rare term, look up their confidence, and sort."""
    streams = tuple(dict.fromkeys(each for clause in ranking for each in clause.streams))
    rows = plan.compiler.of_streams(streams, "r")
    sign, word = ("<", "DESC") if descending else (">", "ASC")
    several = len(streams) > 1
    score = "MAX(r.score)" if several else "r.score"
    bound = Fragment("")
    if after:
        bound = Fragment(
            f"({score} {sign} %s OR ({score} = %s AND x.asset_id {sign} %s))",
            (after.score, after.score, after.asset_id),
        )
    matches = plan.matches(without=None if several else ranking[0])
    grouped = " GROUP BY x.asset_id" if several else ""
    keyword = " HAVING " if several else " AND "
    restriction = f"{keyword}{bound.sql}" if after else ""
    found = _fetch(
        plan,
        Fragment(
            f"SELECT x.asset_id, {score} FROM ({matches.sql}) x"
            f" JOIN {plan.compiler.tables.asset_tag} r ON r.asset_id = x.asset_id"
            f" WHERE {rows.sql}{grouped}{restriction}"
            f" ORDER BY 2 {word}, 1 {word} LIMIT {limit}",
            (*matches.params, *rows.params, *bound.params),
            varies=True,
        ),
    )
    return [Row(*row) for row in found]


def _no_better(plan: Plan, streams: Iterable[Stream]) -> Fragment:
    """Return the condition that no other row of the asset is ranked before this one."""
    rows = plan.compiler.of_streams(streams, "b")
    return Fragment(
        f"(SELECT 1 FROM {plan.compiler.tables.asset_tag} b WHERE b.asset_id = d.asset_id"
        f" AND {rows.sql} AND b.score > d.score LIMIT 1) IS NULL",
        rows.params,
    )


def _bounds(plan: Plan, after: Row | None, descending: bool) -> list[tuple[Fragment, ...]]:
    """Return the conditions that together select what follows ``after`` by confidence and id.

    MariaDB does not use an index for a row comparison, so it gets two ranges.
    """
    if after is None:
        return [()]
    sign = "<" if descending else ">"
    if plan.compiler.vendor == "mysql":
        same = Fragment(f"d.score = %s AND d.asset_id {sign} %s", (after.score, after.asset_id))
        return [(same,), (Fragment(f"d.score {sign} %s", (after.score,)),)]
    pair = (after.score, after.asset_id)
    return [(Fragment(f"(d.score, d.asset_id) {sign} (%s, %s)", pair),)]


def _alike(streams: Iterable[Stream]) -> list[tuple[Stream, ...]]:
    """Group streams that differ in their tag only."""
    groups: dict[tuple[Any, ...], list[Stream]] = {}
    for each in streams:
        kind = (each.low, each.high, each.rescues, each.extra)
        groups.setdefault(kind, []).append(each)
    return [tuple(group) for group in groups.values()]


def _merged(
    plan: Plan,
    parts: Sequence[Part],
    order: str,
    merged_order: str,
    limit: int,
    *,
    ordered_by_id: bool = False,
) -> Sequence[Match]:
    """Return the first rows of every stream, merged; each asset with its highest score.

    There are at most as many rows as each statement's limit, unordered if there were several
    statements.
    """
    tail = f" ORDER BY {order} LIMIT {limit}"
    selects = _selects(plan, parts, tail, ordered_by_id)
    streams = sum(len(part.streams) for part in parts)
    if streams == 1:
        return _fetch(plan, next(selects))
    alike = min(streams, USUALLY_ALIKE)
    best: dict[int, Any] = {}
    for some in _statements(selects):
        for asset_id, score in _first(plan, some, merged_order, limit, alike):
            if asset_id not in best or best[asset_id] < score:
                best[asset_id] = score
    return list(best.items())


def _selects(
    plan: Plan, parts: Iterable[Part], tail: str, ordered_by_id: bool
) -> Iterator[Fragment]:
    """Yield the selects of the parts, each limited; with many streams the text is long."""
    for part in parts:
        if plan.compiler.vendor == "postgresql" and len(part.streams) > MAX_UNION:
            yield _lateral(plan, part, tail)
            continue
        for stream in part.streams:
            yield plan.tagged(
                "d.asset_id, d.score",
                (stream,),
                *part.conditions,
                probes=part.probes,
                tail=tail,
                ordered_by_id=ordered_by_id,
                examined=part.examined,
            )


def _statements(selects: Iterable[Fragment]) -> Iterator[list[Fragment]]:
    """Group as many selects as fit into one statement."""
    some: list[Fragment] = []
    params = 0
    for each in selects:
        if some and (len(some) == MAX_SELECTS or params + len(each.params) > MAX_PARAMS):
            yield some
            some, params = [], 0
        some.append(each)
        params += len(each.params)
    if some:
        yield some


def _first(
    plan: Plan, selects: Sequence[Fragment], order: str, limit: int, alike: int
) -> Sequence[Match]:
    """Return the first rows of several selects, of at least ``limit`` assets if there are more.

    An asset in several streams is returned several times; if it is more than ``alike`` times, more
    rows are read. Removing the duplicates here is far cheaper than in the database, which would
    have to sort all rows of all streams.
    """
    union = " UNION ALL ".join(
        f"SELECT asset_id, score FROM ({each.sql}) m{number}"
        for number, each in enumerate(selects)
    )
    params = tuple(value for each in selects for value in each.params)
    varies = any(each.varies for each in selects)
    most = alike * limit
    while True:
        rows = _fetch(
            plan,
            Fragment(
                f"SELECT * FROM ({union}) u ORDER BY {order} LIMIT {most}", params, varies
            ),
        )
        if len(rows) < most or len({row[0] for row in rows}) >= limit:
            return rows
        most *= 4


def _lateral(plan: Plan, part: Part, tail: str) -> Fragment:
    inner = plan.tagged(
        "d.asset_id, d.score",
        part.streams[:1],
        *part.conditions,
        probes=part.probes,
        examined=part.examined,
        source="s.tag_id",
        tail=tail,
    )
    tags = ",".join(str(each.tag_id) for each in part.streams)
    return Fragment(
        "SELECT l.asset_id, l.score FROM unnest(%s::int[]) s(tag_id)"
        f" CROSS JOIN LATERAL ({inner.sql}) l",
        ("{" + tags + "}", *inner.params),
        inner.varies,
    )


def _fetch(plan: Plan, statement: Fragment) -> Sequence[Match]:
    opened = (
        connections[plan.using].cursor()
        if statement.varies
        else prepared_statements.cursor(plan.using)
    )
    with opened as cursor:
        cursor.execute(statement.sql, statement.params)
        rows: Sequence[Match] = cursor.fetchall()
    return rows
