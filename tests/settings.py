"""Django settings of the test suite. Services are chosen by environment variables."""

from __future__ import annotations

import os
from urllib.parse import parse_qs, unquote, urlsplit

SECRET_KEY = "only for tests"
USE_TZ = os.environ.get("TEST_USE_TZ", "1") == "1"
TIME_ZONE = "UTC"
ROOT_URLCONF = "tests.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
ALLOWED_HOSTS = ["*"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "rest_framework",
    "filestack_tags",
    "tests.hosts.shop",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def database(url: str) -> dict[str, object]:
    """Return a ``DATABASES`` entry for ``sqlite:``, ``postgres://`` or ``mysql://``.

    With ``?prepare_threshold=1``, PostgreSQL prepares statements from their second execution.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": parts.path or ":memory:"}
    engines = {"postgres": "postgresql", "mysql": "mysql"}
    entry: dict[str, object] = {
        "ENGINE": f"django.db.backends.{engines[parts.scheme]}",
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
    }
    if said := parse_qs(parts.query):
        entry["OPTIONS"] = {name: int(values[0]) for name, values in said.items()}
    if parts.scheme == "mysql":
        entry["OPTIONS"] = {"charset": "utf8mb4"}
        entry["TEST"] = {"CHARSET": "utf8mb4"}
    return entry


DATABASES = {"default": database(os.environ.get("DATABASE_URL", "sqlite:"))}

CELERY_TASK_ALWAYS_EAGER = True
CELERY_TASK_EAGER_PROPAGATES = True

FILESTACK_TAGS: dict[str, object] = {
    "API_KEY": "AKEY",
    "APP_SECRET": "TESTSECRET0000000000000000",
    "WEBHOOK_SECRETS": ["whsec-A"],
}
if not str(DATABASES["default"]["ENGINE"]).endswith("sqlite3"):
    # The limit runs statements there, which tests of query counts would have to include.
    # tests/search/test_deadline.py sets it.
    FILESTACK_TAGS["SEARCH_TIMEOUT"] = None
