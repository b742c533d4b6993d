from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, time, timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import Max, QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from filestack_tags import tasks
from filestack_tags.db.datetimes import to_database_time
from filestack_tags.db.transactions import alias
from filestack_tags.management.base import AppCommand
from filestack_tags.models import WebhookDelivery

BATCH_SIZE = 500
UNITS = {"m": "minutes", "h": "hours", "d": "days"}
LARGEST_ID = 2**63 - 1
EARLIEST = 2000
"""Databases differ in their earliest date."""


def parse_time(text: str) -> datetime:
    """Parse ``2h``, ``3d``, a date or a time in ISO 8601 as a time."""
    now = timezone.now()
    at: datetime | None = None
    with suppress(ValueError, OverflowError):
        if ago := re.fullmatch(r"(\d+)([mhd])", text, re.ASCII):
            at = now - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        elif day := parse_date(text):
            at = to_database_time(datetime.combine(day, time.min))
        elif parsed := parse_datetime(text):
            at = to_database_time(parsed)
    if at is None:
        raise ArgumentTypeError(
            f"{text!r} is not a time. Examples: 2h, 3d, 2026-11-24, 2026-11-24T10:30."
        )
    if at.year < EARLIEST or at > now:
        raise ArgumentTypeError(f"{text!r} is in the future or before the year {EARLIEST}.")
    return at


def parse_id(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", text) or int(text) > LARGEST_ID:
        raise ArgumentTypeError(f"{text!r} is not the id of a delivery.")
    return int(text)


class Command(AppCommand):
    help = (
        "Process stored webhook deliveries again. Several options are combined with AND. Safe: "
        "each event takes effect once, and decisions of users are kept."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--failed", action="store_true", help="failed deliveries")
        parser.add_argument(
            "--id", type=parse_id, nargs="+", metavar="ID", help="deliveries with these ids"
        )
        parser.add_argument("--action", help="deliveries of one action, such as fs.workflow")
        parser.add_argument(
            "--since",
            type=parse_time,
            metavar="WHEN",
            help="deliveries received in the last 2h or 3d, or since a date or time in ISO 8601",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="only show how many would be processed"
        )

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        deliveries = _chosen(options)
        if dry_run:
            skipped = deliveries.exclude(due_at=None).count()
            count = deliveries.count() - skipped
            self.stdout.write(f"{count:,} deliveries would be processed again.{_open(skipped)}")
            return
        seen = again = 0
        for ids in _batches(deliveries):
            again += len(tasks.replay(ids))
            seen += len(ids)
            if len(ids) == BATCH_SIZE:
                self.stdout.write(f"{seen:,} deliveries checked …")
        if not seen:
            self.stdout.write("No delivery matches.")
            return
        self.stdout.write(f"{again:,} deliveries will be processed again.{_open(seen - again)}")


def _chosen(options: dict[str, Any]) -> QuerySet[WebhookDelivery]:
    conditions = {
        "state": WebhookDelivery.State.FAILED if options["failed"] else None,
        "pk__in": options["id"],
        "action": options["action"],
        "received_at__gte": options["since"],
    }
    filters = {name: value for name, value in conditions.items() if value is not None}
    if not filters:
        raise CommandError("Choose deliveries with --failed, --id, --action or --since.")
    return WebhookDelivery.objects.using(alias()).filter(**filters)


def _batches(deliveries: QuerySet[WebhookDelivery]) -> Iterator[list[int]]:
    """Yield the current ids in batches; later deliveries are left out."""
    newest = deliveries.aggregate(newest=Max("pk"))["newest"] or 0
    last = 0
    while ids := list(
        deliveries.filter(pk__gt=last, pk__lte=newest)
        .order_by("pk")
        .values_list("pk", flat=True)[:BATCH_SIZE]
    ):
        yield ids
        last = ids[-1]


def _open(count: int) -> str:
    return f" {count:,} are still open and were skipped." if count else ""
