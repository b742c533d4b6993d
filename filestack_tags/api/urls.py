"""Routes of the API. Mount them with ``path("api/", include("filestack_tags.api.urls"))``."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, include, path, re_path, resolve
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from rest_framework.routers import SimpleRouter

from .asset_json import JSON
from .asset_tags import AssetTagViewSet
from .assets import AssetViewSet
from .decisions import DecisionViewSet
from .deliveries import DeliveryViewSet
from .jobs import JobViewSet
from .problems import CONTENT_TYPE, NOT_FOUND
from .runs import AssetWorkflowViewSet, RunViewSet
from .saved_searches import SavedSearchViewSet
from .tags import TagMergeViewSet, TagViewSet
from .uploads import UploadViewSet

app_name = "filestack_tags_api"


class Router(SimpleRouter):
    """Matches extra actions before the URL of one row: keys of tags may contain slashes."""

    routes = [
        SimpleRouter.routes[0],
        SimpleRouter.routes[1],
        SimpleRouter.routes[3],
        SimpleRouter.routes[2],
    ]


router = Router()
router.register(r"assets/(?P<asset>[^/]+)/tags", AssetTagViewSet, basename="asset-tag")
router.register("assets", AssetViewSet, basename="asset")
router.register(
    r"assets/(?P<asset>[^/]+)/workflows", AssetWorkflowViewSet, basename="asset-workflow"
)
router.register("decisions", DecisionViewSet, basename="decision")
router.register("tags", TagViewSet, basename="tag")
router.register("merges", TagMergeViewSet, basename="merge")
router.register("saved-searches", SavedSearchViewSet, basename="savedsearch")
router.register("jobs", JobViewSet, basename="job")
router.register("runs", RunViewSet, basename="run")
router.register("deliveries", DeliveryViewSet, basename="delivery")
router.register("uploads", UploadViewSet, basename="upload")


@csrf_exempt  # does nothing, and a POST to a wrong URL should get this message
def unknown_url(request: HttpRequest) -> HttpResponse:
    """Answer 404 for unknown URLs below ours."""
    detail = _("Not found.")
    if not request.path_info.endswith("/") and _exists(f"{request.path_info}/"):
        detail = _("Not found. Did you mean %(path)s?") % {"path": f"{request.path}/"}
    return HttpResponse(
        JSON().render(NOT_FOUND.body(detail)),
        status=NOT_FOUND.status,
        content_type=CONTENT_TYPE,
        headers={"X-Frame-Options": "DENY"},
    )


def _exists(path: str) -> bool:
    try:
        return resolve(path).func is not unknown_url
    except Resolver404:
        return False


# Only below our own prefixes: the host may have its own routes beside them.
_ours = "|".join(sorted({prefix.partition("/")[0] for prefix, _, _ in router.registry}))

urlpatterns = [
    path("v1/", include(router.urls)),
    re_path(rf"^v1/(?:{_ours})(?s:/.*)?\Z", unknown_url),
]
