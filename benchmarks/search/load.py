"""Fill a scratch database fast: the app's own tables, from its migrations, and the peers'.

Rows are inserted with ``COPY`` on PostgreSQL and in large batches elsewhere. Secondary indexes of
the app's largest table are created afterwards, as for any bulk import.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection, models, transaction
from numpy.typing import NDArray

from filestack_tags.models import Asset, AssetTag, Tag, TaggingRun
from filestack_tags.search.statistics import refresh

from .data import ADDED, NO_ROW, Library, is_archived, is_untagged
from .designs.models import (
    JsonPicture,
    NaivePicture,
    NaivePictureTag,
    NaiveTag,
    TaggitItem,
    TaggitPicture,
    TaggitTag,
    peers,
)

MOMENT = "2026-01-01 00:00:00"
FIRST, YEARS = datetime(2023, 1, 1, tzinfo=UTC), timedelta(days=3 * 365)
"""When the first asset was uploaded, and how long before the last one."""
USERS = 20
TYPES = {"audio/mpeg": 2003, "video/mp4": 101, "application/pdf": 53, "image/png": 10}
"""Types other than JPEG: one of so many assets has each."""
CHUNK = 50_000
"""Assets at once."""
WIDTHS = {"bigint": ">i8", "integer": ">i4", "smallint": ">i2"}
Column = NDArray[Any] | int


def load(library: Library, *, with_peers: bool = True) -> None:
    """Migrate the empty database, fill it, and bring its statistics up to date."""
    call_command("migrate", verbosity=0)
    call_command("migrate", run_syncdb=True, verbosity=0)  # the peers refer to tables of others
    _fill_app(library)
    settle()  # an index-only count requires a vacuumed table
    refresh()
    if with_peers:
        _fill_peers(library)
    settle()


def settle() -> None:
    """Vacuum and analyze the database, as its own maintenance does after an import."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("CHECKPOINT")
        elif connection.vendor == "sqlite":
            cursor.execute("ANALYZE")
        else:
            tables = ", ".join(connection.introspection.table_names(cursor))
            cursor.execute(f"ANALYZE TABLE {tables}")
            cursor.fetchall()


def asset_row(pk: int) -> dict[str, Any]:
    """Return the columns of an asset, all those without a database default."""
    reference = f"handle{pk:014d}"
    return {
        "id": pk,
        "kind": "handle",
        "reference": reference,
        "digest": hashlib.sha256(f"handle:{reference}".encode()).hexdigest(),
        "filename": f"IMG_{pk:07d}.jpg",
        "mimetype": "image/jpeg",
        "size": 100_000 + pk * 7919 % 9_000_000,
        "width": 4000,
        "height": 3000,
        "container": "photos",
        "key": f"photos/{reference}.jpg",
        "store_status": "Stored",
        "upload_tags": "{}",
        "uploaded_at": MOMENT,
        "content_version": 1,
        "tagging_state": "tagged",
        "attempts": 0,
        "queued_by": "",
        "queued_for": "",
        "error": "",
        "error_code": "",
        "tags_version": 1,
        "tags_at": MOMENT,
        "created_at": MOMENT,
        "updated_at": MOMENT,
    }


def varied_row(pk: int, assets: int) -> dict[str, Any]:
    """Return the columns of the asset ``pk`` of a library of ``assets``, as different as in use.

    One asset in a hundred failed, the types are :data:`TYPES`, and the assets were uploaded one
    after the other over :data:`YEARS`.
    """
    moment = str(FIRST + YEARS * pk / assets)
    failed = pk % 100 == 1
    return asset_row(pk) | {
        "mimetype": next(
            (kind for kind, one_of in TYPES.items() if pk % one_of == 0), "image/jpeg"
        ),
        "uploader_id": 1 + pk * 7 % 97 % (USERS - 1) if pk % 3 else None,
        "uploaded_at": moment,
        "created_at": moment,
        "tags_at": None if is_untagged(pk) else moment,
        "tags_version": 0 if is_untagged(pk) else 1,
        "current_run_id": None if is_untagged(pk) else pk,
        "tagging_state": "failed" if failed else "new" if is_untagged(pk) else "tagged",
        "error_code": ("file_not_found" if pk % 1000 == 1 else "rate_limited") * failed,
        "deleted_at": moment if is_archived(pk) else None,
    }


