"""The assets of a page as instances, by one statement that is written once and not per page."""

# ruff: noqa: S608  # names of tables and columns are put in, values never are

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from django.apps import apps
from django.db import connections
from django.db.models import DateTimeField

from filestack_tags.clock import read_times_in_c

if TYPE_CHECKING:
    from filestack_tags.models import Asset

Converter = Callable[[Any, Any, Any], Any]


def assets(ids: Sequence[int], using: str) -> list[Asset]:
    """Return the assets with these ids, in this order, in one query; missing ones are left out."""
    if not ids:
        return []
    model: Any = apps.get_model("filestack_tags", "Asset")
    select, names, timestamps, converters = _statement(using)
    connection = connections[using]
    with connection.cursor() as cursor:
        # Django's own way of giving times its zone takes longer than all else.
        foreign_zone = read_times_in_c(cursor)
        # The database's own whole numbers; as parameters they take longer.
        cursor.execute(f"{select} ({', '.join(map(str, ids))})")
        rows = cursor.fetchall()
    zone = connection.timezone
    found = {}
    for row in rows:
        values = list(row)
        for index in timestamps if foreign_zone else ():
            value = values[index]
            if value is not None and value.tzinfo is not zone:
                values[index] = value.replace(tzinfo=zone)
        for index, column, converts in converters:
            for convert in converts:
                values[index] = convert(values[index], column, connection)
        asset = model.from_db(using, names, values)
        found[asset.pk] = asset
    return [found[pk] for pk in ids if pk in found]


class _Statement(NamedTuple):
    """The beginning of the statement, and what becomes of the values of its rows."""

    select: str
    names: tuple[str, ...]
    timestamps: tuple[int, ...]
    converters: tuple[tuple[int, Any, tuple[Converter, ...]], ...]


@lru_cache
def _statement(using: str) -> _Statement:
    model: Any = apps.get_model("filestack_tags", "Asset")
    connection = connections[using]
    fields = model._meta.concrete_fields
    quote = connection.ops.quote_name
    columns = ", ".join(quote(field.column) for field in fields)
    converters = []
    for index, field in enumerate(fields):
        column = field.get_col(model._meta.db_table)
        converts = (
            *connection.ops.get_db_converters(column),
            *column.get_db_converters(connection),
        )
        if converts:
            converters.append((index, column, converts))
    return _Statement(
        f"SELECT {columns} FROM {quote(model._meta.db_table)} WHERE id IN",
        tuple(field.attname for field in fields),
        tuple(n for n, field in enumerate(fields) if isinstance(field, DateTimeField)),
        tuple(converters),
    )
