"""Helpers for finding assets: completion, the tags of a result, the confidence slider."""

from __future__ import annotations

from contextlib import suppress
from copy import copy
from typing import Any
from urllib.parse import urlencode

from django.apps import apps
from django.contrib import messages
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBadRequest,
    HttpResponseRedirect,
    JsonResponse,
    QueryDict,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _

from filestack_tags.admin.lookups import InvalidListParameters, is_number
from filestack_tags.assets.visibility import scope_of, sees_hidden_tags
from filestack_tags.exceptions import SearchError, SearchTimeout
from filestack_tags.operations.status import not_configured
from filestack_tags.search.completion import complete
from filestack_tags.search.facets import Facets
from filestack_tags.search.language.tree import label_text
from filestack_tags.search.limits import parse_query

from . import asset_list, saved_searches, search_terms
from .asset_page import AssetPage
from .changelist import CAME_FROM, VIEW, VIEWS

COMPLETIONS = 10
FACETS = 30
SAMPLE = 2_000
"""Sample size for counting the tags of a large result: enough for the order of the first ones."""

MAX_TYPED = 2_000
"""Maximum characters of a search that are parsed to complete a name."""

AT_LEAST = "at_least"
"""The parameter of the confidence slider, which is merged into the search."""

YEAR = 365 * 24 * 3600


