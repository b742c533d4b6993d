"""The limit: for each search the best of all known raw statements, each prepared and run twice.

The statements know the shape of the right answer: the oracle provides the rarest term, names are
ids already, and rows are returned as tuples. Nothing that has to parse a search can be faster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from django.db import connection

from benchmarks.search.oracle import Oracle
from benchmarks.search.workload import PAGE, Search, Term
from filestack_tags.models import Asset, AssetTag, Tag

ASSETS = Asset._meta.db_table
ROWS = AssetTag._meta.db_table
TAGS = Tag._meta.db_table
RUNS = 2

Statement = tuple[str, list[Any]]


@dataclass(frozen=True)
class Variant:
    name: str
    fetch: Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
    statement: Callable[[Search], Statement]


class Limit:
    """Returns the page, and the time of the fastest variant."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self._sessions = _sessions()

    def run(self, kind: str, search: Search, *, rows: bool) -> tuple[float, list[int]]:
        """Return milliseconds and ids; ``kind`` is a class of searches."""
        best, answer = float("inf"), []
        for variant in self._variants(kind, search):
            sql, parameters = variant.statement(search)
            if rows:
                sql, parameters = _with_rows(sql, parameters, kind)
            for _ in range(RUNS):
                start = perf_counter()
                found = variant.fetch(sql, parameters)
                best = min(best, (perf_counter() - start) * 1000)
            answer = [row[0] for row in found]
        return best, answer

    def with_tags(self, search: Search, *, named: bool) -> float:
        """Return the milliseconds for a page's rows and tags with two prepared statements.

        Args:
            named: whether to read the names of the tags too, each by its id. A fast implementation
                has them in memory, and may show a name that a tag no longer has.
        """
        fetch = self._sessions[0][1]
        sql, parameters = _with_rows(*self._probes(search), "S1")
        columns, join = "r.tag_id", ""
        if named:
            columns, join = f"t.name, t.{connection.ops.quote_name('key')}", _named()
        best = float("inf")
        for _ in range(RUNS):
            start = perf_counter()
            ids = [row[0] for row in fetch(sql, parameters)]
            marks = ", ".join(["%s"] * len(ids))
            fetch(
                f"SELECT r.asset_id, {columns}, r.confidence, r.source, r.decision "
                f"FROM {ROWS} r {join} WHERE r.asset_id IN ({marks})",
                ids,
            )
            best = min(best, (perf_counter() - start) * 1000)
        return best

    def _variants(self, kind: str, search: Search) -> list[Variant]:
        forms: list[Callable[[Search], Statement]]
        if kind.startswith("CONF"):
            forms = [self._walk_confidence, self._sort_confidence]
        elif search.either:
            forms = [self._merged, self._walk_either]
        elif len(search.every) == 1 and not search.never:
            forms = [self._probes]
        else:
            forms = [self._probes, self._exists, self._walk_assets]
        return [
            Variant(f"{form.__name__} {name}", fetch, form)
            for form in forms
            for name, fetch in self._sessions
        ]

    def _rarest_first(self, search: Search) -> list[Term]:
        return sorted(search.every, key=lambda term: len(self._oracle.having(*term)))

    def _probes(self, search: Search) -> Statement:
        (tag, least), *others = self._rarest_first(search)
        sql = f"SELECT d.asset_id FROM {ROWS} d WHERE d.tag_id = %s AND d.score >= %s"
        parameters: list[Any] = [tag, least]
        probe = (
            f"(SELECT p.score FROM {ROWS} p WHERE p.tag_id = %s AND p.asset_id = d.asset_id)"
        )
        for tag, least in others:
            sql += f" AND {probe} >= %s"
            parameters += [tag, least]
        for tag, least in search.never:
            sql += f" AND COALESCE({probe}, -1) < %s"
            parameters += [tag, least]
        return _newest(sql, parameters, search)

    def _exists(self, search: Search) -> Statement:
        (tag, least), *others = self._rarest_first(search)
        sql = f"SELECT d.asset_id FROM {ROWS} d WHERE d.tag_id = %s AND d.score >= %s"
        return _newest(*_existing(sql, [tag, least], others, search, "d.asset_id"), search)

    def _walk_assets(self, search: Search) -> Statement:
        sql = f"SELECT d.id FROM {ASSETS} d WHERE d.deleted_at IS NULL"
        sql, parameters = _existing(sql, [], search.every, search, "d.id")
        return _newest(sql, parameters, search, "d.id")

    def _merged(self, search: Search) -> Statement:
        tags = [tag for tag, _ in search.either]
        least = search.either[0][1]
        if connection.vendor == "postgresql":
            stream = (
                f"SELECT asset_id FROM {ROWS} d WHERE d.tag_id = wanted.id AND d.score >= %s "
                f"ORDER BY asset_id DESC LIMIT {PAGE}"
            )
            sql = (
                "SELECT DISTINCT asset_id FROM unnest(%s::int[]) AS wanted (id) "
                f"CROSS JOIN LATERAL ({stream}) s ORDER BY asset_id DESC LIMIT {PAGE}"
            )
            return sql, [tags, least]
        stream = (
            f"SELECT asset_id FROM {ROWS} WHERE tag_id = %s AND score >= %s "
            f"ORDER BY asset_id DESC LIMIT {PAGE}"
        )
        union = " UNION ".join(f"SELECT * FROM ({stream}) s{n}" for n in range(len(tags)))
        sql = f"SELECT asset_id FROM ({union}) u ORDER BY asset_id DESC LIMIT {PAGE}"
        return sql, [value for tag in tags for value in (tag, least)]

    def _walk_either(self, search: Search) -> Statement:
        tags = [tag for tag, _ in search.either]
        least = search.either[0][1]
        sql = (
            f"SELECT d.id FROM {ASSETS} d WHERE d.deleted_at IS NULL AND EXISTS (SELECT 1 "
            f"FROM {ROWS} p WHERE p.asset_id = d.id AND p.score >= %s AND p.tag_id "
        )
        if connection.vendor == "postgresql":
            return _newest(sql + "= ANY(%s))", [least, tags], search, "d.id")
        marks = ", ".join(["%s"] * len(tags))
        return _newest(f"{sql} IN ({marks}))", [least, *tags], search, "d.id")

    def _walk_confidence(self, search: Search) -> Statement:
        (tag, least), *others = search.every
        sql = f"SELECT d.asset_id, d.score FROM {ROWS} d WHERE d.tag_id = %s AND d.score >= %s"
        parameters: list[Any] = [tag, least]
        for tag, least in others:
            sql += (
                f" AND (SELECT p.score FROM {ROWS} p WHERE p.tag_id = %s "
                "AND p.asset_id = d.asset_id) >= %s"
            )
            parameters += [tag, least]
        return f"{sql} ORDER BY d.score DESC, d.asset_id DESC LIMIT {PAGE}", parameters

    def _sort_confidence(self, search: Search) -> Statement:
        """Start from the other term, or use a join that the database orders."""
        first, *others = search.every
        sql = f"SELECT d.asset_id, d.score FROM {ROWS} d"
        where = ["d.tag_id = %s AND d.score >= %s"]
        parameters: list[Any] = [*first]
        for number, term in enumerate(others):
            sql += f" JOIN {ROWS} p{number} ON p{number}.asset_id = d.asset_id"
            where.append(f"p{number}.tag_id = %s AND p{number}.score >= %s")
            parameters += term
        sql += " WHERE " + " AND ".join(where)
        return f"{sql} ORDER BY d.score DESC, d.asset_id DESC LIMIT {PAGE}", parameters


