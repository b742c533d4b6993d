"""Assets: the files, with the tags that are shown of them."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import router
from django.http import Http404
from django.utils.translation import gettext as _
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from filestack_tags import tasks
from filestack_tags.assets import Facts, forget
from filestack_tags.exceptions import OutOfScope
from filestack_tags.models import Asset
from filestack_tags.scoping import scope_of, sees_everything

from .base import PAGING, View, asset_of, number, person
from .filters import AssetFilter, asked
from .pagination import SearchPages
from .representation import describe
from .serializers import RegisterSerializer

ORDERING = frozenset({"order", "order_tag"})


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
    operations: ClassVar = frozenset({"retag"})
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
        forget(asset_of(request, pk).pk)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @action(detail=True, methods=["post"])
    def retag(self, request: Request, pk: str) -> Response:
        """Have the asset tagged again; it may be queued already, which is as good."""
        asset = asset_of(request, pk)
        queued = tasks.request_tagging([asset.pk], trigger="api", force=True)
        state = asset_of(request, asset.pk).tagging_state
        return Response(
            {"id": asset.pk, "state": state, "queued": bool(queued)},
            status=status.HTTP_202_ACCEPTED,
        )


def _seen(request: Request, pk: str) -> int:
    """Return the id of an asset that a path names, if the user may see it."""
    return number(pk) if sees_everything(request.user) else asset_of(request, pk).pk


def _register(request: Request, said: dict[str, Any]) -> tuple[Asset, bool]:
    return tasks.register(
        said["source"],
        facts=Facts(
            filename=said.get("filename"),
            mimetype=said.get("mimetype"),
            upload_tags=said.get("upload_tags"),
        ),
        uploader=person(request),
        trigger="api",
        tag=said["tag"],
        within=scope_of(request.user),
    )


def _described(pk: int) -> dict[str, Any]:
    """Return one asset as the API shows it."""
    for shown in describe([pk], router.db_for_read(Asset)):
        return shown
    raise Http404