class AssetSearchPages(AssetPage):
    """The views beside the list of assets, which its page requests after loading."""

    def get_urls(self) -> list[URLPattern]:
        complete = self.admin_site.admin_view(self.complete)
        facets = self.admin_site.admin_view(self.facets)
        return [
            path("complete/", complete, name="filestack_tags_asset_complete"),
            path("facets/", facets, name="filestack_tags_asset_facets"),
            *super().get_urls(),
        ]

    def complete(self, request: HttpRequest) -> JsonResponse:
        """Return completions of the word before the caret.

        The parameters ``before`` and ``after`` are the text before and after the caret. The
        response has the same two without that word, and names in search syntax. The ``note`` of a
        tag says that its count ignores the minimum confidence, which a search for it applies.
        """
        if not self.has_view_permission(request):
            return JsonResponse(
                {"error": _("You do not have permission to view assets.")}, status=403
            )
        before = request.GET.get("before", "")
        text = before + request.GET.get("after", "")
        if len(text) > MAX_TYPED:
            return JsonResponse({"error": _("This search is too long.")}, status=400)
        word = search_terms.word_at(text, len(before))
        if word is None:
            return JsonResponse({"before": before, "after": text[len(before) :], "tags": []})
        completions = complete(
            word.typed,
            limit=COMPLETIONS,
            include_hidden="include:hidden" in text and sees_hidden_tags(request.user),
            scope=scope_of(request.user),
        )
        tags = [
            {
                "name": tag.name,
                "text": label_text(tag.name),
                "count": tag.count,
                "note": _("at any confidence; minimum %(minimum)s")
                % {"minimum": tag.min_confidence}
                if tag.min_confidence
                else "",
            }
            for tag in completions
        ]
        return JsonResponse({"before": word.before, "after": word.after, "tags": tags})

    def facets(self, request: HttpRequest) -> HttpResponse:
        """Show the most frequent tags of a result: a part of the list, or a separate page."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            changelist: Any = self.get_changelist_instance(request)
        except InvalidListParameters:
            return HttpResponseBadRequest(_("The list does not support this filter."))
        request.current_app = self.admin_site.name
        part = request.headers.get("X-Requested-With") == "XMLHttpRequest"
        return TemplateResponse(
            request,
            "filestack_tags/admin/facets.html"
            if part
            else "filestack_tags/admin/facets_page.html",
            {
                **({} if part else self.admin_site.each_context(request)),
                "title": _("Tags in these results"),
                "opts": self.opts,
                "media": self.media,
                "cl": changelist,
                **_shown(changelist, self._list_url()),
            },
        )

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list; merge the slider's value into the search; remember the view."""
        if (minimum := request.GET.get(AT_LEAST)) is not None and request.method == "GET":
            return HttpResponseRedirect(_with_minimum(request, minimum))
        context = {
            **saved_searches.menu(request, self.admin_site),
            "not_configured": not_configured(),
            # django-unfold renders the tools of a list beside each other, not in an HTML list.
            "tools_are_listed": not apps.is_installed("unfold"),
            **(extra_context or {}),
        }
        try:
            response: HttpResponse = super().changelist_view(request, context)
        except SearchError as error:  # in an action on all matches
            if request.method != "POST":
                raise
            messages.error(request, error.message)
            return HttpResponseRedirect(request.get_full_path())
        if (view := request.GET.get(VIEW)) in VIEWS:
            response.set_cookie(VIEW, view, max_age=YEAR, samesite="Lax", path=request.path)
        return response

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show an asset, with links to its neighbours in the result that led here."""
        context = {**self._neighbours(request, object_id), **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    def _neighbours(self, request: HttpRequest, object_id: str) -> dict[str, Any]:
        came_from = request.GET.get(CAME_FROM, "")
        # Always set: for a missing variable Django logs the whole context, including signed URLs.
        nothing: dict[str, Any] = {"result_url": ""}
        is_id = is_number(object_id)
        if not came_from or not is_id or not self.has_view_permission(request):
            return nothing
        request_of_list = copy(request)
        request_of_list.GET = QueryDict(came_from)
        request_of_list.is_query_only = True  # type: ignore[attr-defined]  # for is_query_only()
        try:
            changelist: Any = self.get_changelist_instance(request_of_list)
        except (InvalidListParameters, SuspiciousOperation):
            return nothing
        context = {"result_url": f"{self._list_url()}?{came_from}"}
        list_request = getattr(changelist, "list_request", None)
        if list_request is None or changelist.problem:
            return context  # a request outside the search language has no order for neighbours
        try:
            neighbours = asset_list.neighbours(list_request, int(object_id))
        except SearchError:  # it took too long, or a prefix matches too many tags
            return context
        for name, pk in (("previous_url", neighbours.previous), ("next_url", neighbours.next)):
            if pk is not None:
                context[name] = f"{self._url(pk)}?{urlencode({CAME_FROM: came_from})}"
        return {**context, "has_result": True}

    def _list_url(self) -> str:
        return reverse(
            "admin:filestack_tags_asset_changelist", current_app=self.admin_site.name
        )


def is_query_only(request: HttpRequest) -> bool:
    """Whether the request is about a result as a whole, and needs no asset of it."""
    match = request.resolver_match
    is_facets = match is not None and match.url_name == "filestack_tags_asset_facets"
    return is_facets or getattr(request, "is_query_only", False)


def _shown(changelist: Any, url: str) -> dict[str, Any]:
    """Return the tags of the result with links that add, exclude and remove them."""
    if getattr(changelist, "list_request", None) is None or changelist.problem:
        return {"facets": None, "tags": []}
    try:
        facets: Facets = changelist.list_request.search.facets(limit=FACETS, sample=SAMPLE)
    except SearchTimeout:
        return {"facets": None, "tags": [], "took_too_long": True}
    except SearchError:  # a prefix matches too many tags
        return {"facets": None, "tags": []}
    typed = parse_query(changelist.query)

    def link(text: str) -> str:
        return url + str(changelist.get_query_string({SEARCH_VAR: text or None}))

    tags = [
        {
            "name": tag.name,
            "count": tag.count,
            "stance": (stance := search_terms.stance(typed, tag.name)),
            "toggle": link(
                search_terms.without_tag(typed, tag.name)
                if stance == "included"
                else search_terms.with_tag(typed, tag.name)
            ),
            "exclude": link(search_terms.with_tag(typed, tag.name, exclude=True)),
        }
        for tag in facets.tags
    ]
    return {"facets": facets, "tags": tags}


def _with_minimum(request: HttpRequest, minimum: str) -> str:
    parameters = request.GET.copy()
    del parameters[AT_LEAST]
    value = int(minimum) if is_number(minimum, digits=3) else 0
    with suppress(SearchError):  # the list shows what is wrong with it
        parameters[SEARCH_VAR] = search_terms.with_minimum(
            parse_query(parameters.get(SEARCH_VAR, "")), min(value, 100)
        )
    return f"?{urlencode(list(parameters.lists()), doseq=True)}"
