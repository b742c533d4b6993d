"""What the API shows of assets, for a page and for one alike: three statements, plain dicts.

A page is fifty assets with a thousand tags. As instances and serializer fields they cost ten
times what reading them does, so the statements hold just the columns that are shown, are written
once and not per page, and their rows become what is sent without anything in between.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models import QuerySet
from django.utils import timezone

from filestack_tags import prepared
from filestack_tags.clock import read_times_in_c
from filestack_tags.conf import get_settings
from filestack_tags.models import Asset, AssetTag, Tag
from filestack_tags.search.instances import sooner
from filestack_tags.search.withheld import withheld

Row = Sequence[Any]
Moment = Callable[[datetime | None], datetime | None]

SOURCES = {int(source): source.name.lower() for source in AssetTag.Source}
DECISIONS = {int(decision): decision.name.lower() for decision in AssetTag.Decision}
SHOWN_AT_ANY_CONFIDENCE = frozenset({AssetTag.Decision.ACCEPTED, AssetTag.Decision.ADDED})

BY_KEY, BY_CONFIDENCE = itemgetter("key"), itemgetter("confidence")


FIELDS = (
    *("id", "kind", "reference", "filename", "mimetype", "size", "width", "height"),
    *("container", "key", "store_status", "upload_tags", "uploader", "uploaded_at"),
    *("content_version", "created_at", "changed_at", "tagging", "tags"),
)
"""What is shown of an asset, in this order."""


def describe(
    ids: Sequence[int], using: str, fields: Collection[str] | None = None
) -> list[dict[str, Any]]:
    """Return the present assets with these ids as the API shows them, in this order.

    Takes three queries, however many there are, and one without tags. One that was forgotten
    meanwhile is missing.

    Args:
        ids: of the assets.
        using: alias of the database.
        fields: which of :data:`FIELDS` to show; all, if None.
    """
    if not ids:
        return []
    # One after the other: a database that has to be woken up answers later.
    assets = _rows("assets", ids, using)
    needs_tags = fields is None or "tags" in fields
    asset_tags = _rows("asset_tags", ids, using) if needs_tags else ()
    tag_ids = {row[1] for row in asset_tags}
    labels = _rows("tags", tag_ids, using) if tag_ids else ()
    tags = _shown(asset_tags, labels, withheld(using))
    moment = _local()
    shown = {row[0]: _asset(row, tags[row[0]], moment) for row in assets}
    found = [shown[pk] for pk in ids if pk in shown]
    if fields is None:
        return found
    return [{name: asset[name] for name in FIELDS if name in fields} for asset in found]


def _asset(row: Row, tags: list[dict[str, Any]], moment: Moment) -> dict[str, Any]:
    (
        pk,
        kind,
        reference,
        filename,
        mimetype,
        size,
        width,
        height,
        container,
        key,
        store_status,
        upload_tags,
        uploaded_at,
        content_version,
        created_at,
        changed_at,
        tagging_state,
        attempts,
        last_error,
        tags_at,
        tags_version,
        uploader,
    ) = row
    return {
        "id": pk,
        "kind": kind,
        "reference": reference,
        "filename": filename,
        "mimetype": mimetype,
        "size": size,
        "width": width,
        "height": height,
        "container": container,
        "key": key,
        "store_status": store_status,
        "upload_tags": upload_tags,
        "uploader": uploader,
        "uploaded_at": moment(uploaded_at),
        "content_version": content_version,
        "created_at": moment(created_at),
        "changed_at": moment(changed_at),
        "tagging": {
            "state": tagging_state,
            "attempts": attempts,
            "last_error": last_error,
            "tagged_at": moment(tags_at),
            "stale": 0 < tags_version < content_version,  # as Asset.tags_are_stale
        },
        "tags": tags,
    }


def _shown(
    asset_tags: Iterable[Row], tags: Iterable[Row], withheld: frozenset[int]
) -> defaultdict[int, list[dict[str, Any]]]:
    """Return the visible tags by asset, most confident first.

    Which are visible is the rule of ``search.planner.visible_asset_tags``. It is followed here
    because asking for the tags by id takes half the time of a join, for which databases read
    all tags while they have no more than some ten thousand.
    """
    least = get_settings().MIN_CONFIDENCE
    labels = {
        pk: (key, name, least if minimum is None else minimum)
        for pk, key, name, minimum in tags
    }
    found: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for asset_id, tag_id, confidence, source, decision in asset_tags:
        if tag_id not in labels:
            continue
        key, name, minimum = labels[tag_id]
        sure = confidence >= minimum and tag_id not in withheld
        if sure or decision in SHOWN_AT_ANY_CONFIDENCE:
            found[asset_id].append(
                {
                    "name": name,
                    "key": key,
                    "confidence": confidence,
                    "source": SOURCES[source],
                    "decision": DECISIONS[decision],
                }
            )
    for shown in found.values():
        shown.sort(key=BY_KEY)
        shown.sort(key=BY_CONFIDENCE, reverse=True)
    return found


def _local() -> Moment:
    """Return what brings times into the time zone of this request, as serializer fields do."""
    if not settings.USE_TZ:
        return lambda value: value
    zone = timezone.get_current_timezone()
    return lambda value: value.astimezone(zone) if value else None


@dataclass(frozen=True, slots=True)
class _Statement:
    """A statement that goes on with ids, and what its values pass through."""

    sql: str
    params: tuple[Any, ...]
    column: str
    converters: tuple[tuple[int, Any, tuple[Callable[..., Any], ...]], ...]


def _rows(name: str, ids: Iterable[int], using: str) -> Sequence[Row]:
    statement = _statement(name, using)
    connection = connections[using]
    wanted, parameters = prepared.among(statement.column, ids, using)
    with prepared.cursor(using) as cursor:
        if settings.USE_TZ:
            # Whatever zone they come in, they are shown in that of the request.
            read_times_in_c(cursor)
        cursor.execute(f"{statement.sql} AND {wanted}", (*statement.params, *parameters))
        rows: Sequence[Row] = cursor.fetchall()
    if not statement.converters:
        return rows
    converted = [list(row) for row in rows]
    for index, expression, converts in statement.converters:
        for values in converted:
            for convert in converts:
                values[index] = convert(values[index], expression, connection)
    return converted


@lru_cache
def _statement(name: str, using: str) -> _Statement:
    rows: QuerySet[Any]
    if name == "assets":
        rows, column = _assets(), "id"
    elif name == "asset_tags":
        rows = AssetTag.objects.exclude(decision=AssetTag.Decision.REJECTED).values_list(
            "asset_id", "tag_id", "confidence", "source", "decision"
        )
        column = "asset_id"
    else:
        rows = Tag.objects.filter(hidden=False).values_list(
            "id", "key", "name", "min_confidence"
        )
        column = "id"
    connection = connections[using]
    compiler = rows.order_by().query.get_compiler(using)
    sql, params = compiler.as_sql()
    quote = connection.ops.quote_name
    converters = compiler.get_converters(each for each, *_ in compiler.select)
    return _Statement(
        sql,
        tuple(params),
        f"{quote(rows.model._meta.db_table)}.{quote(column)}",
        tuple(
            (index, expression, sooner(expression.output_field, converts))
            for index, (converts, expression) in converters.items()
        ),
    )


def _assets() -> QuerySet[Any]:
    return Asset.objects.present().values_list(
        "id",
        "kind",
        "reference",
        "filename",
        "mimetype",
        "size",
        "width",
        "height",
        "container",
        "key",
        "store_status",
        "upload_tags",
        "uploaded_at",
        "content_version",
        "created_at",
        "changed_at",
        "tagging_state",
        "attempts",
        "last_error",
        "tags_at",
        "tags_version",
        f"uploader__{get_user_model().USERNAME_FIELD}",
    )
