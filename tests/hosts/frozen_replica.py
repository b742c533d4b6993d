"""Reads of this app go to a replica that stopped replicating: it has only old rows.

``REPLICA=off`` is the same project without it, to compare the responses.
"""

import os
from pathlib import Path

from tests.settings import *  # noqa: F403  extends the suite's settings
from tests.settings import database

FOLDER = Path(os.environ["REPLICA_FOLDER"])
DATABASES = {
    "default": database(f"sqlite:{FOLDER / 'primary.sqlite3'}"),
    "replica": database(f"sqlite:{FOLDER / 'replica.sqlite3'}"),
}
if os.environ.get("REPLICA") != "off":
    DATABASE_ROUTERS = ["tests.hosts.frozen_replica.Router"]
FILESTACK_TAGS = {
    "API_KEY": "AKEY",
    "APP_SECRET": "TESTSECRET0000000000000000",
    "WEBHOOK_SECRETS": ["whsec-A"],
    "TAGGER": "tests.scripted.ScriptedTagger",
    "WORKFLOWS": {"look": "wf-1"},
}


class Router:
    def db_for_read(self, model: type, **hints: object) -> str | None:
        return "replica" if model._meta.app_label == "filestack_tags" else None  # type: ignore[attr-defined]

    def db_for_write(self, model: type, **hints: object) -> str:
        return "default"

    def allow_relation(self, one: object, other: object, **hints: object) -> bool:
        return True
