from __future__ import annotations

import signal
import threading
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType
from typing import Any

from django.core.management.base import CommandError
from tqdm import tqdm

from filestack_tags.conf import get_settings
from filestack_tags.exceptions import ConfigurationError, SearchError
from filestack_tags.management.base import AppCommand
from filestack_tags.models import Backfill
from filestack_tags.tagging import backfill, circuit_breaker

LINE_EVERY = 10.0
"""Seconds between lines of progress without a terminal."""

BLOCKED = {
    "budget": "The budget is used up: BUDGET_PER_DAY or BUDGET_PER_MONTH allows no more calls.",
    "circuit": "Calls are paused, because Filestack rejects all of them.",
}
OUTCOMES = {
    "tagged": "tagged",
    "shared": "tagged without a call, as copies of tagged files",
    "started": "waiting for their workflow",
    "failed": "failed (search for status:failed)",
    "left": "queued for the workers to retry",
    "skipped": "skipped",
}


class Command(AppCommand):
    help = (
        "Tag all assets that match a search in this process, newest first: assets without tags of "
        "their current content, and more with --outdated or --force. Ctrl-C stops after the calls "
        "in progress; continue with --resume."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "query",
            nargs="?",
            default="",
            help="a search, such as 'type:image/png'; all assets by default",
        )
        parser.add_argument("--limit", type=int, help="maximum number of assets")
        parser.add_argument(
            "--concurrency",
            type=int,
            help="calls in flight; the setting TAGGING_CONCURRENCY by default",
        )
        parser.add_argument("--tagger", default="", help="overrides the setting TAGGER")
        parser.add_argument(
            "--outdated",
            action="store_true",
            help="also assets that were tagged by another tagger or version",
        )
        parser.add_argument(
            "--force", action="store_true", help="also assets whose tags are up to date"
        )
        parser.add_argument(
            "--resume",
            type=int,
            nargs="?",
            const=0,
            metavar="ID",
            help="continue the latest stopped backfill, or the one with this id",
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="only show the number of calls and their cost",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        for name in ("limit", "concurrency"):
            if options[name] is not None and options[name] < 1:
                raise CommandError(f"--{name} must be 1 or more.")
        row, chosen = self._chosen(options)
        try:
            estimate = backfill.estimate(chosen, going_on=row)
        except SearchError as error:
            pointer = " " * error.position + "^"
            raise CommandError(f"{error.message}\n  {chosen.query}\n  {pointer}") from error
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
        self._write_estimate(estimate)
        if options["dry_run"]:
            self.stdout.write("Nothing was tagged.")
            return
        row = row or backfill.start(chosen)
        with (
            _stop_signals() as stopped,
            self._progress(estimate.assets, options) as report_progress,
        ):
            ended = backfill.run(
                row,
                concurrency=options["concurrency"],
                report_progress=report_progress,
                is_stopped=stopped.is_set,
            )
        self._report(row, ended)

    def _chosen(self, options: dict[str, Any]) -> tuple[Backfill | None, backfill.Options]:
        if options["resume"] is None:
            names = ("query", "limit", "tagger", "outdated", "force")
            return None, backfill.Options(**{name: options[name] for name in names})
        row = backfill.unfinished(options["resume"] or None)
        if row is None:
            raise CommandError("No backfill was stopped. Start one with a search.")
        self.stdout.write(f"Continuing backfill {row.pk}: {row.query or 'all assets'}")
        return row, backfill.Options(**row.options)

    def _write_estimate(self, estimate: backfill.Estimate) -> None:
        cost = "" if estimate.cost is None else f", about {estimate.cost:,.2f} in total"
        rate = get_settings().RATE_LIMIT
        at_most = f", at most {rate}" if rate and estimate.calls else ""
        self.stdout.write(
            f"{estimate.assets:,} assets to tag, {estimate.calls:,} calls{cost}{at_most}."
        )
        if estimate.left is not None and estimate.left < estimate.calls:
            self.stdout.write(f"The budget currently allows {estimate.left:,} more calls.")

    @contextmanager
    def _progress(self, total: int, options: dict[str, Any]) -> Iterator[Any]:
        """Show a progress bar on a terminal, and a line now and then elsewhere."""
        quiet = options["verbosity"] == 0
        on_terminal = self.stdout.isatty() and not quiet
        with tqdm(
            total=total, unit=" assets", disable=not on_terminal, file=self.stdout
        ) as bar:
            began = written_at = monotonic()
            before: int | None = None

            def report_progress(row: Backfill) -> None:
                nonlocal written_at, before
                done = sum(row.counts.values())
                before = done - 1 if before is None else before
                bar.update(done - before - bar.n)
                now = monotonic()
                if not on_terminal and not quiet and now - written_at >= LINE_EVERY:
                    written_at = now
                    self.stdout.write(_line(done - before, total, now - began))
                    self.stdout.flush()

            yield report_progress

    def _report(self, row: Backfill, ended: str) -> None:
        counts = [
            f"{row.counts[key]:,} {text}"
            for key, text in OUTCOMES.items()
            if row.counts.get(key)
        ]
        self.stdout.write(f"{', '.join(counts) or 'Nothing was tagged'}.")
        if not ended:
            return
        resume = f"Continue with: manage.py filestack_tags_backfill --resume {row.pk}"
        if ended in BLOCKED:
            reasons = [circuit.reason for circuit in circuit_breaker.open_circuits()]
            why = " ".join([BLOCKED[ended], *(reasons if ended == "circuit" else ())])
            raise CommandError(f"{why}\n{resume}")
        self.stdout.write(f"Stopped; nothing is lost. {resume}")
        raise SystemExit(130)


def _line(done: int, total: int, seconds: float) -> str:
    rate = done / seconds if seconds else 0.0
    minutes = f"{max(total - done, 0) / rate / 60:,.0f}" if rate else "unknown"
    return f"{done:,} of {total:,} assets, {rate:,.1f} per second, minutes left: {minutes}"


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Catch the first SIGINT or SIGTERM; the second has its usual effect."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        stopped.set()
        restore()

    for number in before:
        signal.signal(number, note)
    try:
        yield stopped
    finally:
        restore()
