"""A list of assets for a request: the search, the order and the cursor; and its page.

Every view with such a list parses the request here. How it is displayed is up to the view.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.utils.translation import gettext as _

from filestack_tags.db.text import label_key
from filestack_tags.exceptions import (
    CursorError,
    InvalidLabel,
    SearchError,
    SearchTimeout,
)
from filestack_tags.search import Search
from filestack_tags.search.language.tree import And, HasTag, Node, Or, Query, conjunction
from filestack_tags.search.limits import parse_query
from filestack_tags.search.pages import ORDERS, Neighbours, Order, Page
from filestack_tags.search.totals import Total

ORDER, ORDER_TAG, CURSOR = PARAMETERS = ("order", "order_tag", "cursor")
"""The parameters for order and position, named as in the REST API."""

MAX_TAG_ORDERS = 5
"""How many tags of one search are offered for sorting."""


@dataclass(frozen=True, slots=True)
class Sorting:
    """An order, and the tag whose confidence it uses."""

    order: Order = "newest"
    tag: str | None = None

    @property
    def parameters(self) -> dict[str, str | None]:
        """The parameters of a link to this order; None for those to remove."""
        return {ORDER: None if self.order == "newest" else self.order, ORDER_TAG: self.tag}


@dataclass(frozen=True, slots=True)
class ListRequest:
    """The search, order and position of a request.

    Args:
        search: the search from its text and its filters.
        typed: the text alone.
        sorting: the order.
        cursor: the position, None for the first page.
        notes: messages about parts of the request that could not be applied.
    """

    search: Search
    typed: Query
    sorting: Sorting = Sorting()
    cursor: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def offered(self) -> tuple[Sorting, ...]:
        """The available orders, including this one."""
        orders = (Sorting(), Sorting("oldest"), *_by_confidence(self.search.query))
        return orders if self.sorting in orders else (*orders, self.sorting)


@dataclass(frozen=True, slots=True)
class ListPage:
    """A page, how many assets match, and messages about the page."""

    page: Page
    total: Total
    notes: tuple[str, ...] = ()


def parse_request(
    parameters: Mapping[str, str],
    text: str,
    terms: Iterable[Node],
    *,
    user: Any,
    using: str,
) -> ListRequest:
    """Parse a request for a list of assets.

    An unknown order, or one that cannot be applied, is replaced by the newest first.

    Args:
        parameters: the parameters of the request.
        text: the search as typed.
        terms: the terms from filters.
        user: the user, whose scope and permissions apply.
        using: alias of the database.

    Raises:
        SearchError: when the text cannot be parsed.
    """
    typed = parse_query(text)
    query = replace(typed, where=conjunction((typed.where, *terms)))
    if query != typed:
        try:  # actions on all matches need it as text
            parse_query(str(query))
        except SearchError as error:
            raise SearchError(
                _("The search and the filters together exceed a limit. %(reason)s")
                % {"reason": error.message}
            ) from error
    notes: tuple[str, ...] = ()
    try:
        sorting = _sorting(parameters, query)
    except InvalidLabel as error:
        sorting, notes = Sorting(), (str(error),)
    search = Search(query, user=user, using=using)
    return ListRequest(search, typed, sorting, parameters.get(CURSOR) or None, notes)


def read_page(request: ListRequest, *, size: int, cap: int) -> ListPage:
    """Return the requested page, and the total up to ``cap``.

    An invalid cursor, or one at the end, leads to the first page, with a message. Nothing is
    counted if the page contains all matches. If counting takes too long, the total is "more than on
    the page".

    Raises:
        SearchError: as :meth:`~filestack_tags.search.Search.page`.
    """
    page, notes = _page(request, size)
    try:
        total = request.search.total(cap=cap)
    except SearchTimeout:
        total = Total(len(page.ids), is_exact=False)
    return ListPage(page, total, notes)


def neighbours(request: ListRequest, asset_id: int) -> Neighbours:
    """Return the neighbours of an asset in the requested list.

    Raises:
        SearchError: as :meth:`~filestack_tags.search.Search.page`.
    """
    sorting = request.sorting
    return request.search.neighbours(asset_id, order=sorting.order, tag=sorting.tag)


def _page(request: ListRequest, size: int) -> tuple[Page, tuple[str, ...]]:
    sorting = request.sorting
    try:
        page = request.search.page(
            order=sorting.order, tag=sorting.tag, size=size, cursor=request.cursor
        )
    except CursorError:
        note = _(
            "The link does not point to a page of this list in this order. The first "
            "page is shown instead."
        )
    else:
        if page.ids or request.cursor is None:
            return page, request.notes
        note = _("The requested page is now empty. The first page is shown instead.")
    page, notes = _page(replace(request, cursor=None), size)
    return page, (*notes, note)


def _sorting(parameters: Mapping[str, str], query: Query) -> Sorting:
    order = parameters.get(ORDER, "")
    if order not in ORDERS or order == "newest":
        return Sorting()
    if order == "oldest":
        return Sorting("oldest")
    offered = _by_confidence(query)
    if order == "confidence":
        if tag := parameters.get(ORDER_TAG, "").strip():
            key = label_key(tag)
            same = (each for each in offered if each.tag and label_key(each.tag) == key)
            return next(same, Sorting("confidence", tag))
        offered = tuple(each for each in offered if each.tag) or offered
    return offered[0] if offered else Sorting()


def _by_confidence(query: Query) -> tuple[Sorting, ...]:
    """Return the orders by confidence that are useful for ``query``."""
    where = query.where
    required = where.terms if isinstance(where, And) else (where,)
    ranking = [term for term in required if _is_ranked(term)]
    if not ranking:
        return ()
    labels: dict[str, str] = {}
    for term in ranking:
        if isinstance(term, HasTag) and not term.prefix:
            labels.setdefault(label_key(term.label), term.label)
    tags = tuple(Sorting("confidence", each) for each in [*labels.values()][:MAX_TAG_ORDERS])
    # With one tag, the best match is its confidence.
    return tags if len(ranking) == len(labels) == 1 else (Sorting("best"), *tags)


def _is_ranked(term: Node) -> bool:
    alternatives = term.terms if isinstance(term, Or) else (term,)
    return all(
        isinstance(each, HasTag) and bool(each.label) and each.decision != "rejected"
        for each in alternatives
    )
