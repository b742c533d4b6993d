from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from filestack_tags.management.base import AppCommand
from filestack_tags.operations import heartbeat
from filestack_tags.search import statistics


class Command(AppCommand):
    help = (
        "Count how many assets have each tag with each confidence, which searches are planned "
        "by. Run it after an import; the task filestack_tags.refresh_statistics does the same."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="only say how far the statistics are off"
        )

    def handle(self, *args: Any, check: bool, **options: Any) -> None:
        found = statistics.drift() if check else statistics.refresh()
        if not check:
            heartbeat.beat("refresh_statistics")
        self.stdout.write(
            f"{found.rows} rows {'are' if check else 'were'} off by {found.assets} assets, "
            f"{found.share:.1%} of {found.counted}."
        )
