"""Routes of the API. Mount them with ``path("api/", include("filestack_tags.api.urls"))``."""

from __future__ import annotations

from django.urls import include, path, re_path
from rest_framework.routers import SimpleRouter

from .asset_tags import AssetTagViewSet
from .assets import AssetViewSet
from .decisions import DecisionViewSet
from .errors import nowhere
from .tags import TagMergeViewSet, TagViewSet

app_name = "filestack_tags_api"


class Router(SimpleRouter):
    """Tries what a view does besides before the address of one row: keys of tags hold slashes."""

    routes = [
        SimpleRouter.routes[0],
        SimpleRouter.routes[1],
        SimpleRouter.routes[3],
        SimpleRouter.routes[2],
    ]


router = Router()
router.register(r"assets/(?P<asset>[^/]+)/tags", AssetTagViewSet, basename="asset-tag")
router.register("assets", AssetViewSet, basename="asset")
router.register("decisions", DecisionViewSet, basename="decision")
router.register("tags", TagViewSet, basename="tag")
router.register("merges", TagMergeViewSet, basename="merge")

# Only below what is ours: the host may have routes of its own beside it.
_ours = "|".join(sorted({prefix.partition("/")[0] for prefix, _, _ in router.registry}))

urlpatterns = [
    path("v1/", include(router.urls)),
    re_path(rf"^v1/(?:{_ours})(?:/.*)?\Z", nowhere),
]
