from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from filestack_tags.management.base import AppCommand
from filestack_tags.operations import heartbeat
from filestack_tags.search import statistics


class Command(AppCommand):
    help = (
        "Update the number of assets for each tag and confidence, which searches are planned with. "
        "Run it after an import. The task filestack_tags.refresh_statistics does the same."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="only show the error of the statistics"
        )

    def handle(self, *args: Any, check: bool, **options: Any) -> None:
        drift = statistics.drift() if check else statistics.refresh()
        if not check:
            heartbeat.beat("refresh_statistics")
        self.stdout.write(
            f"{drift.rows} rows {'are' if check else 'were'} wrong by {drift.assets} assets, "
            f"{drift.share:.1%} of {drift.counted}."
        )
