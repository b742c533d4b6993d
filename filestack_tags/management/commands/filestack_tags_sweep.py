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
        counts = [f"{count} {kind.replace('_', ' ')}" for kind, count in tasks.sweep().items()]
        self.stdout.write(f"Enqueued: {', '.join(counts) or 'nothing'}.")
