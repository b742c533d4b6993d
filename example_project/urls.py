from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("example_project.gallery.urls")),
    path("admin/", admin.site.urls),
    path("filestack/", include("filestack_tags.urls")),
    path("api/", include("filestack_tags.api.urls")),
]
