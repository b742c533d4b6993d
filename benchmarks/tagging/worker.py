"""The Celery application, as found by ``celery --app benchmarks.tagging.worker worker``."""

from __future__ import annotations

from celery import Celery

app = Celery("benchmarks.tagging", set_as_current=True)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
