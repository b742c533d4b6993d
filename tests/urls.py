from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include("filestack_tags.api.urls")),
    path("filestack/", include("filestack_tags.urls")),
    path("health/", include("filestack_tags.operations.health")),
]
