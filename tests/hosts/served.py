"""``webhook_only`` behind a real server; the database is the given file."""

import os

from tests.hosts.webhook_only import *  # noqa: F403  extends the suite's settings
from tests.settings import database

DATABASES = {"default": database(os.environ["SERVED_DATABASE_URL"])}
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
DEBUG = os.environ.get("SERVED_DEBUG") == "1"
WSGI_APPLICATION = "tests.hosts.wsgi.application"
CELERY_TASK_ALWAYS_EAGER = False
CELERY_BROKER_URL = "memory://"
