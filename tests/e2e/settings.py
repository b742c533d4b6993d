"""The example project for the browser tests: with a stricter policy and cheap password hashes.

Each test process chooses its own ports, secrets and folder; its child processes read them from the
environment.
"""

from __future__ import annotations

import os

from example_project.demo.environment import prepare

PYTEST_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")

if os.environ.get("E2E_PREPARED_BY") != PYTEST_WORKER:
    prepare()
    os.environ["E2E_PREPARED_BY"] = PYTEST_WORKER

from example_project.settings import *  # noqa: E402, F403  the settings that are tested

MIDDLEWARE = [*MIDDLEWARE, "tests.e2e.policy.StrictPolicy"]  # noqa: F405  from the example's
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):  # noqa: F405  from the example's
    # A file, since several processes share it.
    DATABASES["default"]["TEST"] = {"NAME": str(STATE_DIR / "e2e.sqlite3")}  # noqa: F405  as above
else:
    DATABASES["default"]["TEST"] = {"NAME": f"test_e2e_{PYTEST_WORKER}"}  # noqa: F405  as above
if name := os.environ.get("E2E_DATABASE"):
    DATABASES["default"]["NAME"] = name  # noqa: F405  as above

FILESTACK_TAGS = {
    **FILESTACK_TAGS,  # noqa: F405  from the example's
    "HIDE_SENSITIVE": True,
    "OUTBOUND_WEBHOOKS": True,
    "OUTBOUND_ALLOW_INSECURE": True,  # a receiver on this machine
}
