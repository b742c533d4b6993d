"""Tags: their names, aliases, and merges."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django.utils.translation import gettext as _
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from filestack_tags import curation, tasks
from filestack_tags.assets.sensitive import unapproved_ids
from filestack_tags.assets.tags import existing_ids
from filestack_tags.assets.visibility import scope_of, tags_of
from filestack_tags.curation import merging
from filestack_tags.db.text import fold, label_key
from filestack_tags.db.transactions import atomic, locked
from filestack_tags.exceptions import InvalidLabel
from filestack_tags.models import Tag, TagAlias, TagMerge
from filestack_tags.search.completion import complete

from .base import CREATED, View, operation, row_id
from .fields import (
    Boolean,
    CommaSeparated,
    Confidence,
    Number,
    TagKeyField,
    TagName,
    Text,
)
from .pagination import ByKey
from .problems import CONFLICT, ParameterError
from .serializers import (
    Body,
    HiddenParameters,
    PageParameters,
    PageSerializer,
    Parameters,
    confidence,
    count,
)


class AliasKeyField(serializers.CharField):
    def to_representation(self, value: Any) -> str:
        return str(value.key)


class TagSerializer(serializers.Serializer[Any]):
    """Members are absent only if the query parameter ``fields`` names others."""

    key = serializers.CharField(required=False)
    name = serializers.CharField(required=False)
    asset_count = count(source="visible_assets", required=False)
    min_confidence = confidence(allow_null=True, required=False)
    hidden = serializers.BooleanField(required=False)
    aliases = serializers.ListField(source="aliases.all", child=AliasKeyField(), required=False)

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        view = self.context.get("view")
        names = view.query.get("fields") if view is not None and view.query else None
        return {name: fields[name] for name in fields if names is None or name in names}


class TagPageSerializer(PageSerializer):
    results = TagSerializer(many=True)


class CompletionSerializer(serializers.Serializer[Any]):
    key = TagKeyField(source="name")
    name = serializers.CharField()
    count = count()
    min_confidence = confidence()


class CompletionsSerializer(serializers.Serializer[Any]):
    results = CompletionSerializer(many=True)


class MergePreviewSerializer(serializers.Serializer[Any]):
    assets = count()
    both = count()
    conflicts = count()
    aliases = serializers.ListField(child=serializers.CharField())


class TagMergeSerializer(serializers.ModelSerializer[TagMerge]):
    """A merge: its tags, and its progress."""

    source = serializers.CharField(source="source_name", read_only=True)  # type: ignore[assignment]  # a field, as DRF allows
    target = serializers.CharField(source="target_name", read_only=True)
    is_at_work = serializers.BooleanField(
        read_only=True,
        help_text="Whether it goes on by itself. `error` is then why the last attempt failed.",
    )

    class Meta:
        model = TagMerge
        fields = (
            *("id", "source", "target", "state", "is_at_work", "error"),
            *("assets", "done", "both", "conflicts"),
            *("started_at", "updated_at"),
        )
        read_only_fields = fields


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


class TagParameters(HiddenParameters):
    fields = CommaSeparated(  # type: ignore[assignment]  # a field, as DRF allows
        tuple(TagSerializer().fields), help_text="the members of a tag to return"
    )


class TagListParameters(TagParameters, PageParameters):
    q = Text(
        required=False,
        allow_blank=True,
        constraints={"format": "tag-name"},
        help_text="the beginning of the keys; all tags if empty",
    )


class CompletionParameters(HiddenParameters):
    q = Text(
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        default="",
        help_text="the beginning of a word of the names",
    )
    limit = Number(min_value=1, max_value=100, default=10, help_text="maximum number of tags")


class MergeParameters(Parameters):
    into = TagName(help_text="the tag to merge into, by its name or an alias")


class TagViewSet(View):
    """Tags that are not hidden, by their keys.

    A tag is addressed by its key, its name or an alias, optionally in double quotes. Quotes are
    required for a name that is also a URL of this API, such as ``complete``.
    """

    lookup_field = "key"
    lookup_value_regex = ".+"

    def lock(self, **kwargs: str) -> None:
        if "key" in kwargs:
            locked(Tag.objects.filter(pk=tag_id(kwargs["key"]))).only("pk").first()

    @operation("view_tag", parameters=TagListParameters, returns=TagPageSerializer)
    def list(self, request: Request) -> Response:
        rows, text = self._tags(), self.query["q"]
        if text:
            try:
                label_key(text)
            except InvalidLabel as error:
                raise ParameterError(str(error), parameter="q") from error
            rows = rows.filter(key__startswith=fold(text))
        return self.page(rows, ByKey)

    @operation("view_tag", parameters=TagParameters, returns=TagSerializer)
    def retrieve(self, request: Request, key: str) -> Response:
        """Return one tag, by its key, its name or an alias, optionally in double quotes."""
        return self.respond(get_object_or_404(self._tags(), pk=tag_id(key)))

    @operation("view_tag", parameters=CompletionParameters, returns=CompletionsSerializer)
    @action(detail=False)
    def complete(self, request: Request) -> Response:
        """Return the most used tags with a word that begins with `q`."""
        completions = complete(
            self.query["q"],
            limit=self.query["limit"],
            include_hidden=self.includes_hidden(),
            scope=scope_of(request.user),
        )
        return self.respond({"results": completions})

    @operation(
        "change_tag", body=ChangeTagSerializer, returns=TagSerializer, problems=(CONFLICT,)
    )
    def partial_update(self, request: Request, key: str) -> Response:
        """Rename, hide or show a tag, or set its minimum: all changes or none."""
        tag, body = self._editable(key), self.body
        with atomic():
            if "name" in body and body["name"] != tag.name:
                curation.rename(tag.pk, body["name"])
            if "min_confidence" in body:
                curation.set_minimum(tag.pk, body["min_confidence"])
            if "hidden" in body:
                curation.hide(tag.pk, hidden=body["hidden"])
        return self._respond_with(tag)

    @operation(
        "change_tag",
        body=AliasSerializer,
        returns=TagSerializer,
        status=CREATED,
        problems=(CONFLICT,),
    )
    @action(detail=True, methods=["post"])
    def aliases(self, request: Request, key: str) -> Response:
        """Add an alias to the tag; 200 if it exists already."""
        tag, name = self._editable(key), self.body["name"]
        exists = TagAlias.objects.filter(tag=tag, key=label_key(name)).exists()
        curation.add_alias(tag.pk, name)
        return self._respond_with(tag, 200 if exists else 201)

    @operation("change_tag", status=(204,), problems=(CONFLICT,))
    @action(detail=True, methods=["delete"], url_path="aliases/(?P<alias>.+)")
    def alias(self, request: Request, key: str, alias: str) -> Response:
        """Delete an alias; tags already assigned stay."""
        tag = self._editable(key)
        try:
            alias_key = label_key(alias)
        except InvalidLabel as error:
            raise Http404 from error
        curation.remove_alias(get_object_or_404(TagAlias, tag=tag, key=alias_key).pk)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @operation(
        "change_tag",
        body=MergeSerializer,
        returns=TagMergeSerializer,
        status=(202,),
        problems=(CONFLICT,),
        operates=True,
    )
    @action(detail=True, methods=["post"])
    def merge(self, request: Request, key: str) -> Response:
        """Merge the tag into another, which later replies and searches use at once."""
        tag, into = self._editable(key), label_key(self.body["into"])
        target = existing_ids([into]).get(into)
        if target is None:
            raise ValidationError({"into": [_("There is no such tag.")]})
        merge = tasks.merge(tag.pk, target, user=self.user)
        return self.respond(TagMerge.objects.get(pk=merge.pk))

    @operation(
        "change_tag",
        parameters=MergeParameters,
        returns=MergePreviewSerializer,
        problems=(CONFLICT,),
    )
    @merge.mapping.get
    def merge_preview(self, request: Request, key: str) -> Response:
        """Return what merging the tag into `into` would do. Changes nothing."""
        tag, into = self._editable(key), label_key(self.query["into"])
        target = existing_ids([into]).get(into)
        if target is None:
            raise ParameterError(_("There is no such tag."), parameter="into")
        return self.respond(merging.preview(tag.pk, target))

    def _tags(self) -> QuerySet[Any]:
        fields = self.query["fields"]
        tags = tags_of(self.request.user)
        if fields is None or "aliases" in fields:
            tags = tags.prefetch_related("aliases")
        if self.includes_hidden():
            return tags
        tags = tags.filter(hidden=False)
        return (
            tags.exclude(pk__in=sensitive) if (sensitive := unapproved_ids(tags.db)) else tags
        )

    def _editable(self, key: str) -> Tag:
        """Return the tag in the path, hidden or not, if the user may change it."""
        self.require_everything()
        tag: Tag = get_object_or_404(Tag, pk=tag_id(key))
        return tag

    def _respond_with(self, tag: Tag, status: int = 200) -> Response:
        return self.respond(get_object_or_404(tags_of(self.request.user), pk=tag.pk), status)


class TagMergeViewSet(View):
    """Merges of tags and their progress, for users who may see all assets."""

    @operation("view_tag", returns=TagMergeSerializer)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Return a merge and its progress."""
        self.require_everything()
        return self.respond(get_object_or_404(TagMerge, pk=row_id(pk)))

    @operation(
        "change_tag",
        returns=TagMergeSerializer,
        status=(202,),
        problems=(CONFLICT,),
        operates=True,
    )
    @action(detail=True, methods=["post"])
    def undo(self, request: Request, pk: str) -> Response:
        """Undo a merge: the tag exists separately again. Idempotent."""
        self.require_everything()
        merge = get_object_or_404(TagMerge, pk=row_id(pk))
        return self.respond(tasks.undo_merge(merge.pk, user=self.user))


def tag_id(text: str) -> int:
    """Return the id of the tag in the path, 0 if it does not exist."""
    try:
        key = label_key(text)
    except InvalidLabel as error:
        raise Http404 from error
    return existing_ids([key]).get(key, 0)
