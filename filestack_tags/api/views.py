"""The endpoints: assets and tags. Reading asks the models, writing calls tasks and services."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.db import router
from django.db.models import Q, QuerySet
from django.http import Http404
from django.utils.translation import gettext as _
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.generics import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.viewsets import GenericViewSet

from filestack_tags import tasks
from filestack_tags.assets import Facts, forget
from filestack_tags.exceptions import InvalidLabel, OutOfScope
from filestack_tags.models import Asset
from filestack_tags.scoping import assets_of, scope_of, sees_everything, tags_of
from filestack_tags.search.withheld import withheld
from filestack_tags.text import fold, label_key

from .errors import ParameterError, exception_handler, unknown_parameters
from .filters import AssetFilter, asked
from .pagination import ByKey, SearchPages
from .permissions import ActionPermissions
from .rendering import JSON
from .representation import describe
from .requests import AlwaysJSON, JSONBody
from .serializers import RegisterSerializer, TagSerializer

PAGING = frozenset({"cursor", "page_size"})
ORDERING = frozenset({"order", "order_tag"})


class View(GenericViewSet[Any]):
    """What both endpoints share: nothing here follows the host's ``REST_FRAMEWORK`` settings,
    except for authentication and throttling."""

    renderer_classes = (JSON,)
    parser_classes = (JSONBody,)
    content_negotiation_class = AlwaysJSON
    permission_classes = (ActionPermissions,)
    filter_backends: Sequence[Any] = ()
    versioning_class = None
    metadata_class = None

    required_permissions: ClassVar[dict[str, tuple[str, ...]]] = {}
    """Permissions needed, by action; see :class:`ActionPermissions`."""
    parameters: ClassVar[dict[str, frozenset[str]]] = {}
    """Query parameters known, by action. Others are refused: a misspelt filter that is
    ignored shows everything."""
    repeatable: ClassVar[frozenset[str]] = frozenset()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        known = self.parameters.get(self.action, frozenset())
        unknown = request.query_params.keys() - known
        if unknown:
            raise unknown_parameters(unknown, known)
        for name, values in request.query_params.lists():
            if len(values) > 1 and name not in self.repeatable:
                raise ParameterError(
                    _("%(name)s was given more than once.") % {"name": name}, parameter=name
                )

    def get_exception_handler(self) -> Any:
        return exception_handler


class AssetViewSet(View):
    lookup_value_regex = "[^/]+"
    required_permissions: ClassVar = {
        "list": ("filestack_tags.view_asset",),
        "retrieve": ("filestack_tags.view_asset",),
        "create": ("filestack_tags.add_asset",),
        "destroy": ("filestack_tags.delete_asset",),
        "retag": ("filestack_tags.tag_asset",),
    }
    parameters: ClassVar = {"list": PAGING | ORDERING | AssetFilter.base_filters.keys()}
    repeatable: ClassVar = frozenset({"tag", "tag_any", "tag_none", "state", "kind"})

    def list(self, request: Request) -> Response:
        """A page of the assets that the parameters ask for, newest first if they say nothing."""
        pages = SearchPages()
        page = pages.find(
            asked(request.query_params),
            request,
            include_hidden=request.user.has_perm("filestack_tags.search_hidden"),
            within=scope_of(request.user),
        )
        return pages.get_paginated_response(describe(page.ids, page.using))

    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(_described(_seen(request, pk)))

    def create(self, request: Request) -> Response:
        """Register a file; 201 when it was new, 200 when it was known."""
        form = RegisterSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        said = form.validated_data
        if said["tag"] and not request.user.has_perm("filestack_tags.tag_asset"):
            raise PermissionDenied(_("You may register files, but not have them tagged."))
        try:
            known, created = _register(request, said)
        except OutOfScope as error:
            raise ValidationError({"reference": [str(error)]}) from error
        place = reverse(
            "filestack_tags_api:asset-detail", kwargs={"pk": known.pk}, request=request
        )
        return Response(
            _described(known.pk),
            status=status.HTTP_201_CREATED if created else status.HTTP_200_OK,
            headers={"Location": place},
        )

    def destroy(self, request: Request, pk: str) -> Response:
        """Forget an asset: hidden from now on, restored when it is registered again."""
        forget(_asset(request, pk).pk)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @action(detail=True, methods=["post"])
    def retag(self, request: Request, pk: str) -> Response:
        """Have the asset tagged again; it may be queued already, which is as good."""
        asset = _asset(request, pk)
        queued = tasks.request_tagging([asset.pk], trigger="api", force=True)
        state = _asset(request, asset.pk).tagging_state
        return Response(
            {"id": asset.pk, "state": state, "queued": bool(queued)},
            status=status.HTTP_202_ACCEPTED,
        )


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
        tags = self.get_queryset().filter(Q(key=wanted) | Q(aliases__key=wanted)).distinct()
        return Response(TagSerializer(get_object_or_404(tags)).data)


def _person(request: Request) -> AbstractBaseUser | None:
    """Return the user of the request; other kinds of clients register files for nobody."""
    return request.user if isinstance(request.user, get_user_model()) else None


def _id(text: str | int) -> int:
    """Return the id of an asset that a path names."""
    text = str(text)
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) < 2**63):
        raise Http404
    return int(text)


def _asset(request: Request, pk: str | int) -> Asset:
    asset: Asset = get_object_or_404(assets_of(request.user).present(), pk=_id(pk))
    return asset


def _seen(request: Request, pk: str) -> int:
    """Return the id of an asset that a path names, if the user may see it."""
    return _id(pk) if sees_everything(request.user) else _asset(request, pk).pk


def _register(request: Request, said: dict[str, Any]) -> tuple[Asset, bool]:
    return tasks.register(
        said["source"],
        facts=Facts(
            filename=said.get("filename"),
            mimetype=said.get("mimetype"),
            upload_tags=said.get("upload_tags"),
        ),
        uploader=_person(request),
        trigger="api",
        tag=said["tag"],
        within=scope_of(request.user),
    )


def _described(pk: int) -> dict[str, Any]:
    """Return one asset as the API shows it."""
    for shown in describe([pk], router.db_for_read(Asset)):
        return shown
    raise Http404
