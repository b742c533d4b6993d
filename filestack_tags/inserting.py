"""Insert a delivery unless its event is known: one statement, outside any transaction of ours.

Raw SQL, because ``bulk_create(ignore_conflicts=True)`` returns no id, takes three statements, and
on MariaDB ignores every other error too; ``get_or_create`` takes four.
"""

from __future__ import annotations

from functools import cache

from django.db import IntegrityError, connections

from .models import WebhookDelivery
from .transactions import alias


DUPLICATE_ENTRY = 1062
"""What MariaDB calls a unique key that is taken."""


def insert_new(delivery: WebhookDelivery) -> int | None:
    """Insert ``delivery``; return its id, or ``None`` when its event key is taken."""
    using = alias()
    connection = connections[using]
    parameters = [
        field.get_db_prep_save(getattr(delivery, field.attname), connection)
        for field in WebhookDelivery._meta.concrete_fields
        if not field.primary_key
    ]
    with connection.cursor() as cursor:
        if connection.vendor == "mysql":
            try:
                cursor.execute(_statement(using), parameters)
            except IntegrityError as error:
                if error.args[0] != DUPLICATE_ENTRY:
                    raise
                return None
            return int(cursor.lastrowid)
        cursor.execute(_statement(using), parameters)
        row = cursor.fetchone()
    return None if row is None else int(row[0])


@cache
def _statement(using: str) -> str:
    connection = connections[using]
    quote = connection.ops.quote_name
    columns = [
        quote(field.column)
        for field in WebhookDelivery._meta.concrete_fields
        if not field.primary_key
    ]
    statement = (
        f"INSERT INTO {quote(WebhookDelivery._meta.db_table)} ({', '.join(columns)}) "
        f"VALUES ({', '.join(['%s'] * len(columns))})"
    )
    if connection.vendor == "mysql":
        return statement  # IGNORE would hide other errors, too
    return f"{statement} ON CONFLICT ({quote('event_key')}) DO NOTHING RETURNING {quote('id')}"
