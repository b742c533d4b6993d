"""The pages of the asset list: keyset pages if the search language can express the request.

Django's pages, with a count up to a limit, serve a host's own filter, a click on a column header
and the list of archived assets.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.admin.views.main import ALL_VAR, ORDER_VAR, PAGE_VAR, SEARCH_VAR
from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from filestack_tags.admin import base
from filestack_tags.admin.badges import badges_of
from filestack_tags.admin.explain import explained, hinted
from filestack_tags.admin.lookups import ValidatedChangeList
from filestack_tags.assets.visibility import scope_of
from filestack_tags.exceptions import SearchError, SearchTimeout
from filestack_tags.models import Asset
from filestack_tags.search.language.tree import Everything, Node, Query
from filestack_tags.search.limits import parse_query
from filestack_tags.search.totals import Total

from . import asset_list, search_terms
from .cells import Cells
from .filters import HasTerm

VIEW = "view"
"""The parameter and the cookie that select the view of the list."""

CAME_FROM = "_changelist_filters"
"""Django's parameter on an asset's page for the list that led there."""

PLACES = (PAGE_VAR, ALL_VAR, VIEW, asset_list.CURSOR)
"""Parameters that affect neither the content nor the order of a list."""

VIEWS = {"grid": 160, "table": 64}
"""The views, with the height of a picture in pixels."""


class AssetChangeList(ValidatedChangeList):
    """Django's numbered pages, with the tags of a whole page read in one query."""

    problem: SafeString | None = None
    """What is wrong with the search, with the position marked."""

    unknown: tuple[SafeString, ...] = ()
    """Messages about names that are not tags."""

    list_page: asset_list.ListPage | None = None
    """The page, if it was read by keyset."""

    total: Total

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        parameters: dict[str, Any] = super().get_filters_params(params)
        parameters.pop(VIEW, None)
        return parameters

    def get_results(self, request: HttpRequest) -> None:
        try:
            super().get_results(request)
            self.result_list = list(self.result_list)
        except SearchError as error:  # it took too long, or a prefix is too short
            self.problem = explained(error, self.query)
            self.queryset = self.root_queryset.none()
            super().get_results(request)
        exact = Total(self.result_count, is_exact=True)
        self.total = getattr(self.paginator, "total", exact)  # a host may set its own paginator
        self._complete(request)

    def _complete(self, request: HttpRequest) -> None:
        self.view = _view(request, self.model_admin)
        # Django also shows the count beside the search, and would not show that there are more.
        self.full_result_count = self.result_count
        self.result_list = list(self.result_list)
        admin: Any = self.model_admin  # of this package, or a host's subclass
        cells = Cells(
            badges=badges_of(self.result_list),
            url=admin.asset_url(),
            came_from=self.came_from,
            picture=admin.pictures(VIEWS[self.view]),
        )
        for asset in self.result_list:
            asset.cells = cells

    @cached_property
    def came_from(self) -> str:
        """The query string for links to assets that identifies this list, as Django's links do."""
        state = self.get_query_string(dict.fromkeys(PLACES)).removeprefix("?")
        return f"?{urlencode({CAME_FROM: state or f'{SEARCH_VAR}='})}"

    @property
    def view_links(self) -> list[dict[str, Any]]:
        """Links to the views, with the current one marked."""
        names = {"grid": _("Grid"), "table": _("Table")}
        return [
            {
                "name": names[view],
                "url": self.get_query_string({VIEW: view}),
                "is_current": view == self.view,
            }
            for view in VIEWS
        ]

    @property
    def chips(self) -> list[dict[str, str]]:
        """The terms of the search, each with a link to the search without it."""
        return [
            {
                "text": term.text,
                "url": self.get_query_string({SEARCH_VAR: term.rest or None}),
            }
            for term in search_terms.terms(self.typed)
        ]

    @property
    def minimum(self) -> int | None:
        """The value of the confidence slider; None when the search has no tag."""
        return search_terms.minimum(self.typed)

    @property
    def kept(self) -> list[tuple[str, str]]:
        """The parameters that another search keeps."""
        return [(name, value) for name, value in self.params.items() if name != SEARCH_VAR]

    @cached_property
    def typed(self) -> Query:
        """The parsed search; the empty search if it is invalid."""
        try:
            return parse_query(self.query)
        except SearchError:
            return Query()

    @property
    def without_search(self) -> str:
        return str(self.get_query_string({SEARCH_VAR: None}))

    @property
    def facets_query(self) -> str:
        return str(self.get_query_string())

    @property
    def total_text(self) -> str:
        return base.total_text(self.total)


