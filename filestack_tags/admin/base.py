"""Base classes for read-only lists, and for lists too long to be counted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import model_format_dict, unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import SimpleTemplateResponse, TemplateResponse
from django.urls import URLPattern
from django.utils.formats import number_format
from django.utils.functional import cached_property
from django.utils.translation import gettext as _

from filestack_tags.assets.visibility import sees_everything
from filestack_tags.db.replicas import reading_primary
from filestack_tags.db.transactions import atomic, locked
from filestack_tags.search.totals import Total, capped

from . import lookups
from .changes import ChangesModelForm
from .login_redirect import with_login_redirect

NAMED = 20
"""Rows that are listed before an action on all matches."""

SHOWN = "shown"
"""The field with the ids of the rows that a confirmation counted, to which the action applies."""

COUNT_LIMIT = 10_000
"""Maximum rows that are counted. With a million rows counting takes longer than the page."""


def capped_total(rows: models.QuerySet[Any]) -> Total:
    """Return how many rows there are, up to :data:`COUNT_LIMIT`."""
    return capped(rows, COUNT_LIMIT)


def total_text(total: Total) -> str:
    """Return a total in the number format of the active language, as in ``10,000+``."""
    count = number_format(total.count, force_grouping=True)
    return count if total.is_exact else f"{count}+"


def _description(action: Any) -> str:
    """Return the description of an action: before Django 6.1 an action is a tuple."""
    return str(action[2] if isinstance(action, tuple) else action.plural_description)


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # generic in stubs only
    """Counts no further than :data:`COUNT_LIMIT`; the pages end there too."""

    @cached_property
    def count(self) -> int:
        return self.total.count

    @cached_property
    def total(self) -> Total:
        """How many rows there are, or that there are more than were counted."""
        rows: Any = self.object_list
        return Total(len(rows), is_exact=True) if isinstance(rows, list) else capped_total(rows)


def _read_from_primary(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Decorate a view so that it, and the template it returns, read from the primary."""

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> HttpResponse:
        with reading_primary():
            response = view(*args, **kwargs)
        if isinstance(response, SimpleTemplateResponse) and not response.is_rendered:
            response.render = reading_primary()(response.render)  # type: ignore[method-assign]  # rendered by the handler, after this view
        return response

    return wrapper


class BaseAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic in stubs only
    """The base class of every screen: no facets, no full count, our style sheet.

    Facets select one result column for each choice, which fails with some thousand tags.
    """

    form = ChangesModelForm
    show_facets = ShowFacets.NEVER
    show_full_result_count = False
    paginator = CappedPaginator
    list_per_page = 50
    list_max_show_all = 200
    confirmed_actions: tuple[str, ...] = ()
    """Actions that are confirmed even for selected rows; for all matches, every action is."""

    own_page_actions: tuple[str, ...] = ("delete_selected",)
    """Actions that open their own page before they change anything."""

    service_errors: tuple[type[Exception], ...] = ()
    """Exceptions that a service may raise after the form was valid, such as for a name taken
    meanwhile.
    """

    class Media:
        css = {"all": ("filestack_tags/admin.css",)}

    @property
    def urls(self) -> list[URLPattern]:
        """Return our URLs. All views except lists read from the primary database.

        See :mod:`filestack_tags.db.replicas`.
        """
        patterns = self.get_urls()
        for pattern in patterns:
            if not str(pattern.name).endswith("_changelist"):
                pattern.callback = _read_from_primary(pattern.callback)
        return [with_login_redirect(pattern, self.admin_site) for pattern in patterns]

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        allowed = super().lookup_allowed(lookup, value, request)
        return allowed and lookups.is_allowed_lookup(self.model, lookup)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return lookups.ValidatedChangeList

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Return the requested list.

        Raises:
            InvalidListParameters: when the parameters are invalid.
        """
        try:
            return super().get_changelist_instance(request)
        except IncorrectLookupParameters as error:
            raise lookups.InvalidListParameters(str(error)) from error

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        view = super().changelist_view
        if request.method == "POST":
            view = _read_from_primary(view)
        try:
            return view(request, extra_context)
        except lookups.InvalidListParameters:
            context = self.page_context(request, _("This list cannot be shown"))
            page = "filestack_tags/admin/invalid_list.html"
            return TemplateResponse(request, page, context, status=400)

    def response_action(
        self, request: HttpRequest, queryset: models.QuerySet[Any], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        selected = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if not all(lookups.is_id(self.model, text) for text in selected):
            text = _("The selection is invalid. Select the items again.")
            self.message_user(request, text, messages.ERROR)
            return None
        if SHOWN in request.POST:
            # There may be more matches now than were shown.
            post = request.POST.copy()
            post.setlist(ACTION_CHECKBOX_NAME, lookups.ids_in(request.POST[SHOWN]))
            post["select_across"] = "0"
            request.POST = post  # type: ignore[assignment]  # mutable, as Django's own copies
            queryset = self.get_queryset(request)
        elif (response := self._confirmation(request, queryset)) is not None:
            return response
        return super().response_action(request, queryset, *args, **kwargs)

    def _confirmation(
        self, request: HttpRequest, queryset: models.QuerySet[Any]
    ) -> HttpResponse | None:
        """Return the page that lists the rows of an action, None if no confirmation is needed."""
        name = request.POST.get("action", "")
        action = self.get_actions(request).get(name)
        across = request.POST.get("select_across") not in ("", "0", None)
        needs_confirmation = across or (
            name in self.confirmed_actions and "confirmed" not in request.POST
        )
        if action is None or name in self.own_page_actions or not needs_confirmation:
            return None
        if not across:
            queryset = queryset.filter(pk__in=request.POST.getlist(ACTION_CHECKBOX_NAME))
        ids = list(queryset.values_list("pk", flat=True)[: COUNT_LIMIT + 1])
        title = _description(action) % model_format_dict(self.opts)
        context = {
            **self.page_context(request, title),
            "action": name,
            "ids": ids[:COUNT_LIMIT],
            "is_capped": len(ids) > COUNT_LIMIT,
            "named": self.get_queryset(request).filter(pk__in=ids[:NAMED]),
            "checkbox": ACTION_CHECKBOX_NAME,
            "shown": SHOWN,
        }
        return TemplateResponse(request, "filestack_tags/admin/confirm_action.html", context)

    def page_context(self, request: HttpRequest, title: str) -> dict[str, Any]:
        """Return what every page of this admin passes to its template."""
        request.current_app = self.admin_site.name
        return {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "media": self.media,
        }

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Pass our columns as methods, not by name.

        By name, Django prefers a field of the model, and a host's relation to it is one: a
        one-to-one called ``picture`` would replace the column ``picture``.
        """
        own_columns = set(dir(type(self))) - set(dir(admin.ModelAdmin))
        return [
            getattr(self, column) if column in own_columns else column
            for column in super().get_list_display(request)
        ]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        try:
            if request.method != "POST" or object_id is None:
                return super().changeform_view(request, object_id, form_url, extra_context)
            with atomic():
                self._lock(object_id)
                return super().changeform_view(request, object_id, form_url, extra_context)
        except self.service_errors as error:
            messages.error(request, self.service_error_message(error))
            return HttpResponseRedirect(request.get_full_path())

    def _lock(self, object_id: str) -> None:
        """Lock the row, so that it cannot change between the comparison and the write."""
        with suppress(ValidationError):  # Django reports that there is no such row
            pk = self.opts.pk.to_python(unquote(object_id))
            locked(self.model._base_manager.filter(pk=pk)).values_list("pk").first()

    def service_error_message(self, error: Exception) -> str:
        """Return the message for one of :attr:`service_errors`."""
        return str(error)


class ReadOnlyAdmin(BaseAdmin):
    """A read-only screen: only automatic work creates and changes its rows."""

    heavy: tuple[str, ...] = ()
    """Columns too large to be read for a list."""

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        rows = super().get_queryset(request)
        match = request.resolver_match
        is_list = match is not None and str(match.url_name).endswith("_changelist")
        return rows.defer(*self.heavy) if is_list else rows

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class UnscopedAdmin(ReadOnlyAdmin):
    """A screen about the whole installation: only for users who may see all assets."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) and sees_everything(request.user)
