"""Django and Celery settings of the benchmark. Its processes get the rest from the environment."""

from __future__ import annotations

import os

from benchmarks.tagging.surroundings import APP_SECRET, DATABASE, FILESTACK, KEY, LIMITS, REDIS
from tests.settings import database

SECRET_KEY = "only for measuring"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "filestack_tags",
    "benchmarks.tagging.peer",
]
DATABASES = {"default": database(os.environ.get(DATABASE, "sqlite:")) | {"CONN_MAX_AGE": None}}

CELERY_BROKER_URL = os.environ.get(REDIS, "")
CELERY_BROKER_TRANSPORT_OPTIONS = {"global_keyprefix": f"{os.environ.get(KEY, '')}:"}
CELERY_TASK_IGNORE_RESULT = True
CELERY_DB_REUSE_MAX = 500

FILESTACK_TAGS = {
    "API_KEY": os.environ.get(KEY, ""),
    "APP_SECRET": APP_SECRET,
    "CDN_URL": os.environ.get(FILESTACK, ""),
    "TAGGING_CONCURRENCY": 64,
    "RATE_LIMIT": os.environ.get(LIMITS, ""),
    "REDIS_URL": os.environ.get(REDIS, ""),
}
