"""Datetimes as the host stores them: aware with ``USE_TZ``, otherwise naive in its time zone."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

CLOCKS_DIFFER = timedelta(minutes=5)
"""How far the clock of another host, or Filestack's, may be ahead of this one's."""


def to_database_time(moment: datetime) -> datetime:
    """Return ``moment`` in the form that the host's database columns hold.

    Filestack's times are aware. Without ``USE_TZ`` they can be neither stored nor compared with
    stored values.
    """
    if settings.USE_TZ:
        return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
    if timezone.is_aware(moment):
        return timezone.make_naive(moment, timezone.get_default_timezone())
    return moment


def read_times_in_c(cursor: Any) -> bool:
    """Let psycopg parse the times of this cursor in C, and return whether it will.

    Django parses them with a Python class that replaces their time zone. For a page of assets that
    takes longer than the statement. Parsed in C, they are aware, in the time zone of the database
    connection.
    """
    if not hasattr(cursor, "adapters"):  # another database, or psycopg 2
        return False
    from psycopg.types.datetime import TimestamptzLoader  # only where it is installed

    cursor.adapters.register_loader("timestamptz", TimestamptzLoader)
    return True
