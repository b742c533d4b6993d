"""The Celery application of a chaos run: a process may crash between its commit and the broker."""

from __future__ import annotations

from typing import Any

from celery import Celery, Task

from . import crashing, plan


class MortalTask(Task):  # type: ignore[type-arg]  # generic in the stubs only
    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        crashing.crash(plan.COMMITTED)
        return super().apply_async(*args, **kwargs)


app = Celery("chaos", task_cls=MortalTask, set_as_current=True)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
