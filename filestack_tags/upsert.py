"""Upsert: the tag rows that one reply changes, in one statement.

Raw SQL, because ``bulk_create(update_conflicts=True)`` can neither leave decided rows alone nor
skip rows that hold the values already, and takes twice as long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.constants import OnConflict

from .models import AssetTag
from .transactions import alias

MAX_ROWS = 100
"""Rows of one statement with a parameter for each value: SQLite's oldest limit is 999."""

UNIQUE = ("asset_id", "tag_id")
CHANGING = ("confidence", "score", "source", "run_id")
SAID = CHANGING[:3]


class Row(NamedTuple):
    """What a tagger's reply says of one tag."""

    tag_id: int
    confidence: int
    score: int
    source: int


def upsert(asset_id: int, run_id: int, rows: Sequence[Row]) -> None:
    """Insert the rows, and correct those that exist and say something else.

    Called in a transaction that holds the asset's lock, with rows in the order of their tags.
    Rows that a person decided are not to be passed; PostgreSQL and SQLite would leave them
    alone, as they do rows that say the same already.
    """
    if not rows:
        return
    connection = connections[alias()]
    quote = connection.ops.quote_name
    table = quote(AssetTag._meta.db_table)
    columns = ", ".join(map(quote, (*UNIQUE, *CHANGING, "decision")))
    suffix = _on_conflict(connection, table)
    with connection.cursor() as cursor:
        for source, parameters in _sources(connection, asset_id, run_id, rows):
            cursor.execute(f"INSERT INTO {table} ({columns}) {source} {suffix}", parameters)


def _sources(
    connection: BaseDatabaseWrapper, asset_id: int, run_id: int, rows: Sequence[Row]
) -> Iterator[tuple[str, list[Any]]]:
    """Yield what is inserted, as SQL and its parameters."""
    decision = int(AssetTag.Decision.NONE)
    if connection.vendor == "postgresql":
        arrays = ", ".join(f"%s::{kind}[]" for kind in ("int", *["smallint"] * len(SAID)))
        new = f"unnest({arrays}) AS new (tag_id, confidence, score, source)"
        yield (
            f"SELECT %s, tag_id, confidence, score, source, %s, {decision} FROM {new}",  # noqa: S608  no value is in it
            [asset_id, run_id, *map(list, zip(*rows, strict=True))],
        )
        return
    for start in range(0, len(rows), MAX_ROWS):
        batch = rows[start : start + MAX_ROWS]
        values = ", ".join([f"(%s, %s, %s, %s, %s, %s, {decision})"] * len(batch))
        yield f"VALUES {values}", [value for row in batch for value in (asset_id, *row, run_id)]


def _on_conflict(connection: BaseDatabaseWrapper, table: str) -> str:
    suffix = connection.ops.on_conflict_suffix_sql((), OnConflict.UPDATE, CHANGING, UNIQUE)
    if not connection.features.supports_update_conflicts_with_target:
        return suffix  # MariaDB has no WHERE here; it skips rows that hold the values itself
    quote = connection.ops.quote_name
    said = " OR ".join(f"{table}.{quote(name)} <> excluded.{quote(name)}" for name in SAID)
    undecided = f"{table}.{quote('decision')} = {int(AssetTag.Decision.NONE)}"
    return f"{suffix} WHERE {undecided} AND ({said})"
