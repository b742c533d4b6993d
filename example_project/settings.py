"""Settings of the example project. Values that differ between machines are in the environment.

``DATABASE_URL``, ``BROKER_URL`` and ``STATE_DIR`` define where data is stored; by default, SQLite
and an embedded broker below ``var/``. ``FILESTACK_*`` are the settings of a Filestack account or,
as in the demo, of the emulator.
"""

from __future__ import annotations

import os
from pathlib import Path

from example_project.databases import database

BASE_DIR = Path(__file__).resolve().parent
STATE_DIR = Path(os.environ.get("STATE_DIR", BASE_DIR.parent / "var")).resolve()
STATE_DIR.mkdir(parents=True, exist_ok=True)

DEBUG = os.environ.get("DEBUG", "1") == "1"
SECRET_KEY = os.environ.get("SECRET_KEY", "the example project is not for production")
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]
ROOT_URLCONF = "example_project.urls"
LOGIN_URL = "admin:login"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
MEDIA_URL = "media/"
MEDIA_ROOT = STATE_DIR / "media"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "rest_framework",
    "filestack_tags",
    "example_project.gallery",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "example_project.security.ContentSecurityPolicy",
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

DATABASES = {
    "default": database(os.environ.get("DATABASE_URL") or f"sqlite://{STATE_DIR}/db.sqlite3")
}

CELERY_BROKER_URL = os.environ.get("BROKER_URL") or "folder://"
CELERY_TASK_DEFAULT_QUEUE = os.environ.get("CELERY_QUEUE", "celery")
CELERY_TASK_ALWAYS_EAGER = os.environ.get("CELERY_EAGER") == "1"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE = {
    # Resumes the work of crashed processes.
    "sweep": {"task": "filestack_tags.sweep", "schedule": 60.0},
    # Counts tags for the search planner.
    "refresh-statistics": {"task": "filestack_tags.refresh_statistics", "schedule": 3600.0},
    # Deletes old deliveries and raw replies.
    "prune": {"task": "filestack_tags.prune", "schedule": 86400.0},
}
CELERY_BEAT_SCHEDULE_FILENAME = str(STATE_DIR / "beat")
if CELERY_BROKER_URL == "folder://":
    BROKER_DIR = STATE_DIR / "broker"
    for name in ("messages", "control"):
        (BROKER_DIR / name).mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(BROKER_DIR / "messages"),
        "data_folder_out": str(BROKER_DIR / "messages"),
        "control_folder": str(BROKER_DIR / "control"),
        "polling_interval": 0.1,
    }

FILESTACK_CDN_URL = os.environ.get("FILESTACK_CDN_URL", "https://cdn.filestackcontent.com")
FILESTACK_UPLOAD_URL = os.environ.get("FILESTACK_UPLOAD_URL", "https://upload.filestackapi.com")
FILESTACK_TAGS = {
    "API_KEY": os.environ.get("FILESTACK_API_KEY", ""),
    "APP_SECRET": os.environ.get("FILESTACK_APP_SECRET", ""),
    "WEBHOOK_SECRETS": [
        secret
        for secret in os.environ.get("FILESTACK_WEBHOOK_SECRETS", "").split(",")
        if secret
    ],
    "CDN_URL": FILESTACK_CDN_URL,
    "UPLOAD_URL": FILESTACK_UPLOAD_URL,
    "API_URL": os.environ.get("FILESTACK_API_URL", "https://www.filestackapi.com/api"),
    "WORKFLOW_ID": os.environ.get("FILESTACK_WORKFLOW_ID", ""),
    # The gallery registers its uploads; the fp.upload webhook does not need to tag them.
    "AUTO_TAG_UPLOADS": False,
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {"celery": {"level": "INFO"}, "filestack_tags": {"level": "INFO"}},
}
