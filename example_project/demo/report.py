"""The output of the demo: plain tables that fit a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from example_project.demo.questions import Answer
from filestack_tags.models import Asset, TaggingRun

TAGS_SHOWN = 5


def title(text: str) -> None:
    print(f"\n{text}", flush=True)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for number, line in enumerate(lines):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("   " + "  ".join(cells).rstrip())
        if number == 0:
            print("   " + "  ".join("─" * width for width in widths))


def runs(assets: Sequence[Asset]) -> None:
    title("Tagging runs")
    rows = TaggingRun.objects.filter(asset__in=assets).select_related("asset").order_by("id")
    table(
        ("run", "asset", "tagger", "trigger", "state", "ms"),
        (
            (run.pk, run.asset, run.tagger, run.trigger, run.state, _duration(run))
            for run in rows
        ),
    )


def tags(assets: Sequence[Asset]) -> None:
    title("Assets")
    table(
        ("asset", "tags", "most confident"),
        ((asset, asset.asset_tags.count(), _best(asset)) for asset in assets),
    )


def answers(found: Sequence[Answer]) -> None:
    title("Searches: the same answer in Python, over REST and in the admin")
    table(
        ("query", "found", "assets"),
        ((item.query, len(item.python), ", ".join(item.python) or "–") for item in found),
    )


def _best(asset: Asset) -> str:
    return ", ".join(f"{row.tag} {row.confidence}" for row in asset.visible_tags[:TAGS_SHOWN])


def _duration(run: TaggingRun) -> str:
    if run.finished_at is None:
        return "–"
    return f"{(run.finished_at - run.started_at).total_seconds() * 1000:.0f}"
