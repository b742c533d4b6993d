"""Django settings of the benchmark. ``BENCHMARK_DATABASE_URL`` names its scratch database."""

from __future__ import annotations

import os

from tests.settings import database

SECRET_KEY = "only for measuring"
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "benchmarks.search.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "rest_framework",
    "taggit",
    "filestack_tags",
    "benchmarks.search.designs",
]
DATABASES = {
    "default": database(os.environ.get("BENCHMARK_DATABASE_URL", "sqlite:"))
    | {"CONN_MAX_AGE": None}
}
if "postgresql" in str(DATABASES["default"]["ENGINE"]):
    DATABASES["default"]["OPTIONS"] = {
        "prepare_threshold": 5
    }  # as docs/production.md recommends
FILESTACK_TAGS = {"API_KEY": "AKEY"}
REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": []}
