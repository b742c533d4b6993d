from __future__ import annotations

from typing import Any

from filestack_tags import tasks
from filestack_tags.management.base import AppCommand


class Command(AppCommand):
    help = (
        "Enqueue work that lost its task, after a worker or the broker was down, and retries that "
        "are due. For hosts that do not run Celery beat."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        counts = tasks.sweep()
        self.stdout.write(
            f"Enqueued {counts['deliveries']} deliveries and {counts['assets']} assets."
        )
