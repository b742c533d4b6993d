from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from filestack_tags.exceptions import ConfigurationError
from filestack_tags.management.base import AppCommand
from filestack_tags.operations import retention
from filestack_tags.operations.retention import Pruned

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
        parser.add_argument(
            "--deliveries", type=int, metavar="DAYS", help="instead of DELIVERY_RETENTION_DAYS"
        )
        parser.add_argument(
            "--raw-replies",
            type=int,
            metavar="DAYS",
            help="instead of RAW_REPLY_RETENTION_DAYS",
        )
        parser.add_argument(
            "--runs", type=int, metavar="DAYS", help="instead of RUN_RETENTION_DAYS"
        )
        parser.add_argument(
            "--exports", type=int, metavar="DAYS", help="instead of EXPORT_RETENTION_DAYS"
        )
        parser.add_argument(
            "--undo", type=int, metavar="DAYS", help="instead of UNDO_RETENTION_DAYS"
        )
        parser.add_argument(
            "--outbound", type=int, metavar="DAYS", help="instead of OUTBOUND_RETENTION_DAYS"
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="only show how many rows would be deleted"
        )

    def handle(
        self,
        *args: Any,
        deliveries: int | None,
        raw_replies: int | None,
        runs: int | None,
        exports: int | None,
        undo: int | None,
        outbound: int | None,
        dry_run: bool,
        **options: Any,
    ) -> None:
        self.done = Pruned()
        self.batches = 0
        try:
            found = retention.prune(
                deliveries=deliveries,
                raw_replies=raw_replies,
                runs=runs,
                exports=exports,
                undo=undo,
                outbound=outbound,
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
        self.stdout.write(_summary(found, "would be " if dry_run else ""))

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
