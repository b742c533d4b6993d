"""Serializers of tags, and the bodies of requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.http import QueryDict
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.fields import empty

from filestack_tags.assets.registry import Facts
from filestack_tags.conf import get_settings
from filestack_tags.exceptions import InvalidReference
from filestack_tags.filestack.calls import (
    MAX_UPLOAD_TAG_KEY,
    MAX_UPLOAD_TAG_VALUE,
    MAX_UPLOAD_TAGS,
)
from filestack_tags.filestack.hosts import require_public
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, AssetTag, Tag, TagDecision, TagMerge

from .fields import (
    Boolean,
    Choice,
    Confidence,
    Handle,
    Reference,
    StorageAlias,
    Strings,
    TagName,
    Text,
)

FORMS: tuple[tuple[set[str], set[str]], ...] = (
    ({"reference"}, {"kind"}),
    ({"handle"}, set()),
    ({"url"}, set()),
    ({"alias", "path"}, set()),
)


class TagSerializer(serializers.ModelSerializer[Tag]):
    asset_count = serializers.IntegerField(source="visible_assets", read_only=True)
    aliases = serializers.SlugRelatedField(slug_field="key", many=True, read_only=True)  # type: ignore[var-annotated]  # generic in stubs only

    class Meta:
        model = Tag
        fields = ("key", "name", "asset_count", "min_confidence", "hidden", "aliases")
        read_only_fields = fields

    def get_fields(self) -> dict[str, Any]:
        """Return the fields named by ``fields`` in the context."""
        fields, chosen = super().get_fields(), self.context.get("fields")
        return {name: each for name, each in fields.items() if chosen is None or name in chosen}


class DecisionSerializer(serializers.ModelSerializer[TagDecision]):
    """A decision, with the row before and after; null if there was no row."""

    asset = serializers.IntegerField(source="asset_id", read_only=True)
    tag = serializers.CharField(source="tag.key", default=None, allow_null=True, read_only=True)
    user = serializers.CharField(
        source="user.get_username", default=None, allow_null=True, read_only=True
    )
    undoes = serializers.IntegerField(source="undoes_id", allow_null=True, read_only=True)
    undone_by = serializers.IntegerField(
        source="undone_by.pk", default=None, allow_null=True, read_only=True
    )
    before = serializers.SerializerMethodField()
    after = serializers.SerializerMethodField()

    class Meta:
        model = TagDecision
        fields = (
            *("id", "asset", "tag", "act", "user", "at", "origin", "job"),
            *("before", "after", "undoes", "undone_by"),
        )
        read_only_fields = fields

    def get_before(self, decision: TagDecision) -> dict[str, Any] | None:
        return _said(decision.before_confidence, decision.before_decision)

    def get_after(self, decision: TagDecision) -> dict[str, Any] | None:
        return _said(decision.after_confidence, decision.after_decision)


class TagMergeSerializer(serializers.ModelSerializer[TagMerge]):
    """A merge: its tags, and its progress."""

    source = serializers.CharField(source="source_name", read_only=True)  # type: ignore[assignment]  # a field, as DRF allows
    target = serializers.CharField(source="target_name", read_only=True)

    class Meta:
        model = TagMerge
        fields = (
            *("id", "source", "target", "state", "error"),
            *("assets", "done", "both", "conflicts"),
            *("started_at", "changed_at"),
        )
        read_only_fields = fields


class Body(serializers.Serializer[Any]):
    """A body in which unknown fields are rejected, so that a misspelled one is not ignored."""

    constraints: ClassVar[Mapping[str, Any]] = {}
    """Keywords of JSON Schema for rules in :meth:`validate`."""

    def __init__(self, instance: Any = None, data: Any = empty, **options: Any) -> None:
        # REST framework turns an empty body with a form's content type into an empty form, and
        # interprets a missing checkbox as False.
        if isinstance(data, QueryDict):
            data = {}
        super().__init__(instance, data, **options)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(str(name) for name in self.initial_data.keys() - self.fields.keys())
        if unknown:
            raise serializers.ValidationError({name: _("Unknown field.") for name in unknown})
        return attrs


class AddTagSerializer(Body):
    """A tag to add by hand."""

    name = TagName()
    confidence = Confidence(required=False, default=100)


class DecideSerializer(Body):
    """A user's decision about a tag: accepted, rejected, or null to withdraw; or its confidence."""

    constraints: ClassVar = {
        "minProperties": 1,
        "dependentSchemas": {"confidence": {"properties": {"decision": {"const": "accepted"}}}},
    }

    decision = Choice(choices=["accepted", "rejected"], allow_null=True, required=False)
    confidence = Confidence(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs = super().validate(attrs)
        if not attrs:
            raise serializers.ValidationError(
                {"decision": _('Send "decision" or "confidence".')}
            )
        if "confidence" in attrs and attrs.get("decision", "accepted") != "accepted":
            raise serializers.ValidationError(
                {
                    "confidence": _(
                        "Setting a confidence accepts the tag: "
                        '"decision" must be "accepted" or absent.'
                    )
                }
            )
        return attrs


class ChangeTagSerializer(Body):
    """The changes of a tag."""

    name = TagName(required=False)
    hidden = Boolean(required=False)
    min_confidence = Confidence(required=False, allow_null=True)


class AliasSerializer(Body):
    """Another label for a tag."""

    name = TagName()


class MergeSerializer(Body):
    """The tag to merge into, by its name or an alias."""

    into = TagName()


def _without(*names: str) -> dict[str, Any]:
    """Return the JSON Schema of an object that has none of these members."""
    return {"properties": dict.fromkeys(names, False)}


class FactsSerializer(Body):
    """The facts that a client may set."""

    filename = Text(required=False, allow_blank=True, max_length=1024)
    mimetype = Text(required=False, allow_blank=True, max_length=255)
    upload_tags = Strings(  # docs: Uploading, upload tags
        max_keys=MAX_UPLOAD_TAGS,
        max_key_length=MAX_UPLOAD_TAG_KEY,
        max_value_length=MAX_UPLOAD_TAG_VALUE,
        required=False,
    )

    def facts(self) -> Facts:
        """Return the validated facts."""
        said = self.validated_data
        return Facts(
            filename=said.get("filename"),
            mimetype=said.get("mimetype"),
            upload_tags=said.get("upload_tags"),
        )


class RegisterSerializer(FactsSerializer):
    """A file to register, given in exactly one of four ways."""

    constraints: ClassVar = {
        "if": {"required": ["reference"]},
        "then": _without("handle", "url", "alias", "path"),
        "else": {
            **_without("kind"),
            "if": {"required": ["handle"]},
            "then": _without("url", "alias", "path"),
            "else": {
                "if": {"required": ["url"]},
                "then": _without("alias", "path"),
                "else": {"required": ["alias", "path"]},
            },
        },
    }

    kind = Choice(choices=Asset.Kind.choices, required=False)
    reference = Reference(required=False)
    handle = Handle(required=False)
    url = Reference("public-url", required=False)
    alias = StorageAlias(required=False)
    path = Reference("storage-path", required=False, trim_whitespace=False)
    tag = Boolean(required=False, allow_null=True, default=None)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return {**super().validate(attrs), "source": _source(attrs)}


def _said(confidence: int | None, decision: int) -> dict[str, Any] | None:
    if confidence is None:
        return None
    return {"confidence": confidence, "decision": AssetTag.Decision(decision).name.lower()}


def _source(attrs: dict[str, Any]) -> Source:
    given = attrs.keys() & {"kind", "reference", "handle", "url", "alias", "path"}
    if not any(needed <= given <= needed | optional for needed, optional in FORMS):
        raise serializers.ValidationError(
            {
                "reference": _(
                    "Identify the file by exactly one of: reference (with or without kind), "
                    "handle, url, or alias and path."
                )
            }
        )
    field = next(name for name in ("reference", "handle", "url", "path") if name in given)
    try:
        source = _named(attrs, field)
        if source.kind == "url" and not get_settings().ALLOW_PRIVATE_URLS:
            require_public(source.reference)
    except InvalidReference as error:
        raise serializers.ValidationError({field: str(error)}) from error
    return source


def _named(attrs: dict[str, Any], field: str) -> Source:
    if "alias" in attrs:
        return Source.alias(attrs["alias"], attrs["path"])
    if "kind" in attrs:
        return Source.of(attrs["kind"], attrs["reference"])
    if field == "reference":
        return Source.parse(attrs["reference"])
    return Source.of(field, attrs[field])
