"""Upsert: the tag rows that replies change, in one statement.

Raw SQL, because ``bulk_create(update_conflicts=True)`` can neither leave decided rows alone nor
skip rows that hold the values already, and takes twice as long.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.constants import OnConflict

from . import prepared
from .models import AssetTag
from .rowsets import among, unnested
from .transactions import alias

MAX_ROWS = 100
"""Rows of one statement with a parameter for each value: SQLite's oldest limit is 999."""

UNIQUE = ("asset_id", "tag_id")
CHANGING = ("confidence", "score", "source", "run_id")
SAID = CHANGING[:3]
KINDS = ("bigint", "integer", "smallint", "smallint", "smallint", "bigint")

Row = tuple[int, int, int, int, int, int]
"""Asset, tag, confidence, score, source, run."""
Held = tuple[int, int, int]
"""Confidence, source, decision."""


def present(asset_ids: Collection[int]) -> dict[int, dict[int, Held]]:
    """Return the rows that assets have: ``{asset id: {tag id: what the row says}}``."""
    if not asset_ids:
        return {}
    connection = connections[alias()]
    table = connection.ops.quote_name(AssetTag._meta.db_table)
    wanted, parameters = among("asset_id", sorted(asset_ids))
    held: dict[int, dict[int, Held]] = {asset_id: {} for asset_id in asset_ids}
    with prepared.cursor(alias()) as cursor:
        cursor.execute(
            f"SELECT asset_id, tag_id, confidence, source, decision FROM {table} WHERE {wanted}",  # noqa: S608  no value is in it
            parameters,
        )
        for asset_id, tag_id, *said in cursor.fetchall():
            held[asset_id][tag_id] = tuple(said)
    return held


def upsert(rows: Sequence[Row]) -> None:
    """Insert the rows, and correct those that exist and say something else.

    Called in a transaction that holds the assets' locks, with rows in the order of assets and
    tags. Rows that a person decided are not to be passed; PostgreSQL and SQLite would leave
    them alone, as they do rows that say the same already.
    """
    if not rows:
        return
    connection = connections[alias()]
    quote = connection.ops.quote_name
    table = quote(AssetTag._meta.db_table)
    columns = ", ".join(map(quote, (*UNIQUE, *CHANGING, "decision")))
    suffix = _on_conflict(connection, table)
    with prepared.cursor(alias()) as cursor:
        for source, parameters in _sources(connection, rows):
            cursor.execute(f"INSERT INTO {table} ({columns}) {source} {suffix}", parameters)


def remove(pairs: Iterable[tuple[int, int]]) -> None:
    """Delete the undecided rows of these (asset id, tag id), in a transaction as above."""
    tags_of: defaultdict[int, list[int]] = defaultdict(list)
    for asset_id, tag_id in sorted(pairs):
        tags_of[asset_id].append(tag_id)
    if not tags_of:
        return
    connection = connections[alias()]
    table = connection.ops.quote_name(AssetTag._meta.db_table)
    undecided = f"decision = {int(AssetTag.Decision.NONE)}"
    with prepared.cursor(alias()) as cursor:
        if connection.vendor == "postgresql":
            pairs = [(asset, tag) for asset, tags in tags_of.items() for tag in tags]
            source, parameters = unnested((("asset", KINDS[0]), ("tag", KINDS[1])), pairs)
            cursor.execute(
                f"DELETE FROM {table} USING {source}"  # noqa: S608  no value is in it
                f" WHERE asset_id = new.asset AND tag_id = new.tag AND {undecided}",
                parameters,
            )
            return
        # One statement for each asset: lists of pairs are not looked up in the index everywhere.
        for asset_id, tag_ids in tags_of.items():
            for start in range(0, len(tag_ids), MAX_ROWS):
                some, parameters = among("tag_id", tag_ids[start : start + MAX_ROWS])
                cursor.execute(
                    f"DELETE FROM {table} WHERE asset_id = %s AND {some} AND {undecided}",  # noqa: S608  no value is in it
                    [asset_id, *parameters],
                )


def _sources(
    connection: BaseDatabaseWrapper, rows: Sequence[Row]
) -> Iterator[tuple[str, list[Any]]]:
    """Yield what is inserted, as SQL and its parameters."""
    decision = int(AssetTag.Decision.NONE)
    if connection.vendor == "postgresql":
        names = (*UNIQUE, *CHANGING)
        new, parameters = unnested(list(zip(names, KINDS, strict=True)), rows)
        yield f"SELECT {', '.join(names)}, {decision} FROM {new}", parameters  # noqa: S608  no value is in it
        return
    for start in range(0, len(rows), MAX_ROWS):
        batch = rows[start : start + MAX_ROWS]
        values = ", ".join([f"(%s, %s, %s, %s, %s, %s, {decision})"] * len(batch))
        yield f"VALUES {values}", [value for row in batch for value in row]


def _on_conflict(connection: BaseDatabaseWrapper, table: str) -> str:
    suffix = connection.ops.on_conflict_suffix_sql((), OnConflict.UPDATE, CHANGING, UNIQUE)
    if not connection.features.supports_update_conflicts_with_target:
        return suffix  # MariaDB has no WHERE here; it skips rows that hold the values itself
    quote = connection.ops.quote_name
    said = " OR ".join(f"{table}.{quote(name)} <> excluded.{quote(name)}" for name in SAID)
    undecided = f"{table}.{quote('decision')} = {int(AssetTag.Decision.NONE)}"
    return f"{suffix} WHERE {undecided} AND ({said})"
