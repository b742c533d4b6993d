"""Exports: assets with their visible tags as CSV or JSON lines, written in compressed parts.

The parts are rows beside the job: written in the transaction that moves the job on, so that none
is missing or there twice whoever dies, and found by whichever host is asked for the file.
"""

from __future__ import annotations

import csv
import io
import json
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Max
from django.utils import timezone

from filestack_tags.models import Asset, AssetTag, BulkJob, BulkJobPart
from filestack_tags.scoping import digest_of
from filestack_tags.search.planner import visible_asset_tags
from filestack_tags.transactions import alias

COLUMNS = (
    *("id", "kind", "reference", "filename", "type", "size", "width", "height"),
    *("uploaded_at", "state", "tagged_at", "tags"),
)
"""The columns of a CSV, and the keys of a JSON line."""

READ = (
    *("pk", "kind", "reference", "filename", "mimetype", "size", "width", "height"),
    *("uploaded_at", "tagging_state", "tags_at"),
)

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""How a cell may begin that a spreadsheet would run, or hide one behind."""

CONTENT_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl; charset=utf-8"}

SOURCES = {int(source): source.name.lower() for source in AssetTag.Source}
DECISIONS = {int(decision): decision.name.lower() for decision in AssetTag.Decision}


def add_part(job: BulkJob, asset_ids: Sequence[int]) -> set[int]:
    """Write the next part of an export; return the assets that are in it.

    Inside the transaction of a batch. An asset that was forgotten meanwhile is not in it.
    """
    rows = list(_rows(asset_ids))
    parts = BulkJobPart.objects.using(alias()).filter(job=job)
    last = parts.aggregate(last=Max("number"))["last"]
    number = 0 if last is None else last + 1
    write = _csv if job.parameters["format"] == "csv" else _json_lines
    text = write(rows, with_header=number == 0)
    parts.create(job=job, number=number, data=zlib.compress(text.encode()))
    return {row["id"] for row in rows}


def is_in_scope(job: BulkJob, user: Any) -> bool:
    """Whether ``user`` sees what the job was asked to go through, and so may read what it wrote.

    That is so for who sees everything, and where the scope is what it was when the job was
    asked for: files that were in it then may be out of it by now.
    """
    return digest_of(user) in ("", job.scope_digest)


def read_parts(job: BulkJob) -> Iterator[bytes]:
    """Yield the file, a part at a time; nothing of it was kept when it expired."""
    parts = BulkJobPart.objects.using(alias()).filter(job=job)
    number = -1
    # One statement for each, since MySQL's driver would read all parts at once.
    while part := parts.filter(number__gt=number).order_by("number").first():
        number = part.number
        yield zlib.decompress(bytes(part.data))


def file_name(job: BulkJob) -> str:
    """Return what the file is called."""
    return f"assets-{job.pk}.{job.parameters['format']}"


def safe_cell(value: Any) -> Any:
    """Return a value that no spreadsheet takes for a formula: a text that looks like one gets
    an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _rows(asset_ids: Sequence[int]) -> Iterator[Mapping[str, Any]]:
    database = alias()
    asset_tags = AssetTag.objects.using(database).filter(asset__in=asset_ids)
    columns = ("asset_id", "tag__name", "confidence", "source", "decision")
    tags: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for asset_id, name, confidence, source, decision in (
        visible_asset_tags(asset_tags).order_by("-confidence", "tag__key").values_list(*columns)
    ):
        tags[asset_id].append(
            {
                "name": name,
                "confidence": confidence,
                "source": SOURCES[source],
                "decision": DECISIONS[decision],
            }
        )
    present = Asset.objects.using(database).present().filter(pk__in=asset_ids)
    for values in present.order_by("-pk").values_list(*READ):
        yield dict(zip(COLUMNS, (*map(_plain, values), tags[values[0]]), strict=True))


def _plain(value: Any) -> Any:
    if not isinstance(value, datetime):
        return value
    moment = value.astimezone(timezone.get_default_timezone()) if value.tzinfo else value
    return moment.isoformat(timespec="seconds")


def _csv(rows: Sequence[Mapping[str, Any]], *, with_header: bool) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    if with_header:
        writer.writerow(COLUMNS)
    for row in rows:
        tags = "; ".join(f"{tag['name']} {tag['confidence']}" for tag in row["tags"])
        writer.writerow([safe_cell(value) for value in {**row, "tags": tags}.values()])
    return out.getvalue()


def _json_lines(rows: Sequence[Mapping[str, Any]], *, with_header: bool) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
