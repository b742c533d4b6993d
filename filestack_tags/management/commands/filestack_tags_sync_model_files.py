from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from filestack_tags import tasks
from filestack_tags.db.transactions import alias
from filestack_tags.fields import AssetOf
from filestack_tags.management.base import AppCommand
from filestack_tags.model_files import storing
from filestack_tags.models import ModelFile


class Command(AppCommand):
    help = (
        "Make files of the project's models known that were there before the AssetOf field, or "
        "were changed without a signal, as by bulk_create() and update(). Safe to run again: "
        "files that are known are left alone."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "fields",
            nargs="*",
            metavar="app.Model[.field]",
            help="only these; without, all AssetOf fields of all models",
        )
        parser.add_argument(
            "--failed", action="store_true", help="also try again what failed or was left out"
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="only say how many files there are"
        )

    def handle(
        self, *args: Any, fields: list[str], failed: bool, dry_run: bool, **_: Any
    ) -> None:
        for field in _chosen(fields):
            noted = dropped = tried = 0
            for rows, without_row in storing.changes(field):
                noted += len(rows)
                dropped += len(without_row)
                if not dry_run:
                    tasks.sync_model_files(field, rows, without_row)
            if failed:
                tried = _failed(field, dry_run=dry_run)
            counts = f"{noted:,} changed, {dropped:,} of deleted rows, {tried:,} to retry"
            note = " Dry run: nothing was written." if dry_run else ""
            self.stdout.write(f"{storing.label_of(field)}: {counts}.{note}")


def _chosen(names: list[str]) -> list[AssetOf]:
    known = {storing.label_of(field): field for field in storing.all_fields()}
    if not known:
        raise CommandError("No model has an AssetOf field.")
    wanted = [name.lower() for name in names]
    for name in wanted:
        if not any(label == name or label.startswith(f"{name}.") for label in known):
            raise CommandError(f"There is no {name}. There are: {', '.join(sorted(known))}.")
    return [
        field
        for label, field in sorted(known.items())
        if not wanted or any(label == n or label.startswith(f"{n}.") for n in wanted)
    ]


def _failed(field: AssetOf, *, dry_run: bool) -> int:
    closed = ModelFile.objects.using(alias()).filter(
        field=storing.label_of(field),
        state__in=(ModelFile.State.FAILED, ModelFile.State.LEFT_OUT),
    )
    return (
        closed.count()
        if dry_run
        else tasks.retry_model_files(closed.values_list("pk", flat=True))
    )
