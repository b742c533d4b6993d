"""The base class of the management commands."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from filestack_tags.db.replicas import reading_primary
from filestack_tags.db.transactions import alias, unapplied_migrations


class AppCommand(BaseCommand):
    """A command that reads this app's tables, with a clear error if they do not exist yet."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command.

        Raises:
            CommandError: if a query failed because migrations of this app are not applied.
        """
        try:
            with reading_primary():
                return super().execute(*args, **options)
        except DatabaseError as error:
            if not (missing := _missing_migrations()):
                raise
            raise CommandError(
                f"The database {alias()!r} lacks migrations of filestack_tags "
                f"({', '.join(missing)}). Run manage.py migrate --database {alias()}."
            ) from error


def _missing_migrations() -> list[str]:
    try:
        return unapplied_migrations()
    except DatabaseError:  # the database itself is the problem
        return []
