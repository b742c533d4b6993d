"""Heartbeats: what runs by the clock leaves a note when it came to its end.

Whether it still runs is then seen in the database, by any process; see :mod:`.operations`.
"""

from __future__ import annotations

from django.utils import timezone

from .models import Heartbeat
from .transactions import alias, retrying


@retrying
def beat(name: str, /, **found: int) -> dict[str, int]:
    """Note that ``name`` came to its end now, and what it found; return that.

    Args:
        name: ``sweep``, ``statistics``, ``prune``, or what a host runs by the clock itself; at
            most 50 characters.
        found: what it did, as how many of each.
    """
    Heartbeat.objects.using(alias()).update_or_create(
        name=name, defaults={"at": timezone.now(), "found": found}
    )
    return found