def run_row(pk: int) -> dict[str, Any]:
    """Return the columns of the run of the asset ``pk``."""
    return {
        "id": pk,
        "asset_id": pk,
        "tagger": "local" if pk % 5000 == 17 else "filestack",
        "version": 1 if pk % 300 == 5 else 2,
        "trigger": "upload",
        "state": "failed" if pk % 1000 == 0 else "succeeded",
        "content_version": 1,
        "workflow_id": "workflow" if pk % 900 == 7 else "",
        "rule_results": "{}",
        "raw_reply": "{}",
        "error_code": "",
        "error": "",
        "notes": "",
        "started_at": MOMENT,
        "finished_at": MOMENT,
    }


def _fill_app(library: Library) -> None:
    user: Any = get_user_model()
    user.objects.bulk_create(user(pk=pk, username=f"user{pk}") for pk in range(1, USERS + 1))
    _advance_sequence(user)
    ids = range(1, library.assets + 1)
    if library.is_varied:
        copy_rows(Asset, (varied_row(pk, library.assets) for pk in ids))
        copy_rows(TaggingRun, map(run_row, ids))
    else:
        copy_rows(Asset, map(asset_row, ids))
    found = library.scores.ravel() >= 0
    counts = np.bincount(library.tags.ravel()[found], minlength=len(library.names) + 1)
    copy_rows(
        Tag,
        (
            {"id": n, "key": name, "name": name, "hidden": False, "asset_count": int(counts[n])}
            for n, name in enumerate(library.names, 1)
        ),
    )
    with _without_indexes(AssetTag):
        for rows in _chunks(library, least=-1):
            columns: dict[str, Column] = {
                "asset_id": rows.assets,
                "tag_id": rows.tags,
                "confidence": rows.confidences,
                "score": rows.scores,
                "source": (rows.decisions == ADDED).astype(np.int8),
                "decision": rows.decisions,
            }
            copy_columns(AssetTag, columns)


def _fill_peers(library: Library) -> None:
    if JsonPicture in peers():
        with _without_indexes(JsonPicture):
            copy_rows(JsonPicture, _json_rows(library))
    for model in (NaivePicture, TaggitPicture):
        copy_rows(model, map(_picture_row, range(1, library.assets + 1)))
    names = list(enumerate(library.names, 1))
    copy_rows(NaiveTag, ({"id": n, "name": name} for n, name in names))
    copy_rows(TaggitTag, ({"id": n, "name": name, "slug": name} for n, name in names))
    content_type = ContentType.objects.get_for_model(TaggitPicture).pk
    done = 0
    for rows in _chunks(library, least=0):
        common: dict[str, Column] = {
            "id": np.arange(len(rows.tags)) + done + 1,
            "tag_id": rows.tags,
            "confidence": rows.confidences,
        }
        done += len(rows.tags)
        copy_columns(NaivePictureTag, {**common, "picture_id": rows.assets})
        generic: dict[str, Column] = {"object_id": rows.assets, "content_type_id": content_type}
        copy_columns(TaggitItem, common | generic)


def _picture_row(pk: int) -> dict[str, Any]:
    row = asset_row(pk)
    return {
        name: row[name]
        for name in ("id", "filename", "mimetype", "size", "width", "height", "uploaded_at")
    }


def _json_rows(library: Library) -> Iterator[dict[str, Any]]:
    names = library.names
    for number in range(library.assets):
        scores = zip(
            library.tags[number].tolist(), library.scores[number].tolist(), strict=True
        )
        held = {names[tag - 1]: score for tag, score in scores if score >= 0}
        yield _picture_row(number + 1) | {"tags": json.dumps(held)}


