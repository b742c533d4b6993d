"""Assets in the form of the API: the serializer, a fast way to make the same, and JSON.

:class:`AssetSerializer` defines the form. :func:`describe` makes the same dicts from the columns of
two queries, without instances and fields; ``tests/api/test_representation.py`` compares the two.
With it and orjson, a page of fifty assets with a thousand tags takes 8 ms of CPU time; with nested
model serializers, as in ``benchmarks/search/designs/stock_drf.py``, 65 ms. ``make bench-search``
compares the whole requests.
"""

# ruff: noqa: S608  # names of tables and columns are put in, values never are

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from importlib import import_module
from operator import itemgetter
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models import F
from django.utils import timezone
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.utils.encoders import JSONEncoder

from filestack_tags.assets.sensitive import confirmed, is_approved_in_sql, unapproved_ids
from filestack_tags.conf import get_settings
from filestack_tags.db import prepared_statements
from filestack_tags.models import Asset, AssetTag
from filestack_tags.search.tables import Tables

from .fields import EnumName

orjson: Any
try:
    orjson = import_module("orjson")
except ImportError:  # the extra "fast" is not installed
    orjson = None

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
    error = serializers.CharField(allow_blank=True)
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
    updated_at = serializers.DateTimeField(required=False)
    tagging = TaggingSerializer(source="*", required=False)
    tags = VisibleTagSerializer(source="visible_tags", many=True, required=False)


FIELDS = tuple(AssetSerializer().fields)
"""The members of an asset, in this order."""
COLUMNS = tuple(name for name in FIELDS if name not in ("uploader", "tagging", "tags"))
"""The members that are columns of the same name."""
TIMES = ("uploaded_at", "created_at", "updated_at")
TAGGING = ("tagging_state", "attempts", "error", "tags_at", "tags_version")


def describe(
    ids: Sequence[int], using: str, fields: Collection[str] | None = None
) -> list[dict[str, Any]]:
    """Return the present assets with these ids in the form of the API, in this order.

    Takes two queries, however many assets there are, and one without tags. An asset that was
    archived meanwhile is missing.

    Args:
        ids: of the assets.
        using: alias of the database.
        fields: which of :data:`FIELDS` to return; all, if None.
    """
    if not ids:
        return []
    names = [name for name in FIELDS if fields is None or name in fields]
    rows = Asset.objects.using(using).present().filter(pk__in=ids).order_by()
    username = F(f"uploader__{get_user_model().USERNAME_FIELD}")
    assets = list(rows.values(*COLUMNS, *TAGGING, username=username))
    # After the other query: a database that has to wake up answers both faster then.
    tags = _tags(ids, using) if "tags" in names else defaultdict(list)
    local = _to_local_time()
    by_id = {row["id"]: _asset(row, tags[row["id"]], local, names) for row in assets}
    return [by_id[pk] for pk in ids if pk in by_id]


def _asset(
    row: Mapping[str, Any],
    tags: list[dict[str, Any]],
    local: Callable[[datetime | None], datetime | None],
    names: Iterable[str],
) -> dict[str, Any]:
    members = {
        **row,
        "uploader": row["username"],
        "tagging": {
            "state": row["tagging_state"],
            "attempts": row["attempts"],
            "error": row["error"],
            "tagged_at": local(row["tags_at"]),
            # The same as Asset.tags_are_stale.
            "stale": 0 < row["tags_version"] < row["content_version"],
        },
        "tags": tags,
    }
    for name in TIMES:
        members[name] = local(row[name])
    return {name: members[name] for name in names}


def _tags(ids: Iterable[int], using: str) -> defaultdict[int, list[dict[str, Any]]]:
    """Return the visible tags by asset, most confident first.

    The rule of visibility is that of ``search.visible_tags.visible_asset_tags``. With that
    queryset, databases read all existing tags for the tags of a page; here each is looked up by its
    id.
    """
    key_column = connections[using].ops.quote_name("key")
    rule = (
        f"r.decision <> {int(AssetTag.Decision.REJECTED)} AND ({confirmed('r')}"
        " OR r.confidence >= COALESCE(t.min_confidence, %s))"
    )
    if sensitive := unapproved_ids(using):
        rule += f" AND {is_approved_in_sql(sensitive, 'r')}"
    condition, parameters = prepared_statements.among("r.asset_id", ids, using)
    with prepared_statements.cursor(using) as cursor:
        cursor.execute(
            f"SELECT r.asset_id, t.name, t.{key_column}, r.confidence, r.source, r.decision"
            f" FROM {Tables(using).asset_tag} r {_joined_tag(using)}"
            f" WHERE {rule} AND {condition}",
            (get_settings().MIN_CONFIDENCE, *parameters),
        )
        rows = cursor.fetchall()
    tags: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for asset_id, name, key, confidence, source, decision in rows:
        tags[asset_id].append(
            {
                "name": name,
                "key": key,
                "confidence": confidence,
                "source": SOURCES[source],
                "decision": DECISIONS[decision],
            }
        )
    for tags_of_asset in tags.values():
        tags_of_asset.sort(key=BY_KEY)
        tags_of_asset.sort(key=BY_CONFIDENCE, reverse=True)
    return tags


def _joined_tag(using: str) -> str:
    """Return the join of asset tags ``r`` with their tags ``t``, looked up one by one."""
    table, own = Tables(using).tag, "t.id = r.tag_id AND t.hidden = FALSE"
    vendor = connections[using].vendor
    if vendor == "postgresql":
        return f"CROSS JOIN LATERAL (SELECT t.* FROM {table} t WHERE {own} OFFSET 0) t"
    return f"{'STRAIGHT_JOIN' if vendor == 'mysql' else 'CROSS JOIN'} {table} t ON {own}"


def _to_local_time() -> Callable[[datetime | None], datetime | None]:
    """Return a converter of times to the request's time zone, as serializer fields use."""
    if not settings.USE_TZ:
        return lambda value: value
    zone = timezone.get_current_timezone()
    return lambda value: value.astimezone(zone) if value else None


_encode = JSONEncoder().default


class JSON(JSONRenderer):
    """Return what :class:`JSONRenderer` would, faster, and whatever the host's settings are."""

    compact = True
    ensure_ascii = False
    strict = True

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        if orjson is not None and data is not None:
            # orjson rejects integers beyond 64 bits and keys that are not strings; json accepts
            # them.
            with suppress(TypeError):
                content: bytes = orjson.dumps(data, _encode, orjson.OPT_UTC_Z)
                return content
        text: bytes = super().render(data, accepted_media_type, renderer_context)
        return text
