"""The example project, with the host's own task, and with values from a test's environment."""

from __future__ import annotations

import os

from example_project.settings import *  # noqa: F403

CELERY_IMPORTS = ["tests.services.host_tasks"]
if limit := os.environ.get("SOFT_TIME_LIMIT"):
    CELERY_TASK_SOFT_TIME_LIMIT = float(limit)
FILESTACK_TAGS = FILESTACK_TAGS | {  # noqa: F405
    "OUTBOUND_WEBHOOKS": True,
    "OUTBOUND_ALLOW_INSECURE": True,
    "OUTBOUND_TIMEOUT": float(os.environ.get("OUTBOUND_TIMEOUT", "10")),
}
