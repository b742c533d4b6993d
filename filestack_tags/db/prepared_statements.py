"""Prepared statements: cursors whose statements PostgreSQL plans only once.

Planning a search takes as long as running it, and planning the statements for one reply takes a
large part of writing it. Django lets psycopg interpolate the values into the text of a statement,
so that no two texts are equal. These cursors send the values separately, and psycopg prepares a
statement that is repeated often enough.

Used only if the host sets ``prepare_threshold`` in the database's ``OPTIONS``: behind a pooler that
gives each transaction another connection, prepared statements may not exist. Otherwise the cursor
is Django's own, and the same statements work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connections

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper


def allowed(using: str) -> bool:
    """Whether the host allows prepared statements on this database."""
    connection = connections[using]
    if connection.vendor != "postgresql":
        return False
    return connection.settings_dict.get("OPTIONS", {}).get("prepare_threshold") is not None


def cursor(using: str) -> CursorWrapper:
    """Return a cursor for statements whose best plan does not depend on their values.

    Use it as ``with cursor(using) as asking:``. It is wrapped like any other cursor. While queries
    are logged, as with ``DEBUG``, it is Django's own, because only that one logs the text.
    """
    connection = connections[using]
    if not allowed(using) or connection.queries_logged:
        return connection.cursor()
    from psycopg import Cursor  # only where it is installed

    # As connection.cursor() does, which would first create a cursor of the other kind.
    connection.validate_thread_sharing()
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    raw: Any = connection.connection
    with connection.wrap_database_errors:
        cursor: Any = Cursor(raw)
        return connection.make_cursor(cursor)


def among(column: str, ids: Any, using: str) -> tuple[str, tuple[Any, ...]]:
    """Return the condition that ``column`` is one of these integers, and its parameters.

    With prepared statements its text is the same for any number of integers.
    """
    numbers = ", ".join(map(str, ids))
    if allowed(using):
        return f"{column} = ANY(%s::bigint[])", ("{" + numbers + "}",)
    # Literals are parsed faster than parameters.
    return f"{column} IN ({numbers})", ()
