from __future__ import annotations

from django.urls import path

from filestack_tags.views import webhook

from .floor.views import bare, same_row

urlpatterns = [
    path("app/", webhook),
    path("floor/", bare),
    path("same-row/", same_row),
]
