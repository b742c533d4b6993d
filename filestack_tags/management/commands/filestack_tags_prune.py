from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from filestack_tags.exceptions import ConfigurationError
from filestack_tags.management.base import AppCommand
from filestack_tags.operations import retention
from filestack_tags.operations.retention import Pruned

OPTIONS = {
    "deliveries": "DELIVERY_RETENTION_DAYS",
    "raw_replies": "RAW_REPLY_RETENTION_DAYS",
    "runs": "RUN_RETENTION_DAYS",
    "exports": "EXPORT_RETENTION_DAYS",
    "undo": "UNDO_RETENTION_DAYS",
    "outbound": "OUTBOUND_RETENTION_DAYS",
}

LINE_EVERY = 20
"""Batches between two lines of progress without a terminal."""


class Command(AppCommand):
    help = (
        "Delete data that is older than its *_RETENTION_DAYS setting: processed or ignored webhook "
        "deliveries, raw replies whose tags no asset shows, ended runs, files of exports, data to "
        "undo bulk jobs and merges, and outbound webhooks that were sent or failed. Failed "
        "deliveries are kept. The task filestack_tags.prune does the same."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        for name, setting in OPTIONS.items():
            parser.add_argument(
                f"--{name.replace('_', '-')}",
                type=int,
                metavar="DAYS",
                help=f"instead of {setting}",
            )
        parser.add_argument(
            "--dry-run", action="store_true", help="only show how many rows would be deleted"
        )

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        self.done = Pruned()
        self.batches = 0
        try:
            pruned = retention.prune(
                **{name: options[name] for name in OPTIONS},
                dry_run=dry_run,
                report_progress=self._report_progress,
            )
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError(
                f"\nStopped. {_summary(self.done)} Run it again for the rest.", returncode=130
            ) from None
        if self.batches and self.stdout.isatty():
            self.stdout.write("\r", ending="")
        self.stdout.write(_summary(pruned, "would be " if dry_run else ""))

    def _report_progress(self, so_far: Pruned) -> None:
        self.done = so_far
        self.batches += 1
        if self.stdout.isatty():
            self.stdout.write(f"\r{_summary(so_far)}", ending="")
            self.stdout.flush()
        elif not self.batches % LINE_EVERY:
            self.stdout.write(_summary(so_far))


def _summary(done: Pruned, would: str = "") -> str:
    return (
        f"{done.deliveries:,} deliveries {would}deleted, "
        f"{done.raw_replies:,} raw replies {would}emptied; "
        f"{done.export_parts:,} parts of exports, {done.job_items:,} items of bulk jobs and "
        f"{done.merge_rows:,} rows of merges {would}deleted; "
        f"{done.messages:,} outbound messages and {done.runs:,} runs {would}deleted."
    )
