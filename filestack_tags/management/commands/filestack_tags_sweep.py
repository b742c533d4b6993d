from __future__ import annotations

from typing import Any

from filestack_tags import tasks
from filestack_tags.management.base import AppCommand


class Command(AppCommand):
    help = (
        "Enqueue webhook deliveries and assets whose task was lost: retries that fell due, "
        "workers that died, a broker that was down. For hosts that do not run Celery beat."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        found = tasks.sweep()
        self.stdout.write(
            f"Enqueued {found['deliveries']} deliveries and {found['assets']} assets."
        )
