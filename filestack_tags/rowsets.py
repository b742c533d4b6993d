"""Row sets: many rows of a table in one raw statement, as each database takes them best.

For what every reply passes through. There, compiling a query and making instances of models with
dozens of columns takes longer than the database does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from . import prepared
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
    model: type[models.Model], names: Sequence[str], where: Condition, *, lock: bool = False
) -> list[list[Any]]:
    """Return the named fields of the rows for which ``where`` holds, in the order of their ids.

    With ``lock`` the rows are locked in that order until the transaction ends, and are as they
    are then. As in :func:`.transactions.locked`, PostgreSQL takes the weaker lock.
    """
    connection = connections[alias()]
    quote = connection.ops.quote_name
    fields = _fields(model, names)
    condition, parameters = where
    statement = (
        f"SELECT {', '.join(quote(field.column) for field in fields)}"  # noqa: S608  no value is in it
        f" FROM {quote(model._meta.db_table)} WHERE {condition} ORDER BY id"
    )
    if lock and connection.features.has_select_for_update:
        weaker = connection.features.has_select_for_no_key_update
        statement += " FOR NO KEY UPDATE" if weaker else " FOR UPDATE"
    with prepared.cursor(alias()) as cursor:
        cursor.execute(statement, parameters)
        rows = [list(row) for row in cursor.fetchall()]
    for number, field in enumerate(fields):
        column = field.get_col(model._meta.db_table)
        converters = connection.ops.get_db_converters(column)
        for convert in (*converters, *column.get_db_converters(connection)):
            for row in rows:
                row[number] = convert(row[number], column, connection)
    return rows


def among(column: str, values: Sequence[Any], kind: str = "bigint") -> Condition:
    """Return the condition that ``column`` is one of the values."""
    if connections[alias()].vendor == "postgresql":
        return f"{column} = ANY(%s::{kind}[])", [_array(kind, values)]
    if not values:
        return "1 = 0", []  # MariaDB cannot read an empty list
    return f"{column} IN ({', '.join(['%s'] * len(values))})", list(values)


def update(
    model: type[models.Model], names: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Write rows of (id, a value for each named field) over those with the same ids.

    The rows are to be locked already: in which order they are written is up to the database.
    """
    connection = connections[alias()]
    quote = connection.ops.quote_name
    table = quote(model._meta.db_table)
    fields = _fields(model, names)
    columns = [quote(field.column) for field in fields]
    with prepared.cursor(alias()) as cursor:
        if connection.vendor == "postgresql":
            kinds = [_kind(field, connection) for field in fields]
            named = [("pk", "bigint"), *zip(columns, kinds, strict=True)]
            source, parameters = unnested(named, rows)
            said = ", ".join(f"{column} = new.{column}" for column in columns)
            cursor.execute(
                f"UPDATE {table} SET {said} FROM {source} WHERE {table}.id = new.pk",  # noqa: S608  no value is in it
                parameters,
            )
            return
        said = ", ".join(f"{column} = %s" for column in columns)
        statement = f"UPDATE {table} SET {said} WHERE id = %s"  # noqa: S608  no value is in it
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
    """Have PostgreSQL look now whether what was written refers to rows that exist.

    It would at the commit, which is late: locks that are taken after this are held for so much
    less, and an error rolls back to the savepoint instead of the caller's transaction.
    """
    connection = connections[alias()]
    if connection.vendor == "postgresql":
        connection.check_constraints()


def _fields(model: type[models.Model], names: Sequence[str]) -> list[Any]:
    return [model._meta.get_field(name) for name in names]


def _kind(field: Any, connection: BaseDatabaseWrapper) -> str:
    """Return the field's type without its length: the column checks that, a cast would cut."""
    kind: str = field.rel_db_type(connection)
    return kind.partition("(")[0]


def _array(kind: str, values: Iterable[Any]) -> str:
    """Return numbers, texts, moments or objects as PostgreSQL reads an array.

    As text, because the driver takes five times as long to look at each item's type.
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
