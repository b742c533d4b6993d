"""Find the assets of a rare term that names no tag but has an index, such as ``decision:added``.

No statistics show how many assets meet such a term. So up to :data:`FEW` of them are read, in one
statement for all such terms of a search. If there are no more, the search starts from them. If
there are more for every term, matches are frequent enough to start from a tag or scan the assets.
"""

# ruff: noqa: S608  # names of tables and columns are put in, values never are

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import connections

from filestack_tags.models import Asset, AssetTag

from .language.fields import UNKNOWN
from .language.tree import Fact, HasTag, Moment, Node, Or
from .term_sql import MOMENT_COLUMNS, Compiler, Fragment, compared

FEW = 2_000
"""Maximum number of assets that a search starts from: reading them all takes some milliseconds."""

_INDEXED_DECISIONS = ("accepted", "rejected", "added")
_RUN_COLUMNS = {"tagger": "tagger", "run": "version", "workflow": "workflow_id"}


@dataclass(frozen=True, slots=True)
class RareTerm:
    """A term that few assets meet.

    Args:
        node: the term.
        ids: the ids of all assets, present or archived, that may meet it.
    """

    node: Node
    ids: tuple[int, ...]

    def condition(self, column: str, vendor: str) -> Fragment:
        """Return the condition that a column contains one of the ids."""
        ids = ",".join(map(str, self.ids))
        if vendor == "postgresql":
            return Fragment(f"{column} = ANY(%s::bigint[])", (f"{{{ids}}}",))
        return Fragment(f"{column} IN ({ids})" if ids else "1 = 0")


def find(terms: Iterable[Node], compiler: Compiler) -> RareTerm | None:
    """Return the rarest of the terms, None if none is rare. At most one query.

    Args:
        terms: terms that must all be met.
        compiler: compiles them for the asset ``a``.
    """
    lookups = [(node, statements) for node in terms if (statements := _lookups(node, compiler))]
    parts = [
        (number, each) for number, (_, statements) in enumerate(lookups) for each in statements
    ]
    if not parts:
        return None
    union = " UNION ALL ".join(
        f"SELECT {number} AS term, x{place}.asset_id FROM ({each.sql} LIMIT {FEW + 1}) x{place}"
        for place, (number, each) in enumerate(parts)
    )
    params = [value for _, each in parts for value in each.params]
    ids: list[list[int]] = [[] for _ in lookups]
    with connections[compiler.using].cursor() as cursor:
        cursor.execute(union, params)
        for number, asset_id in cursor.fetchall():
            ids[number].append(asset_id)
    rare = [
        RareTerm(node, tuple(sorted(set(some))))
        for (node, _), some in zip(lookups, ids, strict=True)
        if len(some) <= FEW
    ]
    return min(rare, key=lambda term: len(term.ids), default=None)


def _lookups(node: Node, compiler: Compiler) -> list[Fragment]:
    """Return the statements that read the assets of a term, [] if no index has them.

    Their ``ORDER BY`` keeps PostgreSQL from reading the table instead of the index.
    """
    if isinstance(node, Or):
        alternatives = [_lookups(term, compiler) for term in node.terms]
        return [each for some in alternatives for each in some] if all(alternatives) else []
    match node:
        case HasTag(label=""):
            lookup = _decided(node, compiler)
        case Moment(field, _):
            column = f"a.{MOMENT_COLUMNS[field]}"
            lookup = _assets(compiler, compiler.condition(node, asset="a.id"), column)
        case Fact(field, value):
            lookup = _fact(field, value, node, compiler)
        case _:
            lookup = None
    return [lookup] if lookup else []


def _decided(term: HasTag, compiler: Compiler) -> Fragment | None:
    if not _has_partial_indexes(compiler):
        return None
    if term.decision in _INDEXED_DECISIONS:
        column, value = "decision", int(AssetTag.Decision[term.decision.upper()])
    elif term.source == "user" and term.decision is None:
        column, value = "source", int(AssetTag.Source.USER)
    else:
        return None
    # The first condition is the one of the index, for SQLite.
    where = Fragment(f"p.{column} > 0 AND p.{column} = {value:d}")
    if term.confidence is not None:
        confidence = compared("p.confidence", term.confidence)
        where = Fragment(f"{where.sql} AND {confidence.sql}", confidence.params)
    return Fragment(
        f"SELECT p.asset_id FROM {compiler.tables.asset_tag} p WHERE {where.sql}"
        " ORDER BY p.confidence",
        where.params,
    )


def _fact(field: str, value: str, node: Node, compiler: Compiler) -> Fragment | None:
    tables = compiler.tables
    match field:
        case "by":
            table, key, name = tables.user
            users = f"SELECT u.{key} FROM {table} u WHERE u.{name} = %s ORDER BY u.{key}"
            where = f"a.uploader_id BETWEEN ({users} LIMIT 1) AND ({users} DESC LIMIT 1)"
            return _assets(compiler, Fragment(where, (value, value)), "a.uploader_id")
        case "error" if _has_partial_indexes(compiler):
            where = "a.error_code > '' AND a.error_code BETWEEN %s AND %s"
            return _assets(compiler, Fragment(where, (value, value)), "a.error_code")
        case "status" if value != Asset.State.TAGGED:
            return _assets(compiler, compiler.condition(node, asset="a.id"), "a.id DESC")
        case "type" if value == UNKNOWN or value.find("*") in (-1, len(value) - 1):
            return _assets(compiler, compiler.condition(node, asset="a.id"))
        case "tagger" | "run" | "workflow":
            # The current run of an asset belongs to this asset.
            column = f"r.{_RUN_COLUMNS[field]}"
            wanted = int(value[1:]) if field == "run" else value
            return Fragment(
                f"SELECT r.asset_id FROM {tables.run} r WHERE {column} BETWEEN %s AND %s"
                f" ORDER BY {column}",
                (wanted, wanted),
            )
    return None


def _assets(compiler: Compiler, where: Fragment, order: str = "") -> Fragment:
    ordered = f" ORDER BY {order}" if order else ""
    return Fragment(
        f"SELECT a.id AS asset_id FROM {compiler.tables.asset} a WHERE {where.sql}{ordered}",
        where.params,
    )


def _has_partial_indexes(compiler: Compiler) -> bool:
    return bool(connections[compiler.using].features.supports_partial_indexes)
