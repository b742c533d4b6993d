"""Insert a delivery, or count a duplicate if its event is stored: one statement either way.

Raw SQL, because ``bulk_create(ignore_conflicts=True)`` returns no id, takes three statements, and
on MariaDB ignores every other error too; ``update_or_create`` takes more. Values that are the same
for every new delivery are in the text of the statement, because each parameter costs as much as
looking up a header.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from django.db import connections

from filestack_tags.db.transactions import alias
from filestack_tags.models import WebhookDelivery

GIVEN = ("event_key", "action", "headers", "raw_body", "received_at", "due_at")
"""The columns that differ; all others have the defaults of the model."""


def insert_or_count(
    *, event_key: str, action: str, headers: Mapping[str, str], raw_body: bytes, at: datetime
) -> tuple[int, bool]:
    """Store a delivery received at ``at``; return its id, and whether it is new.

    If the key exists, only the count of duplicates is written.
    """
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
        cursor.execute(statement, parameters)
        if connection.vendor == "mysql":
            # MariaDB reports two affected rows if an existing row was changed.
            return int(cursor.lastrowid), cursor.rowcount == 1
        pk, duplicates = cursor.fetchone()
    return int(pk), not duplicates


@cache
def _prepared(using: str) -> tuple[str, Any, Any, Any]:
    """Return the statement, and the converters for headers, body and times."""
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
    key, number, count = map(quote, ("event_key", "id", "duplicates"))
    statement = f"INSERT INTO {table} ({named}) VALUES ({', '.join(values)})"  # noqa: S608  defaults of the model
    if connection.vendor == "mysql":
        statement += f" ON DUPLICATE KEY UPDATE {count} = {count} + 1"
        statement += f", {number} = LAST_INSERT_ID({number})"
    else:
        statement += (
            f" ON CONFLICT ({key}) DO UPDATE SET {count} = {table}.{count} + 1"
            f" RETURNING {number}, {count}"
        )
    headers, body, time = (fields[name] for name in ("headers", "raw_body", "due_at"))
    return statement, headers.get_db_prep_save, body.get_db_prep_save, time.get_db_prep_save
