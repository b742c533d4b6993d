"""The app's API, and the same assets through REST framework's own serializers."""

from __future__ import annotations

from django.urls import include, path

from .designs.stock_drf import StockAssets

urlpatterns = [
    path("api/", include("filestack_tags.api.urls")),
    path("stock/", StockAssets.as_view()),
]
