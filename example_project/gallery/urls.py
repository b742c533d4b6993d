from __future__ import annotations

from django.urls import path

from . import views

app_name = "gallery"
urlpatterns = [
    path("", views.search, name="search"),
    path("pictures/<int:pk>/", views.thumbnail, name="thumbnail"),
    path("upload/", views.upload, name="upload"),
]
