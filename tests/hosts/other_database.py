"""All tables of this app, and those it refers to, are under another alias than default."""

from tests.settings import *  # noqa: F403  extends the suite's settings
from tests.settings import database

DATABASES = {"default": database("sqlite:"), "tagging": database("sqlite:")}
DATABASE_ROUTERS = ["tests.hosts.other_database.Router"]


class Router:
    """The default database has no tables: using it fails."""

    def db_for_read(self, model: object, **hints: object) -> str:
        return "tagging"

    def db_for_write(self, model: object, **hints: object) -> str:
        return "tagging"

    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool:
        return db == "tagging"
