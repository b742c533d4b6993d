from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError

from filestack_tags.exceptions import SearchError
from filestack_tags.management.base import AppCommand
from filestack_tags.search import Search
from filestack_tags.search.deadline import in_background
from filestack_tags.search.pages import ORDERS


class Command(AppCommand):
    help = "Search assets by tag and confidence. --explain shows how the search is executed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "query",
            help="a search, such as 'sky>=80 -person'; write -- before a search that starts with -",
        )
        parser.add_argument("--order", choices=ORDERS, default="newest")
        parser.add_argument(
            "--limit", type=int, default=20, help="number of assets to show (default: 20)"
        )
        parser.add_argument(
            "--explain",
            action="store_true",
            help="show the term that the search starts from, and the estimated rows of each term",
        )
        parser.add_argument(
            "--analyze",
            action="store_true",
            help="with --explain: also count the rows, which reads all of them",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        query = options["query"]
        if options["limit"] < 1:
            raise CommandError("--limit must be 1 or more.")
        try:
            search = Search(query)
            with search.time_limit(seconds=in_background()):
                self._show(search, options)
        except SearchError as error:
            pointer = " " * error.position + "^"
            raise CommandError(f"{error.message}\n  {query}\n  {pointer}") from error

    def _show(self, search: Search, options: Mapping[str, Any]) -> None:
        if options["explain"]:
            self.stdout.write(search.explain(analyze=options["analyze"]))
            return
        page = search.page(order=options["order"], size=options["limit"])
        for asset, confidence in zip(page.assets(), page.confidences, strict=False):
            ranked = "" if confidence is None else f"{confidence:>4}"
            self.stdout.write(f"{asset.pk:>10}{ranked}  {asset}")
        self.stdout.write(f"Matches: {search.total()}")
