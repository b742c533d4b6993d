"""Assets: the files, with their visible tags."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from django.http import Http404
from django.utils.translation import gettext as _
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from filestack_tags import tasks
from filestack_tags.assets.registry import Facts, amend, archive
from filestack_tags.assets.tags import existing_ids
from filestack_tags.assets.visibility import scope_of, sees_everything
from filestack_tags.conf import get_settings
from filestack_tags.db.replicas import read_alias
from filestack_tags.db.text import label_key
from filestack_tags.exceptions import InvalidReference, OutOfScope
from filestack_tags.filestack.calls import (
    MAX_UPLOAD_TAG_KEY,
    MAX_UPLOAD_TAG_VALUE,
    MAX_UPLOAD_TAGS,
)
from filestack_tags.filestack.private_hosts import require_public
from filestack_tags.filestack.sources import STORAGE_ALIAS, Source
from filestack_tags.models import Asset
from filestack_tags.search import Search

from . import fields
from .asset_json import FIELDS, AssetSerializer, describe
from .base import CREATED, View, lock_asset, operation, row_id
from .fields import Boolean, Choice, CommaSeparated, Strings, TagKeyField, Text
from .filters import (
    AssetFilters,
    AssetListParameters,
    FacetParameters,
    HistogramParameters,
    query_of,
)
from .pagination import links_of
from .problems import INVALID_QUERY, SEARCH_TIMEOUT, ParameterError
from .serializers import Body, PageSerializer, Parameters, confidence, count

SEARCH_PROBLEMS = (INVALID_QUERY, SEARCH_TIMEOUT)

FORMS: tuple[tuple[set[str], set[str]], ...] = (
    ({"reference"}, {"kind"}),
    ({"handle"}, set()),
    ({"url"}, set()),
    ({"alias", "path"}, set()),
)
"""The required and optional members of each way to identify a file."""


class TotalSerializer(serializers.Serializer[Any]):
    count = count()
    exact = serializers.BooleanField(source="is_exact")


class CountedTagSerializer(serializers.Serializer[Any]):
    key = TagKeyField(source="name")
    name = serializers.CharField()
    count = count()


class FacetsSerializer(serializers.Serializer[Any]):
    approximate = serializers.BooleanField(source="is_approximate")
    sample = count(source="sample_size")
    matches = count(allow_null=True)
    tags = CountedTagSerializer(many=True)


class BarSerializer(serializers.Serializer[Any]):
    confidence = confidence()
    count = count()


class HistogramSerializer(serializers.Serializer[Any]):
    tag = serializers.CharField()
    total = count()
    counts = BarSerializer(many=True)


class HintSerializer(serializers.Serializer[Any]):
    term = serializers.CharField()
    near = serializers.ListField(child=serializers.CharField())
    suggestion = serializers.CharField(allow_blank=True)
    kind = serializers.ChoiceField(("phrase", "unknown", "whole"))


class AssetPageSerializer(PageSerializer):
    total = TotalSerializer(required=False)
    facets = FacetsSerializer(required=False)
    hints = HintSerializer(many=True, required=False)
    results = AssetSerializer(many=True)


class QueuedSerializer(serializers.Serializer[Any]):
    id = count()
    state = serializers.ChoiceField(Asset.State.choices)
    queued = serializers.BooleanField()


class FieldsParameters(Parameters):
    fields = CommaSeparated(FIELDS, help_text="the members of an asset to return")  # type: ignore[assignment]  # a field, as DRF allows


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

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        attrs = super().validate(attrs)
        names = ("filename", "mimetype", "upload_tags")
        return {**attrs, "facts": Facts(**{name: attrs.get(name) for name in names})}


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
    reference = fields.reference("file-reference")
    handle = fields.handle(required=False)
    url = fields.reference("public-url")
    alias = Text(
        required=False,
        max_length=128,
        trim_whitespace=False,
        constraints={"pattern": f"^{STORAGE_ALIAS}$"},
    )
    path = fields.reference("storage-path", trim_whitespace=False)
    tag = Boolean(required=False, allow_null=True, default=None)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        return {**super().validate(attrs), "source": _source(attrs)}


class AssetViewSet(View):
    """Assets that are not archived."""

    def lock(self, **kwargs: str) -> None:
        if "pk" in kwargs:
            lock_asset(kwargs["pk"])

    def modified_at(self, **kwargs: str) -> datetime | None:
        return self.asset(kwargs["pk"]).updated_at if "pk" in kwargs else None

    @operation(
        "view_asset",
        parameters=AssetListParameters,
        returns=AssetPageSerializer,
        problems=SEARCH_PROBLEMS,
    )
    def list(self, request: Request) -> Response:
        """Return a page of the assets that match the parameters, newest first by default."""
        values, search = self.query, self._search(self.query)
        if values["order_tag"] is not None and values["order"] != "confidence":
            raise ParameterError(
                _('"order_tag" requires order=confidence.'), parameter="order_tag"
            )
        included = values["include"] or ()
        content: dict[str, Any] = {}
        with search.time_limit():
            # First, because they look up more names than the others.
            hints = search.hints() if "hints" in included else ()
            page = search.page(
                order=values["order"],
                tag=values["order_tag"],
                size=values["page_size"],
                cursor=values["cursor"] or None,
            )
            if "total" in included:
                content["total"] = TotalSerializer(search.total()).data
            if "facets" in included:
                content["facets"] = FacetsSerializer(search.facets()).data
            if "hints" in included:
                content["hints"] = HintSerializer(hints, many=True).data
        results = describe(page.ids, page.using, values["fields"])
        return Response(links_of(page, request) | content | {"results": results})

    @operation("view_asset", parameters=FieldsParameters, returns=AssetSerializer)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Return one asset, with its visible tags."""
        is_visible = sees_everything(request.user)
        return Response(
            described(row_id(pk) if is_visible else self.asset(pk).pk, self.query["fields"])
        )

    @operation(
        "view_asset", parameters=AssetFilters, returns=TotalSerializer, problems=SEARCH_PROBLEMS
    )
    @action(detail=False)
    def count(self, request: Request) -> Response:
        """Return how many assets match the parameters, or a lower bound if it is not exact."""
        return self.respond(self._search(self.query).total())

    @operation(
        "view_asset",
        parameters=FacetParameters,
        returns=FacetsSerializer,
        problems=SEARCH_PROBLEMS,
    )
    @action(detail=False)
    def facets(self, request: Request) -> Response:
        """Return the most frequent tags of the assets that match the parameters."""
        search = self._search(self.query)
        return self.respond(search.facets(limit=self.query["limit"]))

    @operation(
        "view_asset",
        parameters=HistogramParameters,
        returns=HistogramSerializer,
        problems=SEARCH_PROBLEMS,
    )
    @action(detail=False)
    def histogram(self, request: Request) -> Response:
        """Return the confidences of `tag` on the assets that match the other parameters."""
        key = label_key(self.query["tag"])
        search = self._search({**self.query, "tag": ()})
        counts = search.histogram(existing_ids([key]).get(key, 0))
        bars = [{"confidence": value, "count": number} for value, number in counts.items()]
        return self.respond({"tag": key, "total": sum(counts.values()), "counts": bars})

    @operation("add_asset", body=RegisterSerializer, returns=AssetSerializer, status=CREATED)
    def create(self, request: Request) -> Response:
        """Register a file; 201 if it is new, 200 if it was registered before."""
        body = self.body
        return registered(
            self, body["source"], body["facts"], tag=body["tag"], field="reference"
        )

    @operation("change_asset", body=FactsSerializer, returns=AssetSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Update the facts of a file; facts that are not given are unchanged."""
        asset = self.asset(pk)
        try:
            amend(asset.pk, self.body["facts"], within=scope_of(request.user))
        except OutOfScope as error:
            raise ValidationError({"non_field_errors": [str(error)]}) from error
        return Response(described(asset.pk))

    @operation("delete_asset", status=(204,))
    def destroy(self, request: Request, pk: str) -> Response:
        """Archive an asset. It is hidden, and restored when it is registered again."""
        archive(self.asset(pk).pk)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @operation("tag_asset", returns=QueuedSerializer, status=(202,), operates=True)
    @action(detail=True, methods=["post"])
    def retag(self, request: Request, pk: str) -> Response:
        """Queue the asset for tagging. A running asset is unchanged."""
        return queued(self, self.asset(pk).pk)

    def _search(self, values: Mapping[str, Any]) -> Search:
        """Return the user's search for the values of :class:`AssetFilters`."""
        return Search(query_of(values), user=self.request.user)


def registered(
    view: View, source: Source, facts: Facts, *, tag: bool | None, field: str
) -> Response:
    """Register a file for the user, and return the asset.

    Args:
        field: the field of the body to name if the file is outside the user's scope.
    """
    user = view.request.user
    if tag and not user.has_perm("filestack_tags.tag_asset"):
        raise PermissionDenied(
            _('You do not have permission to tag files. To register the file only, omit "tag".')
        )
    try:
        asset, created = tasks.register(
            source,
            facts=facts,
            user=view.user,
            trigger="api",
            tag=tag,
            within=scope_of(user),
        )
    except OutOfScope as error:
        raise ValidationError({field: [str(error)]}) from error
    return Response(
        described(asset.pk),
        status=status.HTTP_201_CREATED if created else status.HTTP_200_OK,
        headers=view.location(("asset-detail", {"pk": asset.pk})),
    )


def queued(view: View, asset_id: int, **options: Any) -> Response:
    """Queue an asset for tagging at once, and return its state."""
    ids = tasks.request_tagging([asset_id], trigger="api", force=True, **options)
    state = view.asset(asset_id).tagging_state
    return view.respond({"id": asset_id, "state": state, "queued": bool(ids)})


def described(pk: int, fields: list[str] | None = None) -> dict[str, Any]:
    """Return one asset in the form of the API."""
    for asset in describe([pk], read_alias(Asset), fields):
        return asset
    raise Http404


def _source(attrs: dict[str, Any]) -> Source:
    names = attrs.keys() & {"kind", "reference", "handle", "url", "alias", "path"}
    if not any(needed <= names <= needed | optional for needed, optional in FORMS):
        raise serializers.ValidationError(
            {
                "reference": _(
                    "Identify the file by exactly one of: reference (with or without kind), "
                    "handle, url, or alias and path."
                )
            }
        )
    field = next(name for name in ("reference", "handle", "url", "path") if name in names)
    try:
        source = _parsed(attrs, field)
        if source.kind == "url" and not get_settings().ALLOW_PRIVATE_URLS:
            require_public(source.reference)
    except InvalidReference as error:
        raise serializers.ValidationError({field: str(error)}) from error
    return source


def _parsed(attrs: dict[str, Any], field: str) -> Source:
    if "alias" in attrs:
        return Source.alias(attrs["alias"], attrs["path"])
    if "kind" in attrs:
        return Source.of(attrs["kind"], attrs["reference"])
    if field == "reference":
        return Source.parse(attrs["reference"])
    return Source.of(field, attrs[field])
