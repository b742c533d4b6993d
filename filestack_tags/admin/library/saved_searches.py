"""Saved searches: the list of them, and the menu beside the search box."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from filestack_tags.admin.base import BaseAdmin
from filestack_tags.admin.changes import ChangesModelForm
from filestack_tags.curation import saved_searches
from filestack_tags.exceptions import InvalidLabel, SavedSearchError, SearchError
from filestack_tags.models import SavedSearch
from filestack_tags.search.pages import Order

from .asset_list import Sorting

MENU = 50
"""Maximum searches in the menu; the list has all of them."""


class SavedSearchForm(ChangesModelForm):
    """A search to save for the current user; the service checks it."""

    owner: Any
    """Set on the class that is created for a request."""

    class Meta:
        model = SavedSearch
        fields = ("name", "query", "order", "order_tag", "shared")
        widgets = {
            "query": forms.TextInput(
                attrs={"dir": "auto", "class": "vTextField", "spellcheck": "false"}
            ),
        }
        help_texts = {
            "query": gettext_lazy("Leave empty for all assets."),
            "order_tag": gettext_lazy(
                "The tag to order by confidence; by default the first tag of the search."
            ),
            "shared": gettext_lazy(
                "Also show this search to other users who can see the same assets."
            ),
        }

    def wanted(self) -> saved_searches.SavedSearchInput:
        """Return the values to save; empty for invalid fields."""
        cleaned = self.cleaned_data
        return saved_searches.SavedSearchInput(
            name=cleaned.get("name", ""),
            query=cleaned.get("query", ""),
            order=cleaned.get("order", SavedSearch.Order.NEWEST),
            order_tag=cleaned.get("order_tag", ""),
            shared=cleaned.get("shared", False),
        )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.errors:
            return cleaned
        try:
            saved_searches.check(self.wanted(), user=self.owner, saved_id=self.instance.pk)
        except SearchError as error:
            self.add_error("query", _with_suggestion(error))
        except SavedSearchError as error:
            self.add_error(error.parameter, str(error))
        except InvalidLabel as error:
            self.add_error("order_tag", str(error))
        return cleaned


@admin.register(SavedSearch)
class SavedSearchAdmin(BaseAdmin):
    """Users see their own searches and those shared with them, and change their own."""

    form = SavedSearchForm
    service_errors = (SavedSearchError, SearchError)
    list_display = ("__str__", "search_link", "order", "owner", "shared", "created_at")
    list_select_related = ("owner",)
    list_filter = ("shared",)
    sortable_by = ()
    search_fields = ("name", "query")

    def get_queryset(self, request: HttpRequest) -> QuerySet[SavedSearch]:
        return saved_searches.visible_to(request.user)

    def get_form(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, *args, **kwargs)
        form.owner = request.user
        return form

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and _is_theirs(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and _is_theirs(request, obj)

    def save_model(
        self, request: HttpRequest, obj: SavedSearch, form: SavedSearchForm, change: bool
    ) -> None:
        owner: Any = request.user
        obj.pk = saved_searches.save(form.wanted(), user=owner, saved_id=obj.pk).pk

    def delete_model(self, request: HttpRequest, obj: SavedSearch) -> None:
        owner: Any = request.user
        saved_searches.delete(obj.pk, user=owner)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for saved in queryset:
            self.delete_model(request, saved)

    def response_add(
        self, request: HttpRequest, obj: SavedSearch, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Return to the list that was searched."""
        if "_save" not in request.POST:
            return super().response_add(request, obj, post_url_continue)
        self.message_user(request, _("Saved as “%(name)s”.") % {"name": obj}, messages.SUCCESS)
        return HttpResponseRedirect(link(obj, self.admin_site.name))

    @admin.display(description=gettext_lazy("search"))
    def search_link(self, saved: SavedSearch) -> SafeString:
        return format_html(
            '<a class="fst-query" dir="auto" href="{}">{}</a>',
            link(saved, self.admin_site.name),
            saved.query or _("all assets"),
        )


def link(saved: SavedSearch, admin_site_name: str) -> str:
    """Return the URL of the matching assets, in the saved order."""
    page = reverse("admin:filestack_tags_asset_changelist", current_app=admin_site_name)
    order = Sorting(cast("Order", saved.order), saved.order_tag or None).parameters
    parameters = {"q": saved.query or None, **order}
    return f"{page}?{urlencode({name: value for name, value in parameters.items() if value})}"


def menu(request: HttpRequest, site: admin.AdminSite) -> dict[str, Any]:
    """Return the saved searches for the asset list's menu; nothing without the permission."""
    if not site.is_registered(SavedSearch):
        return {}
    screen = site.get_model_admin(SavedSearch)
    visible: Iterable[SavedSearch] = ()
    if screen.has_view_permission(request):
        visible = saved_searches.visible_to(request.user).select_related("owner")[:MENU]
    return {
        "saved_searches": [
            {
                "name": saved.name,
                "url": link(saved, site.name),
                "owner": "" if saved.owner_id == request.user.pk else str(saved.owner),
            }
            for saved in visible
        ],
        "may_save_searches": screen.has_add_permission(request),
    }


def _is_theirs(request: HttpRequest, saved: SavedSearch | None) -> bool:
    return saved is None or saved.owner_id == request.user.pk


def _with_suggestion(error: SearchError) -> str:
    if not error.suggestion:
        return error.message
    return f"{error.message} {_('Did you mean')} {error.suggestion}"
