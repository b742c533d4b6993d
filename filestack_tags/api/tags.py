"""Tags: the labels that there are."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import Http404
from rest_framework import mixins
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from filestack_tags.exceptions import InvalidLabel
from filestack_tags.scoping import tags_of
from filestack_tags.search.withheld import withheld
from filestack_tags.tags import known
from filestack_tags.text import fold, label_key

from .base import PAGING, View
from .errors import ParameterError
from .pagination import ByKey
from .serializers import TagSerializer


class TagViewSet(mixins.ListModelMixin, View):
    """Tags that are not hidden. A tag is found by its key, its name or an alias."""

    serializer_class = TagSerializer
    pagination_class = ByKey
    lookup_field = "key"
    lookup_value_regex = ".+"
    required_permissions: ClassVar = {
        "list": ("filestack_tags.view_tag",),
        "retrieve": ("filestack_tags.view_tag",),
    }
    parameters: ClassVar = {"list": PAGING | {"q"}}

    def get_queryset(self) -> QuerySet[Any]:
        tags = tags_of(self.request.user).filter(hidden=False).prefetch_related("aliases")
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
        try:
            wanted = label_key(key)
        except InvalidLabel as error:
            raise Http404 from error
        # While a tag is merged into another, its name is an alias of that one, too.
        found = get_object_or_404(self.get_queryset(), pk=known([wanted]).get(wanted))
        return Response(TagSerializer(found).data)
