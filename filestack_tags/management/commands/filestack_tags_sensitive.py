from __future__ import annotations

from typing import Any

from filestack_tags.assets import sensitive_labels
from filestack_tags.assets.sensitive import report
from filestack_tags.conf import get_settings
from filestack_tags.db.transactions import alias
from filestack_tags.management.base import AppCommand


class Command(AppCommand):
    help = (
        "List the tags that are sensitive labels, by category, with the number of assets that have "
        "each tag, and on how many HIDE_SENSITIVE hides it until its approval."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        state = "on" if get_settings().HIDE_SENSITIVE else "off"
        self.stdout.write(
            f"List version {sensitive_labels.version()}, {len(sensitive_labels.labels())} labels; "
            f"HIDE_SENSITIVE is {state}."
        )
        rows = report(alias())
        for row in rows:
            approved = f", approved {row.approved_at:%Y-%m-%d}" if row.approved_at else ""
            self.stdout.write(
                f"{row.category}: {row.name}: {row.assets:,} assets, "
                f"{row.withheld:,} hidden{approved}"
            )
        if not rows:
            self.stdout.write("No tag is a sensitive label.")