class Rows(NamedTuple):
    """Asset tags, as one array per column."""

    assets: NDArray[Any]
    tags: NDArray[Any]
    confidences: NDArray[Any]
    scores: NDArray[Any]
    decisions: NDArray[Any]


def _chunks(library: Library, *, least: int) -> Iterator[Rows]:
    """Yield the rows with a score of ``least`` or more, those of an asset in the order of tags."""
    assert least > NO_ROW
    for start in range(0, library.assets, CHUNK):
        part = slice(start, start + CHUNK)
        order = np.argsort(library.tags[part], axis=1)
        scores, tags, confidences, decisions = (
            np.take_along_axis(values[part], order, axis=1).ravel()
            for values in (
                library.scores,
                library.tags,
                library.confidences,
                library.decisions,
            )
        )
        assets = np.repeat(np.arange(start + 1, start + 1 + len(order)), order.shape[1])
        kept = scores >= least
        yield Rows(*(each[kept] for each in (assets, tags, confidences, scores, decisions)))


@contextmanager
def _without_indexes(model: type[models.Model]) -> Iterator[None]:
    with connection.schema_editor() as editor:
        for index in model._meta.indexes:
            editor.remove_index(model, index)
    yield
    with connection.schema_editor() as editor:
        for index in model._meta.indexes:
            editor.add_index(model, index)


@contextmanager
def _unchecked() -> Iterator[Any]:
    """Disable the check of every foreign key: the rows are consistent by construction."""
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute("SET LOCAL synchronous_commit = off")
        elif connection.vendor == "mysql":
            cursor.execute("SET foreign_key_checks = 0, unique_checks = 0")
        yield cursor


def copy_rows(model: type[models.Model], rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows given as dicts by column name."""
    table = connection.ops.quote_name(model._meta.db_table)
    rows = iter(rows)
    while batch := list(islice(rows, CHUNK)):
        names = list(batch[0])
        columns = ", ".join(connection.ops.quote_name(name) for name in names)
        with _unchecked() as cursor:
            if connection.vendor == "postgresql":
                with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                    for row in batch:
                        copy.write_row(list(row.values()))
            else:
                marks = ", ".join(["%s"] * len(names))
                cursor.executemany(
                    f"INSERT INTO {table} ({columns}) VALUES ({marks})",
                    [list(row.values()) for row in batch],
                )
    _advance_sequence(model)


def copy_columns(model: type[models.Model], columns: Mapping[str, Column]) -> None:
    """Insert rows given as one array of integers, or one number, per column."""
    length = max(len(values) for values in columns.values() if not isinstance(values, int))
    if connection.vendor != "postgresql":
        lists = [np.broadcast_to(values, length).tolist() for values in columns.values()]
        copy_rows(
            model, (dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True))
        )
        return
    fields = {field.column: field for field in model._meta.concrete_fields}
    types = {name: WIDTHS[fields[name].rel_db_type(connection)] for name in columns}
    layout: list[tuple[str, str]] = [("fields", ">i2")]
    for name, width in types.items():
        layout += [(f"{name} length", ">i4"), (name, width)]
    records = np.empty(length, dtype=layout)
    records["fields"] = len(columns)
    for name, values in columns.items():
        records[f"{name} length"] = np.dtype(types[name]).itemsize
        records[name] = values
    named = ", ".join(columns)
    with _unchecked() as cursor:
        statement = f"COPY {model._meta.db_table} ({named}) FROM STDIN (FORMAT binary)"
        with cursor.copy(statement) as copy:
            copy.write(b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0))
            copy.write(records.tobytes())
            copy.write(struct.pack(">h", -1))
    _advance_sequence(model)


def _advance_sequence(model: type[models.Model]) -> None:
    if connection.vendor == "postgresql" and isinstance(model._meta.pk, models.AutoField):
        with connection.cursor() as cursor:
            table, column = model._meta.db_table, model._meta.pk.column
            cursor.execute(
                f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), max({column})) "
                f"FROM {table}"
            )
