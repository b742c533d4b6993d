"""Prepared statements: cursors whose statements PostgreSQL plans once and not each time.

Planning a search takes as long as answering it, and planning what writes one reply a good part
of writing it. Django has psycopg put the values into the text of a statement, so that none is
like another; a cursor from here sends them apart, and psycopg prepares what was asked often
enough.

Only where the host set ``prepare_threshold`` in the database's ``OPTIONS``: behind a pooler that
gives each transaction another connection, prepared statements may not be there. Everywhere else
the cursor is Django's own, and the same statements work as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import connections

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper


def allowed(using: str) -> bool:
    """Whether the host lets statements on this database be prepared."""
    connection = connections[using]
    if connection.vendor != "postgresql":
        return False
    return connection.settings_dict.get("OPTIONS", {}).get("prepare_threshold") is not None


def cursor(using: str) -> CursorWrapper:
    """Return a cursor for statements whose best plan does not depend on the values in them.

    To be used as ``with cursor(using) as asking:``. It is wrapped as any other. While queries
    are logged, as with ``DEBUG``, it is Django's own: only that one's text can be read.
    """
    connection = connections[using]
    if not allowed(using) or connection.queries_logged:
        return connection.cursor()
    from psycopg import Cursor  # only where it is installed

    # As connection.cursor() does, which would make one of the other kind first.
    connection.validate_thread_sharing()
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    raw: Any = connection.connection
    with connection.wrap_database_errors:
        cursor: Any = Cursor(raw)
        return connection.make_cursor(cursor)


def among(column: str, ids: Any, using: str) -> tuple[str, tuple[Any, ...]]:
    """Return the condition that ``column`` is one of these whole numbers, and its parameters.

    Where statements are prepared it is one text for any number of them.
    """
    numbers = ", ".join(map(str, ids))
    if allowed(using):
        return f"{column} = ANY(%s::bigint[])", ("{" + numbers + "}",)
    # In the text they are read sooner than as parameters.
    return f"{column} IN ({numbers})", ()
