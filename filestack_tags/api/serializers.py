"""What the API shows of an asset and a tag, and what it takes to register a file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.utils.translation import gettext as _
from rest_framework import serializers

from filestack_tags.exceptions import InvalidReference
from filestack_tags.filestack.calls import (
    MAX_UPLOAD_TAG_KEY,
    MAX_UPLOAD_TAG_VALUE,
    MAX_UPLOAD_TAGS,
)
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, AssetTag, Tag
from filestack_tags.search.planner import visible_asset_tags

FORMS: tuple[tuple[set[str], set[str]], ...] = (
    ({"reference"}, {"kind"}),
    ({"handle"}, set()),
    ({"url"}, set()),
    ({"alias", "path"}, set()),
)


class AssetSerializer(serializers.ModelSerializer[Asset]):
    """An asset. ``context["tags"]`` holds its tags, as :func:`tags_of` returns them."""

    uploader = serializers.SerializerMethodField()
    tagging = serializers.SerializerMethodField()
    tags = serializers.SerializerMethodField()
    uploaded_at = serializers.DateTimeField(format="iso-8601")
    created_at = serializers.DateTimeField(format="iso-8601")
    changed_at = serializers.DateTimeField(format="iso-8601")

    class Meta:
        model = Asset
        fields = (
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
            "uploader",
            "uploaded_at",
            "content_version",
            "created_at",
            "changed_at",
            "tagging",
            "tags",
        )
        read_only_fields = fields

    def get_uploader(self, asset: Asset) -> str | None:
        return asset.uploader.get_username() if asset.uploader else None

    def get_tagging(self, asset: Asset) -> dict[str, Any]:
        moment = serializers.DateTimeField(format="iso-8601").to_representation
        return {
            "state": asset.tagging_state,
            "attempts": asset.attempts,
            "last_error": asset.last_error,
            "tagged_at": moment(asset.tags_at) if asset.tags_at else None,
            "stale": asset.tags_are_stale,
        }

    def get_tags(self, asset: Asset) -> list[dict[str, Any]]:
        tags: list[dict[str, Any]] = self.context["tags"].get(asset.pk, [])
        return tags


class TagSerializer(serializers.ModelSerializer[Tag]):
    aliases = serializers.SlugRelatedField(slug_field="key", many=True, read_only=True)  # type: ignore[var-annotated]  # generic in stubs only

    class Meta:
        model = Tag
        fields = ("key", "name", "asset_count", "min_confidence", "aliases")
        read_only_fields = fields


class RegisterSerializer(serializers.Serializer[Asset]):
    """A file to register, said in exactly one of four ways; see :data:`FORMS`."""

    kind = serializers.ChoiceField(choices=Asset.Kind.choices, required=False)
    reference = serializers.CharField(required=False)
    handle = serializers.CharField(required=False)
    url = serializers.CharField(required=False)
    alias = serializers.CharField(required=False)
    path = serializers.CharField(required=False, trim_whitespace=False)
    filename = serializers.CharField(required=False, allow_blank=True, max_length=1024)
    mimetype = serializers.CharField(required=False, allow_blank=True, max_length=255)
    upload_tags = serializers.DictField(
        child=serializers.CharField(
            allow_blank=True, trim_whitespace=False, max_length=MAX_UPLOAD_TAG_VALUE
        ),
        required=False,
    )
    tag = serializers.BooleanField(required=False, allow_null=True, default=None)

    def validate_upload_tags(self, value: dict[str, str]) -> dict[str, str]:
        # docs: Uploading, upload tags
        if len(value) > MAX_UPLOAD_TAGS:
            raise serializers.ValidationError(
                _("A file has at most %(limit)d upload tags.") % {"limit": MAX_UPLOAD_TAGS}
            )
        if any(len(key) > MAX_UPLOAD_TAG_KEY for key in value):
            raise serializers.ValidationError(
                _("The key of an upload tag has at most %(limit)d characters.")
                % {"limit": MAX_UPLOAD_TAG_KEY}
            )
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(str(name) for name in self.initial_data.keys() - self.fields.keys())
        if unknown:
            raise serializers.ValidationError(
                {name: _("There is no such field.") for name in unknown}
            )
        return {**attrs, "source": _source(attrs)}


def _source(attrs: dict[str, Any]) -> Source:
    given = attrs.keys() & {"kind", "reference", "handle", "url", "alias", "path"}
    if not any(needed <= given <= needed | optional for needed, optional in FORMS):
        raise serializers.ValidationError(
            {
                "reference": _(
                    "Name the file by exactly one of: reference (with or without kind), "
                    "handle, url, or alias and path."
                )
            }
        )
    field = next(name for name in ("reference", "handle", "url", "path") if name in given)
    try:
        if "alias" in given:
            return Source.alias(attrs["alias"], attrs["path"])
        if "kind" in given:
            return Source.of(attrs["kind"], attrs["reference"])
        if field == "reference":
            return Source.parse(attrs["reference"])
        return Source.of(field, attrs[field])
    except InvalidReference as error:
        raise serializers.ValidationError({field: str(error)}) from error


def tags_of(assets: Iterable[Asset]) -> dict[int, list[dict[str, Any]]]:
    """Return the visible tags of assets, by asset id, most confident first. One query."""
    rows = visible_asset_tags(AssetTag.objects.filter(asset__in=[asset.pk for asset in assets]))
    tags: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for asset_id, name, key, confidence, source, decision in rows.order_by(
        "-confidence", "tag__key"
    ).values_list("asset_id", "tag__name", "tag__key", "confidence", "source", "decision"):
        tags[asset_id].append(
            {
                "name": name,
                "key": key,
                "confidence": confidence,
                "source": AssetTag.Source(source).name.lower(),
                "decision": AssetTag.Decision(decision).name.lower(),
            }
        )
    return tags
