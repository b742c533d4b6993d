"""Heartbeats: each scheduled task records when it last finished.

The report shows which of them is overdue; see :mod:`.scheduled_tasks`.
"""

from __future__ import annotations

from django.utils import timezone

from filestack_tags.db.transactions import alias, retry_on_deadlock
from filestack_tags.models import Heartbeat


@retry_on_deadlock
def beat(name: str, /, **found: int) -> dict[str, int]:
    """Record that ``name`` finished now, and what it found; return that.

    Args:
        name: of one of the :data:`~.scheduled_tasks.SCHEDULED_TASKS`, or of a scheduled task of the
            host project; at most 50 characters.
        found: counts of what it did.
    """
    Heartbeat.objects.using(alias()).update_or_create(
        name=name, defaults={"finished_at": timezone.now(), "found": found}
    )
    return found
