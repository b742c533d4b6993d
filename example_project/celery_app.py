"""The Celery application. Not named ``celery``, to avoid confusion with the library."""

from __future__ import annotations

import os

from celery import Celery

from example_project import folder_broker

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

folder_broker.install()
app = Celery("example_project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
