"""The assets that a user may see at all, as SQL added to a search.

A host defines them with a ``Q`` over assets, and every search takes it. It is not
part of the text: no search text can widen it, and no error mentions it.
"""

# ruff: noqa: S608  # names of tables and columns are put in, values never are

from __future__ import annotations

from collections.abc import Iterable

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db import connections
from django.db.models import Q

from filestack_tags.models import Asset

from .tables import Tables
from .tag_lookup import rows_of
from .term_sql import FALSE, NOTHING, Fragment, among


def scope_condition(scope: Q | None, using: str) -> Fragment:
    """Return the condition that the asset ``a`` is in ``scope``; an empty one if that is None.

    A condition on columns of assets is checked on the row itself. One that follows relations is a
    subquery, which the database may start from, so that no asset is returned twice.
    """
    if scope is None:
        return NOTHING
    query = rows_of(Asset, using).filter(scope).order_by().values("pk").query
    compiler = query.get_compiler(using)
    try:
        if len(query.alias_map) > 1:
            sql, params = compiler.as_sql()
            return Fragment(f"a.id IN ({sql})", tuple(params))
        query.change_aliases({str(alias): "a" for alias in query.alias_map})
        sql, params = compiler.compile(query.where)
    except EmptyResultSet:
        return FALSE
    except FullResultSet:
        return NOTHING
    return Fragment(f"({sql})", tuple(params))


def tags_within(tag_ids: Iterable[int], scope: Q | None, using: str) -> set[int]:
    """Return which of these tags are on an asset in ``scope``; all of them if it is None."""
    ids = sorted(set(tag_ids))
    condition = scope_condition(scope, using)
    if not ids or not condition:
        return set(ids)
    tables = Tables(using)
    tags = among("t.id", ids)
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"SELECT t.id FROM {tables.tag} t WHERE {tags.sql} AND EXISTS (SELECT 1"
            f" FROM {tables.asset_tag} p JOIN {tables.asset} a ON a.id = p.asset_id"
            f" WHERE p.tag_id = t.id AND p.score >= 0 AND {condition.sql})",
            (*tags.params, *condition.params),
        )
        return {row[0] for row in cursor.fetchall()}


def counts_within(condition: Fragment, using: str) -> dict[int, int]:
    """Return how many assets that meet a condition of :func:`scope_condition` have each tag.

    Tags without such assets are left out. Reads every tag of every such asset.
    """
    tables = Tables(using)
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"SELECT p.tag_id, COUNT(*) FROM {tables.asset} a"
            f" JOIN {tables.asset_tag} p ON p.asset_id = a.id"
            f" WHERE p.score >= 0 AND {condition.sql} GROUP BY p.tag_id",
            condition.params,
        )
        return dict(cursor.fetchall())
