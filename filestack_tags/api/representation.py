"""Load assets for the API, one or a page: two statements, plain dicts.

A page is fifty assets with a thousand tags. As instances and serializer fields they cost ten times
as much as reading them. So the statements select just the columns that are shown, no queryset is
compiled for a page, and rows are converted directly to the response.
"""

# ruff: noqa: S608  # names of tables and columns are put in, values never are

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models import QuerySet
from django.utils import timezone
from rest_framework import serializers

from filestack_tags.assets.sensitive import exists_in_sql, withheld
from filestack_tags.conf import get_settings
from filestack_tags.db import prepared_statements
from filestack_tags.db.datetimes import read_times_in_c
from filestack_tags.models import Asset, AssetTag
from filestack_tags.search.hydration import sooner
from filestack_tags.search.tables import Tables

from .fields import EnumName

Row = Sequence[Any]
Moment = Callable[[datetime | None], datetime | None]

SOURCES = {int(source): source.name.lower() for source in AssetTag.Source}
DECISIONS = {int(decision): decision.name.lower() for decision in AssetTag.Decision}

BY_KEY, BY_CONFIDENCE = itemgetter("key"), itemgetter("confidence")


class VisibleTagSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(source="tag.name")
    key = serializers.CharField(source="tag.key")
    confidence = serializers.IntegerField(min_value=0, max_value=100)
    source = EnumName(AssetTag.Source)  # type: ignore[assignment]  # a field, as DRF allows
    decision = EnumName(AssetTag.Decision)


class TaggingSerializer(serializers.Serializer[Any]):
    state = serializers.ChoiceField(Asset.State.choices, source="tagging_state")
    attempts = serializers.IntegerField(min_value=0)
    last_error = serializers.CharField(allow_blank=True)
    tagged_at = serializers.DateTimeField(source="tags_at", allow_null=True)
    stale = serializers.BooleanField(source="tags_are_stale")


class AssetSerializer(serializers.Serializer[Any]):
    """The form of an asset in the API. Members are absent only if ``fields`` selects others."""

    id = serializers.IntegerField(min_value=0, required=False)
    kind = serializers.ChoiceField(Asset.Kind.choices, required=False)
    reference = serializers.CharField(required=False)
    filename = serializers.CharField(allow_blank=True, required=False)
    mimetype = serializers.CharField(allow_blank=True, required=False)
    size = serializers.IntegerField(min_value=0, allow_null=True, required=False)
    width = serializers.IntegerField(min_value=0, allow_null=True, required=False)
    height = serializers.IntegerField(min_value=0, allow_null=True, required=False)
    container = serializers.CharField(allow_blank=True, required=False)
    key = serializers.CharField(allow_blank=True, required=False)
    store_status = serializers.CharField(allow_blank=True, required=False)
    upload_tags = serializers.DictField(required=False)
    uploader = serializers.CharField(
        source="uploader.get_username", default=None, allow_null=True
    )
    uploaded_at = serializers.DateTimeField(required=False)
    content_version = serializers.IntegerField(min_value=0, required=False)
    created_at = serializers.DateTimeField(required=False)
    changed_at = serializers.DateTimeField(required=False)
    tagging = TaggingSerializer(source="*", required=False)
    tags = VisibleTagSerializer(source="visible_tags", many=True, required=False)


FIELDS = tuple(AssetSerializer().fields)
"""The members of an asset, in this order."""


def describe(
    ids: Sequence[int], using: str, fields: Collection[str] | None = None
) -> list[dict[str, Any]]:
    """Return the present assets with these ids in the form of the API, in this order.

    Takes two queries, however many assets there are, and one without tags. An asset that was
    archived meanwhile is missing.

    Args:
        ids: of the assets.
        using: alias of the database.
        fields: which of :data:`FIELDS` to show; all, if None.
    """
    if not ids:
        return []
    # Sequential, which is faster if the database has to wake up.
    assets = _assets(ids, using)
    needs_tags = fields is None or "tags" in fields
    tags = _tags(ids, using) if needs_tags else defaultdict(list)
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
            "stale": 0 < tags_version < content_version,  # same as Asset.tags_are_stale
        },
        "tags": tags,
    }


def _tags(ids: Iterable[int], using: str) -> defaultdict[int, list[dict[str, Any]]]:
    """Return the visible tags by asset, most confident first.

    The rule of visibility is that of ``search.visible.visible_asset_tags``. With that queryset,
    databases read all existing tags for the tags of a page; here each is looked up by its id.
    """
    key_column = connections[using].ops.quote_name("key")
    rule = (
        "r.decision <> 2 AND (r.decision IN (1, 3)"
        " OR r.confidence >= COALESCE(t.min_confidence, %s))"
    )
    kept = withheld(using)
    if kept:
        rule += f" AND {exists_in_sql(kept, 'r')}"
    wanted, parameters = prepared_statements.among("r.asset_id", ids, using)
    with prepared_statements.cursor(using) as cursor:
        cursor.execute(
            f"SELECT r.asset_id, t.name, t.{key_column}, r.confidence, r.source, r.decision"
            f" FROM {Tables(using).asset_tag} r {_joined_tag(using)}"
            f" WHERE {rule} AND {wanted}",
            (get_settings().MIN_CONFIDENCE, *parameters),
        )
        rows = cursor.fetchall()
    found: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for asset_id, name, key, confidence, source, decision in rows:
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


def _joined_tag(using: str) -> str:
    """Return the join of asset tags ``r`` with their tags ``t``, looked up one by one."""
    table, own = Tables(using).tag, "t.id = r.tag_id AND t.hidden = FALSE"
    vendor = connections[using].vendor
    if vendor == "postgresql":
        return f"CROSS JOIN LATERAL (SELECT t.* FROM {table} t WHERE {own} OFFSET 0) t"
    return f"{'STRAIGHT_JOIN' if vendor == 'mysql' else 'CROSS JOIN'} {table} t ON {own}"


def _local() -> Moment:
    """Return a converter of times to the request's time zone, as serializer fields use."""
    if not settings.USE_TZ:
        return lambda value: value
    zone = timezone.get_current_timezone()
    return lambda value: value.astimezone(zone) if value else None


class _Statement(NamedTuple):
    """A statement that is completed with ids, and the converters for its rows."""

    sql: str
    params: tuple[Any, ...]
    converters: tuple[tuple[int, Any, tuple[Callable[..., Any], ...]], ...]


def _assets(ids: Iterable[int], using: str) -> Sequence[Row]:
    statement = _statement(using)
    connection = connections[using]
    wanted, parameters = prepared_statements.among(f"{Tables(using).asset}.id", ids, using)
    with prepared_statements.cursor(using) as cursor:
        if settings.USE_TZ:
            # Whatever their time zone, they are shown in that of the request.
            read_times_in_c(cursor)
        cursor.execute(f"{statement.sql} AND {wanted}", (*statement.params, *parameters))
        rows = [list(row) for row in cursor.fetchall()]
    for index, expression, converts in statement.converters:
        for values in rows:
            for convert in converts:
                values[index] = convert(values[index], expression, connection)
    return rows


@lru_cache
def _statement(using: str) -> _Statement:
    rows = _shown_assets()
    compiler = rows.order_by().query.get_compiler(using)
    sql, params = compiler.as_sql()
    converters = compiler.get_converters(each for each, *_ in compiler.select)
    return _Statement(
        sql,
        tuple(params),
        tuple(
            (index, expression, sooner(expression.output_field, converts))
            for index, (converts, expression) in converters.items()
        ),
    )


def _shown_assets() -> QuerySet[Any]:
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
