"""Routes of the API. Mount them with ``path("api/", include("filestack_tags.api.urls"))``."""

from __future__ import annotations

from django.urls import include, path, re_path
from rest_framework.routers import SimpleRouter

from .assets import AssetViewSet
from .errors import nowhere
from .tags import TagViewSet

app_name = "filestack_tags_api"

router = SimpleRouter()
router.register("assets", AssetViewSet, basename="asset")
router.register("tags", TagViewSet, basename="tag")

# Only below what is ours: the host may have routes of its own beside it.
_ours = "|".join(sorted({prefix.partition("/")[0] for prefix, _, _ in router.registry}))

urlpatterns = [
    path("v1/", include(router.urls)),
    re_path(rf"^v1/(?:{_ours})(?:/.*)?\Z", nowhere),
]
