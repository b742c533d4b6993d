"""Facets: which tags the assets of a search have, and the confidences of a tag among them.

Counting the tags of a hundred thousand assets takes seconds, and users read only the first thirty.
So a large result is sampled, and the counts are scaled up and flagged as approximate. The sample is
chosen by a hash of the asset's id, or in windows spread over all ids: the newest assets often come
from one event, and would represent only that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import connections

from filestack_tags.assets.sensitive import confirmed, is_approved_in_sql
from filestack_tags.conf import get_settings

from .plan import Plan
from .tables import Tables
from .term_sql import Fragment

if TYPE_CHECKING:
    from .search import Search
    from .totals import Total

EXACT = 1000
"""Results up to this size are always counted in full: counting them is fast, and a smaller sample
says too little about rarer tags.
"""

HASHES = 2**32

_HASH = "((m.asset_id & 2147483647) * 2654435761) & 4294967295"
"""Fibonacci hashing, with operators and 64-bit integers that every database has."""

_SPARE = 2
"""How many times the sample size is read if statistics predict far more matches."""

_PER_WINDOW = 8
"""Target number of matches in a window. More are faster to read, but neighbours are alike."""


@dataclass(frozen=True, slots=True)
class Facet:
    """A tag, and how many assets of the result have it."""

    tag_id: int
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Facets:
    """The most frequent tags of a result, the most frequent first.

    Args:
        tags: tags and counts.
        is_approximate: whether the counts are scaled up from a sample.
        sample_size: how many assets were counted: all of them when exact, none when the counts are
            those stored with the tags.
        matches: how many assets match: exactly, or as estimated from the sample; None when no
            assets were counted.
    """

    tags: tuple[Facet, ...]
    is_approximate: bool
    sample_size: int
    matches: int | None


def facets(search: Search, limit: int, sample: int, total: Total | None) -> Facets:
    """See :meth:`.search.Search.facets`."""
    with search.time_limit():
        return _facets(search, limit, sample, total)


def _facets(search: Search, limit: int, sample: int, total: Total | None) -> Facets:
    plan, unapproved = search.plan(), search.names().unapproved
    include_hidden = search.query.include_hidden
    if plan.is_empty:
        return Facets((), is_approximate=False, sample_size=0, matches=0)
    if plan.is_everything and not get_settings().MIN_CONFIDENCE:
        return _of_all(limit, include_hidden, unapproved, search.using)
    exact = total.count if total and total.is_exact else None
    cap = max(sample, EXACT)
    options = (limit, include_hidden, unapproved)
    rows, covered = None, 1.0
    if plan.is_unpredictable and exact is None and not (total and total.count > cap):
        every = plan.matches()
        first = Fragment(f"{every.sql} LIMIT {cap + 1:d}", every.params)
        few = _Candidates(first, are_all=True)
        # If there are more, the tags of a sample are counted below: here, those of one asset.
        rows = _counted(plan, few, cap, 1, *options)
    if rows is None or rows[0][0] > cap:
        candidates = _candidates(plan, cap, exact)
        rows = _counted(plan, candidates, cap, sample, *options)
        if not candidates.are_all and rows[0][0] <= cap:
            candidates = _Candidates(plan.matches(), are_all=True)
            rows = _counted(plan, candidates, cap, sample, *options)
        covered = candidates.covered
    found, edge = rows[0][:2]
    counted = [(row[2], row[3], row[4]) for row in rows if row[2] is not None]
    if found <= cap:
        tags = tuple(Facet(*row) for row in counted)
        return Facets(tags, is_approximate=False, sample_size=found, matches=found)
    # With evenly spread hashes, the nth smallest one yields their number.
    matches = exact or round(cap * HASHES / edge / covered)
    scaled = tuple(
        Facet(tag_id, name, round(count * matches / sample)) for tag_id, name, count in counted
    )
    return Facets(scaled, is_approximate=True, sample_size=sample, matches=matches)


def histogram(search: Search, tag_id: int) -> dict[int, int]:
    """See :meth:`.search.Search.histogram`."""
    with search.time_limit():
        plan = search.plan()
        if plan.is_empty:
            return {}
        tables = Tables(search.using)
        matches = Fragment("")
        if not plan.is_everything:
            rows = plan.matches()
            matches = Fragment(f"JOIN ({rows.sql}) m ON m.asset_id = r.asset_id", rows.params)
        shown = "" if search.query.include_hidden else "AND t.hidden = FALSE"
        is_withheld = tag_id in search.names().unapproved
        exists = f"AND {is_approved_in_sql({tag_id}, 'r')}" if is_withheld else ""
        statement = (
            f"SELECT r.score, COUNT(*) FROM {tables.asset_tag} r {matches.sql}"  # noqa: S608  # our own statement
            " WHERE r.score >= 0 AND r.tag_id ="
            f" (SELECT t.id FROM {tables.tag} t WHERE t.id = %s {shown}) {exists}"
            " GROUP BY r.score ORDER BY r.score"
        )
        with connections[search.using].cursor() as cursor:
            cursor.execute(statement, (*matches.params, tag_id))
            return dict(cursor.fetchall())


def _of_all(limit: int, include_hidden: bool, unapproved: frozenset[int], using: str) -> Facets:
    """Return the tags of all assets. Only the few with a threshold or unapproved are counted."""
    tables = Tables(using)
    shown = "" if include_hidden else "AND t.hidden = FALSE"
    visible = f"r.score >= t.min_confidence OR (r.score >= 0 AND {confirmed('r')})"
    counted = "t.min_confidence > 0"
    kept_count = "COALESCE(t.min_confidence, 0) = 0"
    if unapproved:
        visible = f"({visible}) AND {is_approved_in_sql(unapproved, 'r')}"
        ids = ", ".join(map(str, sorted(unapproved)))
        counted = f"({counted} OR t.id IN ({ids}))"
        kept_count += f" AND t.id NOT IN ({ids})"
    # Separate subqueries, so that PostgreSQL does not expect a count for each tag and use JIT for
    # it.
    statement = (
        "SELECT f.id, f.name, f.n FROM (SELECT t.id, t.name, t.asset_count AS n"  # noqa: S608  # our own statement
        f" FROM {tables.tag} t WHERE {kept_count} {shown}"
        " UNION ALL SELECT t.id, t.name,"
        f" (SELECT COUNT(*) FROM {tables.asset_tag} r WHERE r.tag_id = t.id AND ({visible}))"
        f" FROM {tables.tag} t WHERE {counted} {shown}) f WHERE f.n > 0"
        f" ORDER BY f.n DESC, f.id LIMIT {limit:d}"
    )
    with connections[using].cursor() as cursor:
        cursor.execute(statement)
        tags = tuple(Facet(*row) for row in cursor.fetchall())
    return Facets(tags, is_approximate=False, sample_size=0, matches=None)


@dataclass(frozen=True, slots=True)
class _Candidates:
    """The matches that a sample is drawn from.

    Args:
        matches: a ``SELECT`` of their ids.
        covered: the share of all ids that were read.
        are_all: whether these are all matches.
    """

    matches: Fragment
    covered: float = 1
    are_all: bool = False


def _candidates(plan: Plan, cap: int, total: int | None) -> _Candidates:
    """Return about :data:`_SPARE` times ``cap`` of the matches, or all if they are few.

    Selecting by hash has to read all matches, which takes a while for a tag of every third asset.
    PostgreSQL reads windows instead: ranges of ids of equal length, one at a random place in each
    of many equal strides. So every asset is equally likely to be read, and no single event fills
    the sample.
    """
    size = _SPARE * cap
    if plan.rare or (total is not None and total <= 2 * size):
        return _Candidates(plan.matches(), are_all=True)
    plan.estimate()
    expected = plan.rows
    for clause in plan.clauses:
        if clause is not plan.driver:
            expected *= min(clause.rows / plan.total, 1)
    expected = total or expected
    if expected <= 2 * size:
        return _Candidates(plan.matches(), are_all=True)
    if connections[plan.using].vendor != "postgresql":
        bound = round(HASHES * size / expected)
        matches = plan.matches()
        below = f"SELECT m.asset_id FROM ({matches.sql}) m WHERE {_HASH} < {bound:d}"  # noqa: S608  # our own statement
        return _Candidates(Fragment(below, matches.params))
    width = max(1, round(_PER_WINDOW * plan.total / expected))
    stride = max(width, round(width * expected / size))
    windows = int(plan.total) // stride + 1
    window = plan.matches_between("w.first", f"w.first + {width:d}")
    place = f"MOD(j * 2654435761 & 4294967295, {stride - width + 1:d})"
    return _Candidates(
        Fragment(
            f"SELECT l.asset_id FROM (SELECT j * {stride:d} + 1 + {place} AS first"  # noqa: S608  # our own statement
            f" FROM generate_series(0::bigint, {windows - 1:d}) j OFFSET 0) w"
            # No window contains more. As a LIMIT, it keeps PostgreSQL from joining the windows, and
            # the estimated cost below the threshold for JIT.
            f" CROSS JOIN LATERAL ({window.sql} LIMIT {width:d}) l",
            window.params,
        ),
        width / stride,
    )


def _counted(
    plan: Plan,
    candidates: _Candidates,
    cap: int,
    sample: int,
    limit: int,
    include_hidden: bool,
    unapproved: frozenset[int],
) -> list[tuple[int, int, int | None, str, int]]:
    """Return rows of (found, edge, tag id, name, count), one without a tag if no tag is found.

    ``found`` is the number of candidates, counted up to ``cap`` and one more. Then only the tags of
    ``sample`` candidates are counted. ``edge`` is the greatest hash among them.
    """
    sampled = (
        "SELECT asset_id, found, edge FROM (SELECT asset_id, COUNT(*) OVER () AS found,"  # noqa: S608  # our own statement
        " MAX(h) OVER () AS edge, ROW_NUMBER() OVER (ORDER BY h) AS place"
        f" FROM (SELECT m.asset_id, {_HASH} AS h FROM ({candidates.matches.sql}) m"
        f" ORDER BY h LIMIT {cap + 1:d}) c) p"
        f" WHERE place <= CASE WHEN found > {cap:d} THEN {sample:d} ELSE {cap:d} END"
    )
    tables = Tables(plan.using)
    threshold = get_settings().MIN_CONFIDENCE
    # The subqueries run once: joining the tags instead costs more than reading the rows. Most rows
    # reach every threshold and need no further check.
    highest = (
        f"(SELECT COALESCE(MAX(t.min_confidence), {threshold:d}) FROM {tables.tag} t"  # noqa: S608  # our own statement
        f" WHERE t.min_confidence > {threshold:d})"
    )
    own = (
        f"CASE WHEN r.tag_id IN (SELECT t.id FROM {tables.tag} t"  # noqa: S608  # our own statement
        " WHERE t.min_confidence IS NOT NULL)"
        f" THEN (SELECT t.min_confidence FROM {tables.tag} t WHERE t.id = r.tag_id)"
        f" ELSE {threshold:d} END"
    )
    hidden = f"(SELECT t.id FROM {tables.tag} t WHERE t.hidden = TRUE)"  # noqa: S608  # our own statement
    shown = "" if include_hidden else f"HAVING r.tag_id NOT IN {hidden}"
    visible = f"r.score >= 0 AND (r.score >= {highest} OR r.score >= {own} OR {confirmed('r')})"
    if unapproved:
        visible += f" AND {is_approved_in_sql(unapproved, 'r')}"
    statement = (
        f"WITH s AS ({sampled}) SELECT e.found, e.edge, f.id, f.name, f.n FROM"  # noqa: S608  # our own statement
        " (SELECT COALESCE(MAX(found), 0) AS found, MAX(edge) AS edge FROM s) e LEFT JOIN ("
        "SELECT t.id, t.name, g.n FROM (SELECT r.tag_id, COUNT(*) AS n"
        f" FROM {_rows_of_sample(plan)} AND {visible} GROUP BY r.tag_id {shown}"
        f" ORDER BY n DESC, r.tag_id LIMIT {limit:d}) g JOIN {tables.tag} t ON t.id = g.tag_id"
        ") f ON 1 = 1 ORDER BY f.n DESC, f.id"
    )
    with connections[plan.using].cursor() as cursor:
        cursor.execute(statement, candidates.matches.params)
        rows: list[tuple[int, int, int | None, str, int]] = cursor.fetchall()
    return rows


def _rows_of_sample(plan: Plan) -> str:
    """Return the rows ``r`` of the assets in ``s``, always read by their key."""
    vendor = connections[plan.using].vendor
    rows = plan.compiler.tables.asset_tag
    if vendor == "postgresql":
        # With a join, it reads the whole table from some thousand assets on; it assumes that an
        # array is short.
        return f"{rows} r WHERE r.asset_id = ANY(ARRAY(SELECT asset_id FROM s))"  # noqa: S608  # our own statement
    join = "STRAIGHT_JOIN" if vendor == "mysql" else "CROSS JOIN"
    return f"s {join} {rows} r WHERE r.asset_id = s.asset_id"
