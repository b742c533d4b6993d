"""Django settings of the benchmark: no middleware, connections kept, Redis as the broker."""

from __future__ import annotations

import os

from tests.settings import database

SECRET_KEY = "only for measuring"
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "benchmarks.ingest.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "filestack_tags",
    "benchmarks.ingest.floor",
]
MIDDLEWARE: list[str] = []
DATABASES = {
    "default": database(os.environ.get("BENCHMARK_DATABASE_URL", "sqlite:"))
    | {"CONN_MAX_AGE": None}
}
CELERY_BROKER_URL = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/15")
CELERY_TASK_DEFAULT_QUEUE = os.environ.get("BENCHMARK_QUEUE", "filestack-tags-benchmark")
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_DB_REUSE_MAX = 500
FILESTACK_TAGS = {
    "WEBHOOK_SECRETS": ["whsec-benchmark"],
    "AUTO_TAG": False,
    "WEBHOOK_TOLERANCE": None,  # the requests are signed in advance
}
