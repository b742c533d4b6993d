"""The tags: number of assets, minimum confidence, aliases."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from filestack_tags import curation
from filestack_tags.admin.base import BaseAdmin
from filestack_tags.admin.display import sensitive_mark
from filestack_tags.admin.forms import TagForm
from filestack_tags.assets.visibility import sees_everything, tags_named_to, tags_of
from filestack_tags.db.text import fold
from filestack_tags.exceptions import CurationError
from filestack_tags.models import Tag
from filestack_tags.search.language.tree import label_text

from .merges import merge_view
from .tag_labels import never_show_view, sensitive_view
from .thresholds import minimum_view, threshold_view


@admin.register(Tag)
class TagAdmin(BaseAdmin):
    form = TagForm
    service_errors = (CurationError,)
    fields = ("name", "key", "asset_link", "min_confidence", "hidden", "aliases")
    readonly_fields = ("key", "asset_link")
    list_display = ("label", "asset_link", "min_confidence", "hidden", "alias_keys")
    change_form_template = "filestack_tags/admin/tag.html"
    change_list_template = "filestack_tags/admin/tag_list.html"
    list_filter = ("hidden", ("min_confidence", admin.EmptyFieldListFilter))
    search_fields = ("key",)
    search_help_text = _("Searches for part of a tag name or alias.")

    def get_urls(self) -> list[Any]:
        def view(show: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
            return self.admin_site.admin_view(partial(show, self))

        name = "filestack_tags_tag_{}".format
        return [
            path("never-show/", view(never_show_view), name=name("never_show")),
            path("minimum/", view(minimum_view), name=name("minimum")),
            path("sensitive/", view(sensitive_view), name=name("sensitive")),
            path("<int:pk>/merge/", view(merge_view), name=name("merge")),
            path("<int:pk>/threshold/", view(threshold_view), name=name("threshold")),
            *super().get_urls(),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        may = {
            "may_change": self.has_change_permission(request),
            "sees_everything": sees_everything(request.user),
        }
        return super().changelist_view(request, {**may, **(extra_context or {})})

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tag]:
        tags = tags_of(request.user)
        if not self.has_change_permission(request):
            tags = tags.filter(pk__in=tags_named_to(request.user).values("pk"))
        ordering = self.get_ordering(request)
        return (tags.order_by(*ordering) if ordering else tags).prefetch_related("aliases")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not fold(search_term):
            return queryset, False
        return queryset.filter(pk__in=tags_named(search_term).values("pk")), False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        if self.has_change_permission(request, obj):
            return self.readonly_fields
        return (*self.readonly_fields, "alias_keys")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        if self.has_change_permission(request, obj):
            return self.fields
        return tuple("alias_keys" if name == "aliases" else name for name in self.fields)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # tags are created together with an asset that has them

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Tags are shared by all users: those who cannot see all effects may not change them.
        return super().has_change_permission(request, obj) and sees_everything(request.user)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # hiding a tag keeps the decisions about it

    def save_model(self, request: HttpRequest, obj: Tag, form: TagForm, change: bool) -> None:
        cleaned, changed = form.cleaned_data, set(form.changed_data)
        if "name" in changed:
            curation.rename(obj.pk, cleaned["name"])
        if "min_confidence" in changed:
            curation.set_minimum(obj.pk, cleaned["min_confidence"])
        if "hidden" in changed:
            curation.hide(obj.pk, hidden=cleaned["hidden"])
        if "aliases" in changed:
            # Only what the user changed: a rename also adds an alias. In order, because it is all
            # one transaction, and another user may be changing the same.
            for key in sorted(set(form.known_aliases) - set(cleaned["aliases"])):
                curation.remove_alias(form.known_aliases[key])
            for key in sorted(set(cleaned["aliases"]) - set(form.known_aliases)):
                curation.add_alias(obj.pk, key)

    @admin.display(description=_("tag"), ordering="key")
    def label(self, tag: Tag) -> SafeString:
        name = format_html('<span class="fst-name" dir="auto">{}</span>', tag.name)
        return name + sensitive_mark(tag.key)

    @admin.display(description=_("assets"), ordering="visible_assets")
    def asset_link(self, tag: Any) -> SafeString:
        url = reverse("admin:filestack_tags_asset_changelist", current_app=self.admin_site.name)
        # At any confidence, like the count: the name alone would apply the tag's minimum.
        query = f"{label_text(tag.name)}>=0"
        return format_html(
            '<a href="{}?{}">{}</a>', url, urlencode({"q": query}), tag.visible_assets
        )

    @admin.display(description=_("aliases"))
    def alias_keys(self, tag: Tag) -> str | SafeString:
        keys = ", ".join(alias.key for alias in tag.aliases.all())
        return format_html('<span dir="auto">{}</span>', keys) if keys else "–"


def tags_named(text: str) -> QuerySet[Tag]:
    """Return the tags with *text* in their name or in an alias, case-insensitively.

    It matches any part of a name, not only the beginnings of words as in a completion, because this
    search is for labels of taggers. Reading ten thousand keys takes some milliseconds.
    """
    part = fold(text)
    return Tag.objects.filter(Q(key__contains=part) | Q(aliases__key__contains=part))