class KeysetChangeList(AssetChangeList):
    """Pages without numbers, which cost the same at any depth."""

    shows_hints = True
    list_request: asset_list.ListRequest | None
    """The search, order and position, None if the search language cannot express them."""

    # Parsing the request

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        parameters = super().get_filters_params(params)
        return {
            name: parameters[name] for name in parameters if name not in asset_list.PARAMETERS
        }

    def get_filters(self, request: HttpRequest) -> Any:
        """Read the filters once: some query the database for their choices."""
        if not hasattr(self, "_filters"):
            self._filters = super().get_filters(request)
        return self._filters

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: Any = None
    ) -> QuerySet[Any]:
        """Return all matches; they are only read for an action on all of them."""
        for parameters in (self.params, self.filter_params):
            parameters.pop(asset_list.CURSOR, None)  # only links to pages have a cursor
        self.list_request, self._matches = None, None
        self.scope = scope_of(request.user)
        self.notes: list[tuple[int, str]] = []
        filter_terms = self._terms(request)
        if filter_terms is None or exclude_parameters is not None:
            return super().get_queryset(request, exclude_parameters)
        self.filter_specs, self.has_filters, _unclaimed, _twice, active = self._filters
        self.has_active_filters = active
        self.clear_all_filters_qs = self.get_query_string(remove=self.get_filters_params())
        try:
            self._matches = self._matching(request, filter_terms)
        except SearchError as error:
            self.problem = explained(error, self.query)
            return self.root_queryset.none()
        if self.params.get(ORDER_VAR):
            return self._matches.order_by(*self.get_ordering(request, self._matches))
        return self._matches

    def _terms(self, request: HttpRequest) -> list[Node] | None:
        """Return the terms of the filters, None if the search language cannot express them."""
        specs, _any, unclaimed, _twice, _active = self.get_filters(request)
        ordered = self.model_admin.get_ordering(request) and asset_list.ORDER not in self.params
        if unclaimed or ordered or _is_narrowed(self.root_queryset, self.scope):
            return None
        terms = []
        for spec in specs:
            if isinstance(spec, HasTerm):
                term = spec.term()
            else:
                filtered = spec.queryset(request, self.root_queryset)
                term = (
                    None
                    if filtered is not None and _is_narrowed(filtered, self.scope)
                    else Everything()
                )
            if term is None:
                return None
            terms.append(term)
        return terms

    def _matching(self, request: HttpRequest, filters: Iterable[Node]) -> QuerySet[Any]:
        using = self.root_queryset.db
        self.list_request = asset_list.parse_request(
            request.GET, self.query, filters, user=request.user, using=using
        )
        search = self.list_request.search
        if self.shows_hints:
            with suppress(SearchTimeout):
                self.unknown = tuple(
                    hinted(hint) for hint in search.hints(self.list_request.typed)
                )
        matches = search.assets(self.root_queryset.filter(deleted_at=None))
        return self._with_related(matches).order_by("-pk")

    def _with_related(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows if rows.query.select_related else self.apply_select_related(rows)

    # Reading the page

    def get_results(self, request: HttpRequest) -> None:
        # A host's subclass may have narrowed the queryset further.
        if self.list_request is None or self.queryset is not self._matches:
            super().get_results(request)
        else:
            try:
                self._read_page(request, self.list_request)
            except SearchError as error:
                self.problem = explained(error, self.query)
                self.list_request, self.list_page = None, None
                self.queryset = self.root_queryset.none()
                super().get_results(request)
        if (
            request.method == "GET"
        ):  # after an action the page is shown again, with its messages
            for level, note in self.notes:
                messages.add_message(request, level, note)

    def _read_page(self, request: HttpRequest, list_request: asset_list.ListRequest) -> None:
        size, cap = self.list_per_page, base.COUNT_LIMIT
        self.list_page = asset_list.read_page(list_request, size=size, cap=cap)
        self.total = self.list_page.total
        self.result_count = self.total.count
        self.can_show_all = self.total.is_exact and self.result_count <= self.list_max_show_all
        if self.show_all and self.can_show_all and self.result_count > size:
            whole = replace(list_request, cursor=None)
            size = self.list_max_show_all
            self.list_page = asset_list.read_page(whole, size=size, cap=cap)
        self.notes += [(messages.WARNING, note) for note in self.list_page.notes]
        # Through the admin's own queryset: a host may have added columns to it.
        ids = self.list_page.page.ids
        assets = self._with_related(self.root_queryset).in_bulk(ids)
        self.result_list = [assets[pk] for pk in ids if pk in assets]
        self.multi_page = False
        self.show_full_result_count = self.model_admin.show_full_result_count
        self.show_admin_actions = True
        self.paginator = self.model_admin.get_paginator(request, self.queryset, size)
        self._complete(request)

    # Links

    @property
    def search_text(self) -> str | None:
        """The whole request, text and filters, as one search; None if it cannot be expressed.

        For actions on all matches.
        """
        return (
            None if self.list_request is None or self.problem else str(self.list_request.search)
        )

    @property
    def save_query(self) -> str:
        """The query string that passes this search to the page that saves searches."""
        if self.list_request is None or not self.search_text:
            return ""
        parameters = {"query": self.search_text, **self.list_request.sorting.parameters}
        return urlencode({name: value for name, value in parameters.items() if value})

    def get_query_string(self, new_params: Any = None, remove: Any = None) -> str:
        """Return the parameters of a link; a column to sort by replaces an order."""
        if new_params and new_params.get(ORDER_VAR):
            new_params = {asset_list.ORDER: None, asset_list.ORDER_TAG: None, **new_params}
        return super().get_query_string(new_params, remove)

    @property
    def page_links(self) -> dict[str, str]:
        """Links to the first, previous and next page and to one long page, if they exist."""
        if self.list_page is None:
            return {}
        links = {}
        page = self.list_page.page
        if page.previous:
            links["first"] = self.get_query_string()
            links["previous"] = self.get_query_string({asset_list.CURSOR: page.previous})
        if page.next:
            links["next"] = self.get_query_string({asset_list.CURSOR: page.next})
        if links and self.can_show_all:
            links["all"] = self.get_query_string({ALL_VAR: ""})
        return links

    @property
    def order_links(self) -> list[dict[str, Any]]:
        """Links to the available orders, with the current one marked."""
        if self.list_request is None:
            return []
        return [
            {
                "name": _name(each),
                "url": self.get_query_string({**each.parameters, ORDER_VAR: None}),
                "is_current": self.list_page is not None and each == self.list_request.sorting,
            }
            for each in self.list_request.offered
        ]


class QueryOnlyChangeList(KeysetChangeList):
    """Parses the request without reading any asset."""

    shows_hints = False

    def get_results(self, request: HttpRequest) -> None:
        self.result_list: list[Asset] = []
        self.result_count = self.full_result_count = 0
        self.can_show_all, self.multi_page = False, False
        self.paginator = self.model_admin.get_paginator(request, self.queryset, 1)


def _view(request: HttpRequest, admin: Any) -> str:
    """Return the requested or last used view; a host's own columns require the table."""
    default = "grid" if admin.shows_only_our_columns else "table"
    view = request.GET.get(VIEW) or request.COOKIES.get(VIEW)
    return view if view in VIEWS else default


def _is_narrowed(rows: QuerySet[Any], scope: Q | None) -> bool:
    """Whether ``rows`` are fewer than the assets of the scope."""
    query = rows.query
    if query.is_sliced or query.combinator or query.distinct:
        return True
    if scope is None or not query.where:
        return bool(query.where)
    return _condition(rows) != _condition(Asset.objects.using(rows.db).within(scope))


def _condition(rows: QuerySet[Any]) -> tuple[Any, ...]:
    try:
        sql, params = rows.query.get_compiler(rows.db).compile(rows.query.where)
    except EmptyResultSet:
        return ("nothing",)
    except FullResultSet:
        return ()
    return (sql, *params)


def _name(sorting: asset_list.Sorting) -> str:
    match sorting.order:
        case "newest":
            return _("Newest")
        case "oldest":
            return _("Oldest")
        case "best":
            return _("Best match")
        case "confidence":
            return _("Confidence of “%(tag)s”") % {"tag": sorting.tag}
