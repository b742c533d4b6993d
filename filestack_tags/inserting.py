"""Insert a delivery unless its event is known: one statement, outside any transaction of ours.

Raw SQL, because ``bulk_create(ignore_conflicts=True)`` returns no id, takes three statements, and
on MariaDB ignores every other error too; ``get_or_create`` takes four. What is the same for every
new delivery is in the text of the statement: each parameter costs as much as looking up a header.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from django.db import IntegrityError, connections

from .models import WebhookDelivery
from .transactions import alias

DUPLICATE_ENTRY = 1062
"""What MariaDB calls a unique key that is taken."""

GIVEN = ("event_key", "action", "headers", "raw_body", "received_at", "due_at")
"""The columns that differ; all others have the defaults of the model."""


def insert_new(
    *, event_key: str, action: str, headers: Mapping[str, str], raw_body: bytes, at: datetime
) -> int | None:
    """Insert a delivery received at ``at``; return its id, or ``None`` if its key is taken."""
    using = alias()
    connection = connections[using]
    statement, prepare_headers, prepare_body, prepare_time = _prepared(using)
    moment = prepare_time(at, connection)
    parameters = (
        event_key,
        action,
        prepare_headers(headers, connection),
        prepare_body(raw_body, connection),
        moment,
        moment,
    )
    with connection.cursor() as cursor:
        if connection.vendor == "mysql":
            try:
                cursor.execute(statement, parameters)
            except IntegrityError as error:
                if error.args[0] != DUPLICATE_ENTRY:
                    raise
                return None
            return int(cursor.lastrowid)
        cursor.execute(statement, parameters)
        row = cursor.fetchone()
    return None if row is None else int(row[0])


@cache
def _prepared(using: str) -> tuple[str, Any, Any, Any]:
    """Return the statement, and what makes headers, body and times into its parameters."""
    connection = connections[using]
    quote = connection.ops.quote_name
    fields = {field.attname: field for field in WebhookDelivery._meta.concrete_fields}
    columns, values = list(GIVEN), ["%s"] * len(GIVEN)
    for name, field in fields.items():
        if name not in GIVEN and (default := field.get_default()) is not None:
            columns.append(name)
            values.append(str(default) if isinstance(default, int) else f"'{default}'")
    table = quote(WebhookDelivery._meta.db_table)
    named = ", ".join(map(quote, columns))
    statement = f"INSERT INTO {table} ({named}) VALUES ({', '.join(values)})"  # noqa: S608  defaults of the model
    if connection.vendor != "mysql":  # whose IGNORE would hide other errors, too
        statement += f" ON CONFLICT ({quote('event_key')}) DO NOTHING RETURNING {quote('id')}"
    headers, body, time = (fields[name] for name in ("headers", "raw_body", "due_at"))
    return statement, headers.get_db_prep_save, body.get_db_prep_save, time.get_db_prep_save
