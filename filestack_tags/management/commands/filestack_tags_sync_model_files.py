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
        "Register files of the project's models that existed before the AssetOf field was added, "
        "or were changed without a signal, for example by bulk_create() or update(). Safe to "
        "repeat: registered files are skipped."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "fields",
            nargs="*",
            metavar="app.Model[.field]",
            help="only these fields; by default all AssetOf fields of all models",
        )
        parser.add_argument(
            "--failed",
            action="store_true",
            help="also retry files that failed or were left out",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="only show the number of files"
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
    fields = {storing.label_of(field): field for field in storing.all_fields()}
    if not fields:
        raise CommandError("No model has an AssetOf field.")
    chosen = set() if names else set(fields)
    for name in map(str.lower, names):
        matches = {label for label in fields if label == name or label.startswith(f"{name}.")}
        if not matches:
            raise CommandError(
                f"No AssetOf field matches {name!r}. Fields: {', '.join(sorted(fields))}."
            )
        chosen |= matches
    return [fields[label] for label in sorted(chosen)]


def _failed(field: AssetOf, *, dry_run: bool) -> int:
    closed = ModelFile.objects.using(alias()).filter(
        field=storing.label_of(field),
        state__in=(ModelFile.State.FAILED, ModelFile.State.SKIPPED),
    )
    return (
        closed.count()
        if dry_run
        else tasks.retry_model_files(closed.values_list("pk", flat=True))
    )
