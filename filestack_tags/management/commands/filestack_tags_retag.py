from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from filestack_tags import tasks
from filestack_tags.db.transactions import alias
from filestack_tags.exceptions import ConfigurationError, SearchError
from filestack_tags.management.base import AppCommand
from filestack_tags.models import Asset, TaggingRun
from filestack_tags.search import Search
from filestack_tags.search.deadline import in_background
from filestack_tags.tagging.taggers import get_tagger

BATCH_SIZE = 500


class Command(AppCommand):
    help = "Queue the assets that match a search for tagging: untagged assets, or all with --force."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("query", help="a search, such as 'status:failed' or 'sky>=80'")
        parser.add_argument(
            "--force", action="store_true", help="also assets whose tags are up to date"
        )
        parser.add_argument(
            "--tagger", default="", help="instead of TAGGER, such as workflow:NAME or local"
        )
        parser.add_argument("--limit", type=int, help="maximum number of assets, newest first")
        parser.add_argument(
            "--dry-run", action="store_true", help="only show how many assets match"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["tagger"]:
            try:
                get_tagger(options["tagger"])
            except ConfigurationError as error:
                raise CommandError(str(error)) from error
        # Ids first: queueing changes the result of a search for a state.
        try:
            search = Search(options["query"])
            assets = search.assets().order_by("-id")
            if options["limit"] is not None:
                assets = assets[: options["limit"]]
            with search.time_limit(seconds=in_background()):
                ids = list(assets.values_list("pk", flat=True))
        except SearchError as error:
            pointer = " " * error.position + "^"
            raise CommandError(f"{error.message}\n  {options['query']}\n  {pointer}") from error
        if options["dry_run"]:
            self.stdout.write(f"{len(ids)} assets match; none was queued.")
            return
        matched = 0
        queued: list[int] = []
        for start in range(0, len(ids), BATCH_SIZE):
            batch = ids[start : start + BATCH_SIZE]
            queued += tasks.request_tagging(
                batch,
                trigger=TaggingRun.Trigger.COMMAND,
                force=options["force"],
                tagger=options["tagger"],
            )
            matched += len(batch)
            if len(ids) > BATCH_SIZE:
                self.stdout.write(
                    f"{matched} of {len(ids)} assets checked, {len(queued)} queued"
                )
        self.stdout.write(
            f"Queued {len(queued)} of {matched} assets. The others are already queued, or tagged "
            "(use --force)."
            if len(queued) < matched
            else f"Queued {len(queued)} assets."
        )
        self._write_error(queued)

    def _write_error(self, queued: list[int]) -> None:
        """Print the error of a first attempt that has already failed, as in eager mode."""
        for start in range(0, len(queued), BATCH_SIZE):
            tried = Asset.objects.using(alias()).filter(
                pk__in=queued[start : start + BATCH_SIZE], attempts__gt=0
            )
            if failed := tried.exclude(error="").order_by("pk").first():
                self.stderr.write(f"{failed} could not be tagged: {failed.error}")
                return
