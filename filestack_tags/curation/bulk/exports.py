"""Exports: assets with their visible tags as CSV or JSON lines, written in compressed parts.

The parts are rows, written in the transaction that advances the job. So no part is missing or
duplicated after a crash, and every host can serve the file.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.db.models import Max
from django.http import StreamingHttpResponse
from django.utils import timezone
from django.utils.cache import patch_vary_headers

from filestack_tags.assets.visibility import digest_of
from filestack_tags.db.bulk_statements import among
from filestack_tags.db.transactions import alias
from filestack_tags.models import Asset, AssetTag, BulkJob, BulkJobPart
from filestack_tags.search.visible_tags import visible_asset_tags

COLUMNS = (
    *("id", "kind", "reference", "filename", "type", "size", "width", "height"),
    *("uploaded_at", "state", "tagged_at", "tags"),
)
"""The columns of a CSV, and the keys of a JSON line."""

READ = (
    *("pk", "kind", "reference", "filename", "mimetype", "size", "width", "height"),
    *("uploaded_at", "tagging_state", "tags_at"),
)

_FORMULA = re.compile(r"""(^|[,;|\t\r\n\v\f\x85\u2028\u2029])(?=[\s"']*[=+\-@＝＋－＠])""")
"""Where a text would start a cell that a spreadsheet executes, whatever the separator."""

_OPERATORS = frozenset("=+-@＝＋－＠")
"""Of these, any formula begins with one."""

_STARTS_CELL = ("\t", "\r", "\n")

_PLAIN_NAME = re.compile(r"[^\W_][^\"\\,;|\s]*(?: [^\"\\,;|\s=+@-][^\"\\,;|\s]*)*")
"""Names that are written unchanged into the tags cell; others are JSON strings there."""

_ESCAPED = {char: f"\\u{ord(char):04x}" for char in (*",;|", *_OPERATORS)}

BOM = "\ufeff"

CSV = ("csv", "csv-bom")
"""CSV formats; the second begins with a byte order mark, so that Excel detects UTF-8."""

CONTENT_TYPES = {
    **dict.fromkeys(CSV, "text/csv; charset=utf-8"),
    "jsonl": "application/jsonl; charset=utf-8",
}

SOURCES = {int(source): source.name.lower() for source in AssetTag.Source}
DECISIONS = {int(decision): decision.name.lower() for decision in AssetTag.Decision}


def add_part(job: BulkJob, asset_ids: Sequence[int]) -> set[int]:
    """Write the next part of an export; return the assets in it.

    Call it in the transaction of a batch. Assets that were archived meanwhile are left out.
    """
    rows = list(_rows(asset_ids))
    parts = BulkJobPart.objects.using(alias()).filter(job=job)
    last = parts.aggregate(last=Max("number"))["last"]
    number = 0 if last is None else last + 1
    kind = job.parameters["format"]
    write = _csv if kind in CSV else _json_lines
    text = write(rows, with_header=number == 0)
    if kind == "csv-bom" and number == 0:
        text = BOM + text
    parts.create(job=job, number=number, data=zlib.compress(text.encode()))
    return {row["id"] for row in rows}


def is_in_scope(job: BulkJob, user: Any) -> bool:
    """Whether ``user`` may read an export, given the scope of the job.

    True for users without a scope, and if the user's scope equals the job's when it was created:
    assets that were in scope then may not be in scope now.
    """
    return digest_of(user) in ("", job.scope_digest)


def read_parts(job: BulkJob) -> Iterator[bytes]:
    """Yield the file in parts; nothing if it has expired."""
    parts = BulkJobPart.objects.using(alias()).filter(job=job)
    number = -1
    # One statement for each part, since MySQL's driver would load all parts at once.
    while part := parts.filter(number__gt=number).order_by("number").first():
        number = part.number
        yield zlib.decompress(bytes(part.data))


def download(job: BulkJob) -> StreamingHttpResponse:
    """Return the file of an export as a response that is not cached."""
    kind = job.parameters["format"]
    response = StreamingHttpResponse(read_parts(job), content_type=CONTENT_TYPES[kind])
    name = f"assets-{job.pk}.{kind.partition('-')[0]}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "private, no-store"
    patch_vary_headers(response, ("Authorization", "Cookie"))
    return response


def safe_cell(value: Any) -> Any:
    """Return a value that no spreadsheet interprets as a formula, whatever separates its cells.

    Text gets an apostrophe wherever a cell with a formula would start, if it were split at a comma,
    a semicolon, a bar, a tab or a line break.
    """
    if not isinstance(value, str):
        return value
    safe = value if _OPERATORS.isdisjoint(value) else _FORMULA.sub(r"\1'", value)
    return f"'{safe}" if safe.startswith(_STARTS_CELL) else safe


def tags_cell(tags: Iterable[tuple[str, int]]) -> str:
    """Return tags as one cell: ``sky 97; "black\\u003bwhite" 61``.

    Each tag is its name, a space and its confidence. A name that could be misread is a JSON
    string, in which separators and the beginnings of formulas are escaped.
    """
    return "; ".join(f"{_cell_name(name)} {confidence}" for name, confidence in tags)


@lru_cache(maxsize=10_000)
def _cell_name(name: str) -> str:
    if _PLAIN_NAME.fullmatch(name):
        return name
    text = json.dumps(name, ensure_ascii=False)
    return "".join(_ESCAPED.get(char, char) for char in text)


def _rows(asset_ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    database = alias()
    asset_tags = AssetTag.objects.using(database).filter(among("asset_id", asset_ids))
    columns = ("asset_id", "tag__name", "confidence", "source", "decision")
    tags: defaultdict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for asset_id, *tag in (
        visible_asset_tags(asset_tags).order_by("-confidence", "tag__key").values_list(*columns)
    ):
        tags[asset_id].append(tuple(tag))
    present = Asset.objects.using(database).present().filter(among("pk", asset_ids))
    for values in present.order_by("-pk").values_list(*READ):
        yield dict(zip(COLUMNS, (*map(_plain, values), tags[values[0]]), strict=True))


def _plain(value: Any) -> Any:
    if not isinstance(value, datetime):
        return value
    moment = value.astimezone(timezone.get_default_timezone()) if value.tzinfo else value
    return moment.isoformat(timespec="seconds")


def _csv(rows: Sequence[dict[str, Any]], *, with_header: bool) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    if with_header:
        writer.writerow(COLUMNS)
    for row in rows:
        cells = [safe_cell(value) for name, value in row.items() if name != "tags"]
        writer.writerow(
            [*cells, tags_cell((name, confidence) for name, confidence, *_ in row["tags"])]
        )
    return out.getvalue()


def _json_lines(rows: Sequence[dict[str, Any]], *, with_header: bool) -> str:
    return "".join(
        json.dumps(row | {"tags": [*map(_tag, row["tags"])]}, ensure_ascii=False) + "\n"
        for row in rows
    )


def _tag(tag: tuple[Any, ...]) -> dict[str, Any]:
    name, confidence, source, decision = tag
    return {
        "name": name,
        "confidence": confidence,
        "source": SOURCES[source],
        "decision": DECISIONS[decision],
    }
