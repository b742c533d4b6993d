from __future__ import annotations

from django.urls import path

from filestack_tags.views import WebhookView

from .floor.views import bare, same_row

urlpatterns = [
    path("app/", WebhookView.as_view()),
    path("floor/", bare),
    path("same-row/", same_row),
]