def _existing(
    sql: str, parameters: list[Any], every: Sequence[Term], search: Search, asset: str
) -> Statement:
    row = f"(SELECT 1 FROM {ROWS} p WHERE p.tag_id = %s AND p.asset_id = {asset} "
    for tag, least in every:
        sql += f" AND EXISTS {row} AND p.score >= %s)"
        parameters += [tag, least]
    for tag, least in search.never:
        sql += f" AND NOT EXISTS {row} AND p.score >= %s)"
        parameters += [tag, least]
    return sql, parameters


def _newest(
    sql: str, parameters: list[Any], search: Search, asset: str = "d.asset_id"
) -> Statement:
    if search.after is not None:
        sql += f" AND {asset} < %s"
        parameters = [*parameters, search.after]
    return f"{sql} ORDER BY {asset} DESC LIMIT {PAGE}", parameters


def _with_rows(sql: str, parameters: list[Any], kind: str) -> Statement:
    found = "(asset, score)" if kind.startswith("CONF") else "(asset)"
    order = "m.score DESC, m.asset DESC" if kind.startswith("CONF") else "m.asset DESC"
    return (
        f"WITH m {found} AS ({sql}) SELECT a.* FROM m JOIN {ASSETS} a ON a.id = m.asset "
        f"ORDER BY {order}",
        parameters,
    )


def _named() -> str:
    """Return the join of asset tags ``r`` with their tags, looked up one by one."""
    if connection.vendor == "postgresql":
        return f"CROSS JOIN LATERAL (SELECT t.* FROM {TAGS} t WHERE t.id = r.tag_id OFFSET 0) t"
    join = "STRAIGHT_JOIN" if connection.vendor == "mysql" else "CROSS JOIN"
    return f"{join} {TAGS} t ON t.id = r.tag_id"


def _sessions() -> list[tuple[str, Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]]]:
    """Return separate connections: on PostgreSQL with generic and with custom plans."""
    if connection.vendor == "postgresql":
        return [(mode, _postgres(mode)) for mode in ("auto", "force_custom_plan")]
    connection.ensure_connection()
    raw: Any = connection.connection
    if connection.vendor == "sqlite":

        def on_sqlite(sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
            found: list[tuple[Any, ...]] = raw.execute(
                sql.replace("%s", "?"), parameters
            ).fetchall()
            return found

        return [("sqlite", on_sqlite)]

    def on_mariadb(sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        cursor = raw.cursor()
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())

    return [("mariadb", on_mariadb)]


def _postgres(mode: str) -> Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]:
    import psycopg  # only where it is installed

    options = connection.get_connection_params()
    for name in ("cursor_factory", "context", "prepare_threshold"):
        options.pop(name, None)
    session = psycopg.connect(**options, autocommit=True)
    session.prepared_max = None
    session.execute(f"SET plan_cache_mode = {mode}")

    def fetch(sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        return session.execute(sql, parameters, prepare=True).fetchall()

    return fetch
