"""Load the assets of a page as instances, with a statement that is compiled once.

50 assets take 0.8 ms of processor time instead of 4.1 ms with ``in_bulk()``. Without reading times
in C, they take 2.1 ms. Measured by ``python -m benchmarks.search.parts``.
"""

# ruff: noqa: S608  # names of tables and columns are put in, values never are

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

from django.db import connections
from django.db.models import DateTimeField
from django.db.models.base import ModelState
from django.db.models.signals import post_init, pre_init

from filestack_tags.db import prepared_statements
from filestack_tags.db.datetimes import read_times_in_c
from filestack_tags.models import Asset

Converter = Callable[[Any, Any, Any], Any]


def assets(ids: Sequence[int], using: str) -> list[Asset]:
    """Return the assets with these ids, in this order, in one query; missing ones are left out."""
    if not ids:
        return []
    select, names, timestamps, converters = _statement(using)
    key = names.index(Asset._meta.pk.attname)
    connection = connections[using]
    condition, parameters = prepared_statements.among("id", ids, using)
    with prepared_statements.cursor(using) as cursor:
        # Django's own time zone conversion takes 1.3 of 2.1 ms.
        zone = connection.timezone
        foreign_zone = read_times_in_c(cursor) and cursor.connection.info.timezone is not zone
        cursor.execute(f"{select} {condition}", parameters)
        rows = cursor.fetchall()
    has_receivers = pre_init.has_listeners(Asset) or post_init.has_listeners(Asset)
    make = partial(Asset.from_db, using) if has_receivers else partial(_made, Asset, using)
    made = {}
    for row in rows:
        values = list(row)
        for index in timestamps if foreign_zone else ():
            value = values[index]
            if value is not None:
                values[index] = value.replace(tzinfo=zone)
        for index, column, converts in converters:
            for convert in converts:
                values[index] = convert(values[index], column, connection)
        made[values[key]] = make(names, values)
    return [made[pk] for pk in ids if pk in made]


def _made(model: type[Asset], using: str, names: Sequence[str], values: list[Any]) -> Asset:
    """Return what ``model.from_db()`` would, in a fifth of the time.

    ``from_db()`` assigns each value separately, through descriptors that have no cached value to
    clear on a new instance, and sends signals that have no receivers.
    """
    made = model.__new__(model)
    made.__dict__.update(zip(names, values, strict=True))
    made._state = ModelState()
    made._state.db = using
    made._state.adding = False
    return made


class _Statement(NamedTuple):
    """The beginning of the statement, and the converters for its rows."""

    select: str
    names: tuple[str, ...]
    timestamps: tuple[int, ...]
    converters: tuple[tuple[int, Any, tuple[Converter, ...]], ...]


@lru_cache
def _statement(using: str) -> _Statement:
    connection = connections[using]
    table = Asset._meta.db_table
    fields: Sequence[Any] = Asset._meta.concrete_fields
    quote = connection.ops.quote_name
    columns = ", ".join(quote(field.column) for field in fields)
    converters = []
    for index, field in enumerate(fields):
        column = field.get_col(table)
        converts = (
            *connection.ops.get_db_converters(column),
            *column.get_db_converters(connection),
        )
        if converts:
            converters.append((index, column, converts))
    return _Statement(
        f"SELECT {columns} FROM {quote(table)} WHERE",
        tuple(field.attname for field in fields),
        tuple(n for n, field in enumerate(fields) if isinstance(field, DateTimeField)),
        tuple(converters),
    )
