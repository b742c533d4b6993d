from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from filestack_tags import tasks
from filestack_tags.models import WebhookDelivery


class Command(BaseCommand):
    help = "Process stored webhook deliveries again. Safe: each event has its effect once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--failed", action="store_true", help="those that failed")
        parser.add_argument("--id", type=int, nargs="+", metavar="ID", help="those by id")
        parser.add_argument("--action", help="those of one action, such as fs.workflow")
        parser.add_argument(
            "--dry-run", action="store_true", help="only say how many would be processed"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not (options["failed"] or options["id"] or options["action"]):
            raise CommandError("Say which deliveries: --failed, --id or --action.")
        deliveries = WebhookDelivery.objects.order_by("id")
        if options["failed"]:
            deliveries = deliveries.filter(state=WebhookDelivery.State.FAILED)
        if options["id"]:
            deliveries = deliveries.filter(pk__in=options["id"])
        if options["action"]:
            deliveries = deliveries.filter(action=options["action"])
        ids = list(deliveries.values_list("pk", flat=True))
        if options["dry_run"]:
            self.stdout.write(f"{len(ids)} deliveries would be processed again.")
            return
        self.stdout.write(f"Enqueued {len(tasks.replay(ids))} of {len(ids)} deliveries.")
