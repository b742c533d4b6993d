"""Tags: their names, aliases, and merges."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import Http404
from django.utils.translation import gettext as _
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from filestack_tags import curation, tasks
from filestack_tags.assets.sensitive import withheld
from filestack_tags.assets.tags import known
from filestack_tags.assets.visibility import scope_of, tags_of
from filestack_tags.curation import merging
from filestack_tags.db.text import fold, label_key
from filestack_tags.db.transactions import atomic, locked
from filestack_tags.exceptions import InvalidLabel
from filestack_tags.models import Tag, TagAlias, TagMerge
from filestack_tags.search.completion import complete

from .base import PAGING, View, includes_hidden, number, person, require_everything
from .errors import ParameterError
from .pagination import ByKey
from .requests import chosen, whole_number
from .serializers import (
    AliasSerializer,
    ChangeTagSerializer,
    MergeSerializer,
    TagMergeSerializer,
    TagSerializer,
)

COMPLETED = 10
"""Default number of completions."""
MOST = 100


class TagViewSet(mixins.ListModelMixin, View):
    """Tags that are not hidden, by their keys.

    A tag is addressed by its key, its name or an alias, optionally in double quotes. Quotes are
    required for a name that is also a URL of this API, such as ``complete``.
    """

    serializer_class = TagSerializer
    pagination_class = ByKey
    lookup_field = "key"
    lookup_value_regex = ".+"
    required_permissions: ClassVar = {
        "list": ("filestack_tags.view_tag",),
        "retrieve": ("filestack_tags.view_tag",),
        "complete": ("filestack_tags.view_tag",),
        "partial_update": ("filestack_tags.change_tag",),
        "alias": ("filestack_tags.change_tag",),
        "aliases": ("filestack_tags.change_tag",),
        "merge": ("filestack_tags.change_tag",),
        "merge_preview": ("filestack_tags.change_tag",),
    }
    parameters: ClassVar = {
        "list": PAGING | {"q", "include", "fields"},
        "retrieve": frozenset({"include", "fields"}),
        "complete": frozenset({"q", "limit", "include"}),
        "merge_preview": frozenset({"into"}),
    }
    operations: ClassVar = frozenset({"merge"})

    def lock(self, **kwargs: str) -> None:
        if "key" in kwargs:
            locked(Tag.objects.filter(pk=_tag_id(kwargs["key"]))).only("pk").first()

    def get_queryset(self) -> QuerySet[Any]:
        tags = tags_of(self.request.user)
        fields = self._fields()
        if fields is None or "aliases" in fields:
            tags = tags.prefetch_related("aliases")
        if includes_hidden(self.request):
            return tags
        tags = tags.filter(hidden=False)
        return tags.exclude(pk__in=kept) if (kept := withheld(tags.db)) else tags

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        text = self.request.query_params.get("q", "")
        if not text.strip():
            return queryset
        try:
            label_key(text)
        except InvalidLabel as error:
            raise ParameterError(str(error), parameter="q") from error
        return queryset.filter(key__startswith=fold(text))

    def retrieve(self, request: Request, key: str) -> Response:
        """Return one tag, by its key, its name or an alias, optionally in double quotes."""
        found = get_object_or_404(self.get_queryset(), pk=_tag_id(key))
        return Response(self.get_serializer(found).data)

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "fields": self._fields()}

    def _fields(self) -> frozenset[str] | None:
        return chosen(self.request, "fields", TagSerializer.Meta.fields)

    @action(detail=False)
    def complete(self, request: Request) -> Response:
        """Return the most used tags with a word that begins with `q`."""
        found = complete(
            request.query_params.get("q", ""),
            limit=whole_number(request, "limit", default=COMPLETED, most=MOST),
            include_hidden=includes_hidden(request),
            within=scope_of(request.user),
        )
        return Response(
            {
                "results": [
                    {
                        "key": label_key(each.name),
                        "name": each.name,
                        "count": each.count,
                        "min_confidence": each.min_confidence,
                    }
                    for each in found
                ]
            }
        )

    def partial_update(self, request: Request, key: str) -> Response:
        """Rename, hide or show a tag, or set its minimum: all changes or none."""
        tag = _editable(request, key)
        form = ChangeTagSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        said = form.validated_data
        with atomic():
            if "name" in said and said["name"] != tag.name:
                curation.rename(tag.pk, said["name"])
            if "min_confidence" in said:
                curation.set_minimum(tag.pk, said["min_confidence"])
            if "hidden" in said:
                curation.hide(tag.pk, hidden=said["hidden"])
        return Response(_shown(request, tag))

    @action(detail=True, methods=["post"])
    def aliases(self, request: Request, key: str) -> Response:
        """Add an alias to the tag; 200 if it exists already."""
        tag = _editable(request, key)
        form = AliasSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        name = form.validated_data["name"]
        is_known = TagAlias.objects.filter(tag=tag, key=label_key(name)).exists()
        curation.add_alias(tag.pk, name)
        return Response(
            _shown(request, tag),
            status=status.HTTP_200_OK if is_known else status.HTTP_201_CREATED,
        )

    @action(detail=True, methods=["delete"], url_path="aliases/(?P<alias>.+)")
    def alias(self, request: Request, key: str, alias: str) -> Response:
        """Delete an alias; tags already assigned stay."""
        tag = _editable(request, key)
        try:
            wanted = TagAlias.objects.filter(tag=tag, key=label_key(alias)).first()
        except InvalidLabel as error:
            raise Http404 from error
        if wanted is None:
            raise Http404
        curation.remove_alias(wanted.pk)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @action(detail=True, methods=["post"])
    def merge(self, request: Request, key: str) -> Response:
        """Merge the tag into another, which later replies and searches use at once."""
        tag = _editable(request, key)
        form = MergeSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        into = form.validated_data["into"]
        target = known([label_key(into)]).get(label_key(into))
        if target is None:
            raise ValidationError({"into": [_("There is no such tag.")]})
        begun = tasks.merge(tag.pk, target, user=person(request))
        return Response(_merge(begun.pk), status=status.HTTP_202_ACCEPTED)

    @merge.mapping.get
    def merge_preview(self, request: Request, key: str) -> Response:
        """Return what merging the tag into `into` would do. Changes nothing."""
        tag = _editable(request, key)
        into = request.query_params.get("into", "")
        try:
            target = known([label_key(into)]).get(label_key(into))
        except InvalidLabel as error:
            raise ParameterError(str(error), parameter="into") from error
        if target is None:
            raise ParameterError(_("There is no such tag."), parameter="into")
        found = merging.preview(tag.pk, target)
        return Response(
            {
                "assets": found.assets,
                "both": found.both,
                "conflicts": found.conflicts,
                "aliases": [*found.aliases],
            }
        )


class TagMergeViewSet(View):
    """Merges of tags and their progress, for users who may see all assets."""

    lookup_value_regex = "[^/]+"
    required_permissions: ClassVar = {
        "retrieve": ("filestack_tags.view_tag",),
        "undo": ("filestack_tags.change_tag",),
    }
    operations: ClassVar = frozenset({"undo"})

    def retrieve(self, request: Request, pk: str) -> Response:
        """Return a merge and its progress."""
        require_everything(request)
        return Response(_merge(number(pk)))

    @action(detail=True, methods=["post"])
    def undo(self, request: Request, pk: str) -> Response:
        """Undo a merge: the tag exists separately again. Idempotent."""
        require_everything(request)
        try:
            begun = tasks.undo_merge(number(pk), user=person(request))
        except TagMerge.DoesNotExist as error:
            raise Http404 from error
        return Response(_merge(begun.pk), status=status.HTTP_202_ACCEPTED)


def _tag_id(text: str) -> int:
    """Return the id of the tag in the path, 0 if it does not exist."""
    try:
        key = label_key(text)
    except InvalidLabel as error:
        raise Http404 from error
    return known([key]).get(key, 0)


def _editable(request: Request, key: str) -> Tag:
    """Return the tag in the path, hidden or not, if the user may change it."""
    require_everything(request)
    tag: Tag = get_object_or_404(Tag, pk=_tag_id(key))
    return tag


def _shown(request: Request, tag: Tag) -> Any:
    return TagSerializer(get_object_or_404(tags_of(request.user), pk=tag.pk)).data


def _merge(pk: int) -> Any:
    return TagMergeSerializer(get_object_or_404(TagMerge, pk=pk)).data
