"""Set-based SQL: write many rows in one statement on PostgreSQL.

These are the only writes that are not Django's own. Other databases use Django's ``bulk_update``
and ``bulk_create``. Lock the rows first: the database chooses the order in which they are written.

The figures are milliseconds of processor time a reply of 20 tags, of the worker and the database
together; ``python -m benchmarks.tagging.parts`` measures them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from .transactions import alias

BATCH_SIZE = 100
"""Rows of one statement on databases other than PostgreSQL."""


def update_rows(objects: Sequence[models.Model], names: Sequence[str]) -> None:
    """Write the named fields of locked objects, which are all of one model.

    On PostgreSQL each column is sent as one array. Compared with ``bulk_update``, a first reply
    takes 2.0 instead of 7.5 ms, and a reply whose confidences moved 2.1 instead of 25 ms.
    """
    if not objects:
        return
    model, using = type(objects[0]), alias()
    connection = connections[using]
    if connection.vendor != "postgresql":
        model._base_manager.using(using).bulk_update(objects, names, batch_size=BATCH_SIZE)
        return
    quote = connection.ops.quote_name
    fields = [model._meta.get_field(name) for name in names]
    source, parameters = _arrays(connection, [*model._meta.pk_fields, *fields], objects)
    table = quote(model._meta.db_table)
    changes = ", ".join(f"{quote(name)} = new.{quote(name)}" for name in _columns(fields))
    same = " AND ".join(
        f"{table}.{quote(name)} = new.{quote(name)}" for name in _columns(model._meta.pk_fields)
    )
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {changes} FROM {source} WHERE {same}", parameters)  # noqa: S608  contains no values


def insert_rows(
    model: type[models.Model], names: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert rows of plain values, each with a value for every named column.

    On PostgreSQL the rows are copied, and columns that are not named get the defaults of the
    database. Compared with ``bulk_create``, a first reply takes 2.0 instead of 3.0 ms.

    Raises:
        IntegrityError: when a row exists.
    """
    if not rows:
        return
    using = alias()
    connection = connections[using]
    if not _can_copy(connection):
        objects = [model(**dict(zip(names, row, strict=True))) for row in rows]
        model._base_manager.using(using).bulk_create(objects, batch_size=BATCH_SIZE)
        return
    quote = connection.ops.quote_name
    columns = ", ".join(map(quote, names))
    with (
        connection.wrap_database_errors,
        connection.cursor() as cursor,
        cursor.copy(f"COPY {quote(model._meta.db_table)} ({columns}) FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row(row)


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


def _arrays(
    connection: BaseDatabaseWrapper, fields: Sequence[Any], objects: Sequence[models.Model]
) -> tuple[str, list[Any]]:
    """Return the values of fields as ``unnest(…) AS new (…)``, and its parameters."""
    # Without their lengths: the column checks those, a cast would truncate.
    kinds = [field.rel_db_type(connection).partition("(")[0] for field in fields]
    arrays = ", ".join(f"%s::{kind}[]" for kind in kinds)
    names = ", ".join(map(connection.ops.quote_name, _columns(fields)))
    values = [_values(connection, field, objects) for field in fields]
    return f"unnest({arrays}) AS new ({names})", values


def _columns(fields: Iterable[Any]) -> list[str]:
    return [field.column for field in fields]


def _values(
    connection: BaseDatabaseWrapper, field: Any, objects: Iterable[models.Model]
) -> list[Any]:
    return [
        field.get_db_prep_save(getattr(item, field.attname), connection) for item in objects
    ]


def _can_copy(connection: BaseDatabaseWrapper) -> bool:
    if connection.vendor != "postgresql":
        return False
    from django.db.backends.postgresql.psycopg_any import is_psycopg3  # needs a driver

    return bool(is_psycopg3)
