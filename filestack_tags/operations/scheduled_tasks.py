"""Describe the tasks that Celery beat has to run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.utils.translation import gettext_lazy as _

from .status import SWEEP_OVERDUE, Beat


@dataclass(frozen=True)
class ScheduledTask:
    """A task that runs periodically, and when it last finished.

    Args:
        name: its heartbeat's name; ``filestack_tags.NAME`` is the Celery task of this app.
        description: what it does and how often, for users; empty for a task of the host project.
        overdue_after: how old its last heartbeat may be; ``None`` for a task of the host project.
        beat: its last heartbeat, if it ever ran.
    """

    name: str
    description: object = ""
    overdue_after: timedelta | None = None
    beat: Beat | None = None

    @property
    def is_overdue(self) -> bool:
        """Whether it ran, but not for :attr:`overdue_after`."""
        limit = self.overdue_after
        return bool(self.beat and limit and self.beat.age > limit.total_seconds())


SCHEDULED_TASKS = (
    ScheduledTask("sweep", _("enqueues work that lost its task; every minute"), SWEEP_OVERDUE),
    ScheduledTask(
        "refresh_statistics", _("updates search statistics; every hour"), timedelta(days=1)
    ),
    ScheduledTask("prune", _("deletes old data; once a day"), timedelta(days=2)),
)
