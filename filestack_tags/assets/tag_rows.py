"""Upsert: insert and update the tag rows of replies, each kind in one statement.

Raw SQL, because ``bulk_create(update_conflicts=True)`` can neither leave reviewed rows alone nor
skip rows with equal values, and takes twice as long. Rows that are known to be new are copied on
PostgreSQL: with ``ON CONFLICT`` it writes each of them to the WAL twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.constants import OnConflict

from filestack_tags.db import prepared_statements
from filestack_tags.db.rowsets import among, unnested
from filestack_tags.db.transactions import alias
from filestack_tags.models import AssetTag

MAX_ROWS = 100
"""Rows of one statement with a parameter for each value: SQLite's oldest limit is 999."""

UNIQUE = ("asset_id", "tag_id")
CHANGING = ("confidence", "score", "source", "run_id")
SAID = CHANGING[:3]
COLUMNS = (*UNIQUE, *CHANGING, "decision")
UNDECIDED = int(AssetTag.Decision.NONE)
KINDS = ("bigint", "integer", "smallint", "smallint", "smallint", "bigint")

Row = tuple[int, int, int, int, int, int]
"""Asset, tag, confidence, score, source, run."""
Held = tuple[int, int, int]
"""Confidence, source, decision."""


def present(asset_ids: Collection[int]) -> dict[int, dict[int, Held]]:
    """Return the rows that assets have: ``{asset id: {tag id: the row's values}}``."""
    if not asset_ids:
        return {}
    connection = connections[alias()]
    table = connection.ops.quote_name(AssetTag._meta.db_table)
    wanted, parameters = among("asset_id", sorted(asset_ids))
    held: dict[int, dict[int, Held]] = {asset_id: {} for asset_id in asset_ids}
    with prepared_statements.cursor(alias()) as cursor:
        cursor.execute(
            f"SELECT asset_id, tag_id, confidence, source, decision FROM {table} WHERE {wanted}",  # noqa: S608  contains no values
            parameters,
        )
        for asset_id, tag_id, *said in cursor.fetchall():
            held[asset_id][tag_id] = tuple(said)
    return held


def write(added: Sequence[Row], changed: Sequence[Row]) -> None:
    """Insert the rows that :func:`present` did not find, and update those that it found.

    Call it in a transaction that has held the assets' locks since :func:`present`, with rows in the
    order of assets and tags. Do not pass rows that a user reviewed.

    Raises:
        IntegrityError: on PostgreSQL, when an added row exists after all: another process wrote it
            without the asset's lock. The next :func:`present` will find it.
    """
    if added and _can_copy():
        _copy(added)
        upsert(changed)
    else:
        upsert(sorted((*added, *changed)))


def _can_copy() -> bool:
    if connections[alias()].vendor != "postgresql":
        return False
    from django.db.backends.postgresql.psycopg_any import is_psycopg3  # needs a driver

    return bool(is_psycopg3)


def _copy(rows: Sequence[Row]) -> None:
    connection = connections[alias()]
    quote = connection.ops.quote_name
    columns = ", ".join(map(quote, COLUMNS))
    line = "%d\t" * len(KINDS) + f"{UNDECIDED}\n"
    with (
        connection.wrap_database_errors,
        prepared_statements.cursor(alias()) as cursor,
        cursor.copy(f"COPY {quote(AssetTag._meta.db_table)} ({columns}) FROM STDIN") as copy,
    ):
        copy.write("".join([line % row for row in rows]))


def upsert(rows: Sequence[Row]) -> None:
    """Insert the rows, and update existing rows whose values differ.

    The same conditions as for :func:`write` apply. PostgreSQL and SQLite leave rows that a user
    reviewed unchanged, and do not write rows with equal values.
    """
    if not rows:
        return
    connection = connections[alias()]
    quote = connection.ops.quote_name
    table = quote(AssetTag._meta.db_table)
    columns = ", ".join(map(quote, COLUMNS))
    suffix = _on_conflict(connection, table)
    with prepared_statements.cursor(alias()) as cursor:
        for source, parameters in _sources(connection, rows):
            cursor.execute(f"INSERT INTO {table} ({columns}) {source} {suffix}", parameters)


def remove(pairs: Iterable[tuple[int, int]]) -> None:
    """Delete the unreviewed rows of these (asset id, tag id) pairs, in a transaction as above."""
    tags_of: defaultdict[int, list[int]] = defaultdict(list)
    for asset_id, tag_id in sorted(pairs):
        tags_of[asset_id].append(tag_id)
    if not tags_of:
        return
    connection = connections[alias()]
    table = connection.ops.quote_name(AssetTag._meta.db_table)
    undecided = f"decision = {UNDECIDED}"
    with prepared_statements.cursor(alias()) as cursor:
        if connection.vendor == "postgresql":
            pairs = [(asset, tag) for asset, tags in tags_of.items() for tag in tags]
            source, parameters = unnested((("asset", KINDS[0]), ("tag", KINDS[1])), pairs)
            cursor.execute(
                f"DELETE FROM {table} USING {source}"  # noqa: S608  contains no values
                f" WHERE asset_id = new.asset AND tag_id = new.tag AND {undecided}",
                parameters,
            )
            return
        # One statement for each asset: not every database uses the index for a list of pairs.
        for asset_id, tag_ids in tags_of.items():
            for start in range(0, len(tag_ids), MAX_ROWS):
                some, parameters = among("tag_id", tag_ids[start : start + MAX_ROWS])
                cursor.execute(
                    f"DELETE FROM {table} WHERE asset_id = %s AND {some} AND {undecided}",  # noqa: S608  contains no values
                    [asset_id, *parameters],
                )


def _sources(
    connection: BaseDatabaseWrapper, rows: Sequence[Row]
) -> Iterator[tuple[str, list[Any]]]:
    """Yield the rows to insert, as SQL and its parameters."""
    if connection.vendor == "postgresql":
        names = (*UNIQUE, *CHANGING)
        new, parameters = unnested(list(zip(names, KINDS, strict=True)), rows)
        yield f"SELECT {', '.join(names)}, {UNDECIDED} FROM {new}", parameters  # noqa: S608  contains no values
        return
    for start in range(0, len(rows), MAX_ROWS):
        batch = rows[start : start + MAX_ROWS]
        values = ", ".join([f"(%s, %s, %s, %s, %s, %s, {UNDECIDED})"] * len(batch))
        yield f"VALUES {values}", [value for row in batch for value in row]


def _on_conflict(connection: BaseDatabaseWrapper, table: str) -> str:
    suffix = connection.ops.on_conflict_suffix_sql((), OnConflict.UPDATE, CHANGING, UNIQUE)
    if not connection.features.supports_update_conflicts_with_target:
        return suffix  # MariaDB has no WHERE here; it skips rows with equal values itself
    quote = connection.ops.quote_name
    said = " OR ".join(f"{table}.{quote(name)} <> excluded.{quote(name)}" for name in SAID)
    undecided = f"{table}.{quote('decision')} = {UNDECIDED}"
    return f"{suffix} WHERE {undecided} AND ({said})"
