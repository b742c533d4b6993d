"""A page with REST framework's own model serializers, to compare our own pages with."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework import generics, permissions, serializers
from rest_framework.renderers import JSONRenderer

from filestack_tags.models import Asset, AssetTag


class StockTagSerializer(serializers.ModelSerializer[AssetTag]):
    name = serializers.CharField(source="tag.name")
    key = serializers.CharField(source="tag.key")

    class Meta:
        model = AssetTag
        fields = ("name", "key", "confidence", "source", "decision")


class StockAssetSerializer(serializers.ModelSerializer[Asset]):
    tags = StockTagSerializer(source="asset_tags", many=True)

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
            "updated_at",
            "tagging_state",
            "attempts",
            "error",
            "tags_at",
            "tags",
        )


class StockAssets(generics.ListAPIView[Asset]):
    """The assets with the given ids: finding them is not compared."""

    serializer_class = StockAssetSerializer
    permission_classes: ClassVar[Any] = [permissions.IsAuthenticated]
    renderer_classes: ClassVar[Any] = [JSONRenderer]
    pagination_class = None

    def get_queryset(self) -> QuerySet[Asset]:
        ids = self.request.GET["ids"].split(",")
        chosen = Asset.objects.filter(pk__in=ids).order_by("-id")
        return chosen.prefetch_related("asset_tags__tag")
