"""Moments as the host keeps them: aware with ``USE_TZ``, otherwise naive in its time zone."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

CLOCKS_DIFFER = timedelta(minutes=5)
"""How far the clock of another host, or Filestack's, may be ahead of this one's."""


def kept(moment: datetime) -> datetime:
    """Return ``moment`` in the form that the host's database columns hold.

    What Filestack says is aware; without ``USE_TZ`` it can be neither stored nor compared with
    what is stored.
    """
    if settings.USE_TZ:
        return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
    if timezone.is_aware(moment):
        return timezone.make_naive(moment, timezone.get_default_timezone())
    return moment


def read_times_in_c(cursor: Any) -> bool:
    """Have psycopg read the times of this cursor itself, and return whether it will.

    Django has them read by a class in Python, to replace their zone by its own; for a page of
    assets that takes longer than the statement. Read in C, they are aware, and in the zone of
    the database connection.
    """
    if not hasattr(cursor, "adapters"):  # another database, or psycopg 2
        return False
    from psycopg.types.datetime import TimestamptzLoader  # only where it is installed

    cursor.adapters.register_loader("timestamptz", TimestamptzLoader)
    return True
