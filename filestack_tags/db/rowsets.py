"""Row sets: read or write many rows of a table in one raw statement.

Used for the rows of every reply. There, compiling a query and creating instances of models with
dozens of columns takes longer than the database.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from . import prepared_statements
from .transactions import alias

Condition = tuple[str, list[Any]]
"""SQL and its parameters."""

NUMBERS = frozenset({"bigint", "integer", "smallint"})


def unnested(columns: Sequence[tuple[str, str]], rows: Iterable[Any]) -> tuple[str, list[Any]]:
    """Return ``unnest(…) AS new (…)`` for PostgreSQL, and its parameters.

    ``columns`` are the name and the type of each value of a row.
    """
    arrays = ", ".join(f"%s::{kind}[]" for _, kind in columns)
    names = ", ".join(name for name, _ in columns)
    parameters = [
        _array(kind, values)
        for (_, kind), values in zip(columns, zip(*rows, strict=True), strict=True)
    ]
    return f"unnest({arrays}) AS new ({names})", parameters


def read(
    model: type[models.Model], names: tuple[str, ...], where: Condition, *, lock: bool = False
) -> list[list[Any]]:
    """Return the named fields of the rows that match ``where``, in the order of their ids.

    With ``lock`` the rows are locked in that order until the transaction ends, and the values are
    current. As in :func:`.transactions.locked`, PostgreSQL takes the weaker lock.
    """
    using = alias()
    connection = connections[using]
    table = connection.ops.quote_name(model._meta.db_table)
    condition, parameters = where
    statement = (
        f"SELECT {', '.join(_columns(using, model, names))}"  # noqa: S608  contains no values
        f" FROM {table} WHERE {condition} ORDER BY id"
    )
    if lock and connection.features.has_select_for_update:
        weaker = connection.features.has_select_for_no_key_update
        statement += " FOR NO KEY UPDATE" if weaker else " FOR UPDATE"
    with prepared_statements.cursor(using) as cursor:
        cursor.execute(statement, parameters)
        rows = [list(row) for row in cursor.fetchall()]
    for number in _converted(using, model, names):
        column = _fields(model, names)[number].get_col(model._meta.db_table)
        for convert in _converters(column, connection):
            for row in rows:
                row[number] = convert(row[number], column, connection)
    return rows


def among(column: str, values: Sequence[Any], kind: str = "bigint") -> Condition:
    """Return the condition that ``column`` is one of the values."""
    if connections[alias()].vendor == "postgresql":
        return f"{column} = ANY(%s::{kind}[])", [_array(kind, values)]
    if not values:
        return "1 = 0", []  # MariaDB rejects an empty list
    return f"{column} IN ({', '.join(['%s'] * len(values))})", list(values)


def update(
    model: type[models.Model], names: tuple[str, ...], rows: Sequence[Sequence[Any]]
) -> None:
    """Update rows, each given as (id, a value for each named field).

    Lock the rows first: the database chooses the order in which they are written.
    """
    using = alias()
    connection = connections[using]
    table = connection.ops.quote_name(model._meta.db_table)
    columns = _columns(using, model, names)
    with prepared_statements.cursor(using) as cursor:
        if connection.vendor == "postgresql":
            kinds = _kinds(using, model, names)
            named = [("pk", "bigint"), *zip(columns, kinds, strict=True)]
            source, parameters = unnested(named, rows)
            said = ", ".join(f"{column} = new.{column}" for column in columns)
            cursor.execute(
                f"UPDATE {table} SET {said} FROM {source} WHERE {table}.id = new.pk",  # noqa: S608  contains no values
                parameters,
            )
            return
        said = ", ".join(f"{column} = %s" for column in columns)
        statement = f"UPDATE {table} SET {said} WHERE id = %s"  # noqa: S608  contains no values
        fields = _fields(model, names)
        cursor.executemany(
            statement,
            [
                (
                    *(
                        field.get_db_prep_save(value, connection)
                        for field, value in zip(fields, row[1:], strict=True)
                    ),
                    row[0],
                )
                for row in rows
            ],
        )


def check_references() -> None:
    """Let PostgreSQL check now whether the written references exist.

    Otherwise it checks at the commit. Checking early shortens the time that later locks are held,
    and an error rolls back to the savepoint instead of the caller's transaction.
    """
    connection = connections[alias()]
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        if connection.savepoint_ids:  # the caller's transaction stays deferred
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")


# Cached: for a single row, inspecting the fields takes longer than everything else.


def _fields(model: type[models.Model], names: Iterable[str]) -> list[Any]:
    return [model._meta.get_field(name) for name in names]


@cache
def _columns(using: str, model: type[models.Model], names: tuple[str, ...]) -> tuple[str, ...]:
    quote = connections[using].ops.quote_name
    return tuple(quote(field.column) for field in _fields(model, names))


@cache
def _kinds(using: str, model: type[models.Model], names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the types without their lengths: the column checks them, a cast would truncate."""
    kinds = [field.rel_db_type(connections[using]) for field in _fields(model, names)]
    return tuple(kind.partition("(")[0] for kind in kinds)


@cache
def _converted(
    using: str, model: type[models.Model], names: tuple[str, ...]
) -> tuple[int, ...]:
    """Return the columns whose values the database returns in another form."""
    table = model._meta.db_table
    return tuple(
        number
        for number, field in enumerate(_fields(model, names))
        if _converters(field.get_col(table), connections[using])
    )


def _converters(column: Any, connection: BaseDatabaseWrapper) -> list[Any]:
    return [
        *connection.ops.get_db_converters(column),
        *column.get_db_converters(connection),
    ]


def _array(kind: str, values: Iterable[Any]) -> str:
    """Return numbers, texts, datetimes or objects as a PostgreSQL array literal.

    As text, because the driver takes five times as long to inspect the type of each item.
    """
    if kind in NUMBERS:
        items = ",".join(map(str, values)).replace("None", "NULL")
    else:
        items = ",".join(["NULL" if value is None else _quoted(value) for value in values])
    return "{" + items + "}"


def _quoted(value: Any) -> str:
    written = json.dumps(value) if isinstance(value, dict) else str(value)
    text = written.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
