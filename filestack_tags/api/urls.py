"""Routes of the API. Mount them with ``path("api/", include("filestack_tags.api.urls"))``."""

from __future__ import annotations

from rest_framework.routers import SimpleRouter

from .views import AssetViewSet, TagViewSet

app_name = "filestack_tags_api"

router = SimpleRouter()
router.register("assets", AssetViewSet, basename="asset")
router.register("tags", TagViewSet, basename="tag")

urlpatterns = router.urls
