from django.urls import path
from drf_spectacular.views import (
    SpectacularAPIView,
    SpectacularRedocView,
    SpectacularSwaggerView,
)

from tests.urls import urlpatterns as ours

urlpatterns = [
    *ours,
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("schema/swagger/", SpectacularSwaggerView.as_view(url_name="schema")),
    path(
        "schema/redoc/",
        SpectacularRedocView.as_view(
            url_name="schema", template_name="filestack_tags/redoc.html"
        ),
    ),
]
