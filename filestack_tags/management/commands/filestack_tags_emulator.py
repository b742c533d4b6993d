"""Run the Filestack emulator with this project's key and secrets."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from filestack_tags.conf import get_settings
from filestack_tags.testing.commandline import add_arguments, run
from filestack_tags.testing.config import Account, Workflow


class Command(BaseCommand):
    """``manage.py filestack_tags_emulator --port 8901 --webhook-url http://127.0.0.1:8000/…``."""

    help = (
        "Run a Filestack emulator on this machine. The API key, secrets and workflow come from "
        "FILESTACK_TAGS unless an option sets them."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the emulator's options."""
        add_arguments(parser, account_from_settings())

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve until SIGINT or SIGTERM."""
        try:
            run(Namespace(**options), account_from_settings(), self._write)
        except (OSError, ValueError) as err:
            raise CommandError(str(err)) from err

    def _write(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def account_from_settings() -> Account:
    """Return the account from ``FILESTACK_TAGS``, with throw-away values for empty settings."""
    settings, usual = get_settings(), Account()
    return Account(
        api_key=settings.API_KEY or usual.api_key,
        app_secret=settings.APP_SECRET or usual.app_secret,
        webhook_secret=next(iter(settings.WEBHOOK_SECRETS), usual.webhook_secret),
        workflows=(Workflow(settings.WORKFLOW_ID),) if settings.WORKFLOW_ID else (),
    )
