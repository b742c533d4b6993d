"""The example project as the browser tests run it: under a stricter policy, with cheap passwords.

The test process decides on ports, secrets and a folder; the processes that it starts read them
from the environment.
"""

from __future__ import annotations

import os

from example_project.demo.environment import prepare

if "DEMO_WEB_PORT" not in os.environ:
    prepare()

from example_project.settings import *  # noqa: F403  the settings that are tested

MIDDLEWARE = [*MIDDLEWARE, "tests.e2e.policy.StrictPolicy"]  # noqa: F405  from the example's
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):  # noqa: F405  from the example's
    # A file, since several processes share it.
    DATABASES["default"]["TEST"] = {"NAME": str(STATE_DIR / "e2e.sqlite3")}  # noqa: F405  as above
if name := os.environ.get("E2E_DATABASE"):
    DATABASES["default"]["NAME"] = name  # noqa: F405  as above

FILESTACK_TAGS = {
    **FILESTACK_TAGS,  # noqa: F405  from the example's
    "HIDE_SENSITIVE": True,
    "OUTBOUND_WEBHOOKS": True,
    "OUTBOUND_ALLOW_INSECURE": True,  # a receiver on this machine
}
