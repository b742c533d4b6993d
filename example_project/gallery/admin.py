"""Albums in the admin, searchable by the tags of their covers."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from example_project.gallery.models import Album
from filestack_tags import SearchError
from filestack_tags.models import Asset


@admin.register(Album)
class AlbumAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    list_display = ("title", "cover", "cover_asset")
    list_select_related = ("cover_asset",)
    readonly_fields = ("cover_asset",)
    search_fields = ("title",)
    search_help_text = "What covers show, such as cat>=80 -dog."

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Album], search_term: str
    ) -> tuple[QuerySet[Album], bool]:
        if not search_term:
            return queryset, False
        try:
            covers = Asset.objects.search(search_term)
        except SearchError as error:
            self.message_user(request, error.message, messages.ERROR)
            return queryset.none(), False
        return queryset.filter(cover_asset__in=covers), False
