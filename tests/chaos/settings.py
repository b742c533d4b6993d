"""Django settings of every process of a chaos run; addresses come from the environment."""

from __future__ import annotations

import os

from tests.settings import (  # noqa: F401  Django reads them here
    ALLOWED_HOSTS,
    DEFAULT_AUTO_FIELD,
    MIDDLEWARE,
    ROOT_URLCONF,
    SECRET_KEY,
    STATIC_URL,
    TEMPLATES,
    TIME_ZONE,
    database,
)
from tests.settings import INSTALLED_APPS as USUAL_APPS

USE_TZ = True
MEDIA_ROOT = f"{os.environ['CHAOS_DIRECTORY']}/media"
INSTALLED_APPS = [*USUAL_APPS, "tests.chaos"]

DATABASES = {
    "default": {
        **database(os.environ["DATABASE_URL"]),
        # Kept between requests and not health-checked: a broken connection is detected in use.
        "CONN_MAX_AGE": 60,
    }
}

CELERY_BROKER_URL = os.environ["BROKER_URL"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_TASK_IGNORE_RESULT = True
CELERY_DB_REUSE_MAX = 500
CELERY_WORKER_HIJACK_ROOT_LOGGER = False

LEASE = 10
"""Seconds. Short, so that the leases of crashed processes expire within the run."""

FILESTACK_TAGS = {
    "API_KEY": "AKEY",
    "APP_SECRET": "TESTSECRET0000000000000000",
    "WEBHOOK_SECRETS": ["whsec-A"],
    "CDN_URL": os.environ["FILESTACK_URL"],
    "API_URL": f"{os.environ['FILESTACK_URL']}/api",
    "WORKFLOW_ID": "chaos",
    "CONNECT_TIMEOUT": 2.0,
    "READ_TIMEOUT": 4.0,
    "LEASE_SECONDS": LEASE,
    "MAX_ATTEMPTS": 12,
    "RETRY_DELAY": 1,
    "RETRY_DELAY_MAX": 4,
    "CIRCUIT_DELAY": 1,
    "CIRCUIT_DELAY_MAX": 4,
    "WEBHOOK_MAX_ATTEMPTS": 20,
    "WORKFLOW_POLL_DELAY": 4,
    "WORKFLOW_TIMEOUT": 40,
    "OUTBOUND_WEBHOOKS": True,
    "OUTBOUND_ALLOW_INSECURE": True,
    "OUTBOUND_TIMEOUT": 2.0,
    "BUDGET_PER_DAY": 50_000,
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(process)d %(levelname)s %(name)s %(message)s"}
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
