"""One search by one user: its assets, pages, totals, facets and hints."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from django.db.models import Q, QuerySet

from filestack_tags.assets.visibility import scope_of, sees_hidden_tags
from filestack_tags.conf import get_settings
from filestack_tags.exceptions import SearchError
from filestack_tags.models import Asset, AssetQuerySet
from filestack_tags.translation import gettext_noop as _

from . import facets, hints, pages, totals
from .deadline import time_limit
from .facets import Facets
from .hints import Hint
from .language.tree import Node, Query, conjunction
from .limits import parse_query
from .matching_assets import Matches
from .page_sql import Row, by_id
from .pages import Neighbours, Order, Page
from .plan import Plan
from .scope import scope_condition
from .tag_lookup import TagNames, default_database, look_up
from .term_sql import Compiler
from .totals import Total


class Search:
    """One search by one user::

        search = Search("sky>=80 -person", user=request.user)
        search.assets().order_by("-size")[:10]   # a queryset
        search.page(order="best", size=50)       # a page in the order of a tag's confidence
        search.total()                           # how many assets match
        search.facets()                          # the most frequent tags of the result

    The text is parsed when the object is made, which runs no query. The named tags are looked up
    once, by the first method that needs them. So make one object for each request, and do not keep
    it: tags that are created later do not belong to it, and its pages and totals may miss assets
    that match later.

    Each method stops after ``SEARCH_TIMEOUT``. Inside a
    :func:`~filestack_tags.search.deadline.time_limit` block, they share its limit.

    Args:
        text: a text in the search language, or the result of
            :func:`~filestack_tags.search.language.parser.parse`. Present assets match; all of them
            for an empty text.
        user: the user who searches. Only assets in the user's scope are found, and
            ``include:hidden`` requires the permission ``search_hidden``.
        scope: instead of a user, the assets that may be found at all; all of them, if None.
        include_hidden: whether ``include:hidden`` is permitted. By default, if the user has the
            permission; never without a user.
        using: alias of the database that is queried; by default the one that the router reads
            assets from.

    Raises:
        SearchError: when the text cannot be parsed, or requests hidden tags without permission. The
            methods raise it for prefixes that match more than ``SEARCH_MAX_WILDCARD_TAGS`` tags.
        SearchTimeout: by the methods, when they take longer than ``SEARCH_TIMEOUT``.
    """

    def __init__(
        self,
        text: str | Query = "",
        *,
        user: Any = None,
        scope: Q | None = None,
        include_hidden: bool | None = None,
        using: str | None = None,
    ) -> None:
        if user is not None:
            if scope is not None:
                raise TypeError("A search takes a user or a scope, not both.")
            scope = scope_of(user)
        if include_hidden is None:
            include_hidden = user is not None and sees_hidden_tags(user)
        self.query = parse_query(text) if isinstance(text, str) else text
        if self.query.include_hidden and not include_hidden:
            raise SearchError(
                _("Searching hidden tags with include:hidden needs a permission."),
                position=self.query.include_at,
                found="include:hidden",
            )
        self.include_hidden = include_hidden
        self.scope = scope
        self.using = using or default_database()
        self._names: TagNames | None = None
        self._plan: Plan | None = None
        self._total: Total | None = None

    def __str__(self) -> str:
        return str(self.query)

    def assets(
        self,
        queryset: QuerySet[Any] | None = None,
        *,
        archived: bool = False,
        renews_names: bool = False,
    ) -> AssetQuerySet:
        """Return the matching assets as a queryset, which can be filtered, ordered and sliced.

        Runs no query before it is evaluated. All evaluations use the names and minimums that the
        search looked up once, unless ``renews_names`` is true.

        Args:
            queryset: the assets to search, anything but a slice. By default the present ones in the
                scope. A given queryset is not limited to the scope.
            archived: whether the tags of archived assets count too, which takes longer.
            renews_names: whether each evaluation looks up the named tags again, for a queryset that
                outlives a request.
        """
        rows: Any = queryset
        if rows is None:
            rows = Asset.objects.using(self.using).within(self.scope).present()
        matches: AssetQuerySet = rows.filter(
            Matches(self, archived=archived, renews_names=renews_names)
        )
        return matches

    def page(
        self,
        *,
        order: Order = "newest",
        tag: str | None = None,
        size: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Return one page of the assets. Every page costs the same, at any depth.

        Takes up to four queries: for the named tags, for statistics if several tags are required,
        for terms such as ``by:`` if no rare tag is required, and for the page.

        Args:
            order: ``newest`` or ``oldest`` first by id; ``confidence`` of a tag, highest first;
                ``best``, the highest confidence among the rows that the search's required tag terms
                match. With equal confidence, the newer asset comes first.
            tag: the tag for ``confidence``; defaults to the search's first required tag. Assets
                without it come last.
            size: the maximum number of assets on the page.
            cursor: ``next`` or ``previous`` of another page of this search in this order.

        Raises:
            CursorError: when ``cursor`` is not of this search in this order.
            InvalidLabel: when ``tag`` cannot be a tag.
            ValueError: for an unknown order, or a size below 1.
        """
        page = pages.page(self, order=order, tag=tag, size=size, cursor=cursor)
        if cursor is None and page.next is None:
            self._total = Total(len(page.ids), is_exact=True)
        return page

    def neighbours(
        self, asset_id: int, *, order: Order = "newest", tag: str | None = None
    ) -> Neighbours:
        """Return the assets before and after an asset in the order of :meth:`page`.

        The asset need not match any more: after a decision, navigation continues from its former
        position. One query for each side, and one for its confidence, besides those of a plan.
        """
        return pages.neighbours(self, asset_id, order=order, tag=tag)

    def ids_before(self, asset_id: int, *, limit: int) -> list[int]:
        """Return the ids below ``asset_id`` of matching assets, newest first."""
        with self.time_limit():
            after = Row(asset_id, None)
            rows = by_id(self.plan(), descending=True, after=after, limit=limit)
        return [row.asset_id for row in rows]

    def total(self, *, cap: int = 10_000) -> Total:
        """Return how many assets match, exactly if that is cheap, otherwise up to ``cap``.

        A search for one tag is counted completely, in an index. Any other is counted until it has
        passed ``cap``, so the database reads no more matches than that; how many assets it must
        examine to find them depends on the search. One query at most, besides those of a plan; none
        after :meth:`page` returned all matches, or when a required tag does not exist.

        Raises:
            ValueError: when ``cap`` is less than 1.
        """
        if cap < 1:
            raise ValueError(f"cap must be at least 1, not {cap}.")
        if self._total is None or not (self._total.is_exact or self._total.count >= cap):
            self._total = totals.total(self, cap)
        return self._total

    def facets(self, *, limit: int = 30, sample: int = 10_000) -> Facets:
        """Return the most frequent tags of the matching assets, with counts.

        A tag counts where it is shown: not hidden, not rejected, and at or above its threshold
        unless a user accepted or added it. The tags of the search itself are included. Tags with
        equal counts are in the order of their creation.

        Exact when at most ``sample``, or :data:`~filestack_tags.search.facets.EXACT`, assets match.
        One query, besides those of a plan; a second one if statistics predicted far more matches
        than there are, or if many assets match and no tag is required. A total that :meth:`total`
        or :meth:`page` found is used instead of statistics. For an empty search without a global
        threshold, the counts are those stored with the tags.

        Args:
            limit: the maximum number of tags, at least 1.
            sample: the number of assets whose tags are counted when more match, at least 1.
                Thousands make the order and the counts reliable to about one percent.

        Raises:
            ValueError: when ``limit`` or ``sample`` is less than 1.
        """
        if limit < 1 or sample < 1:
            raise ValueError(f"limit and sample must be at least 1, not {limit} and {sample}.")
        return facets.facets(self, limit, sample, self._total)

    def histogram(self, tag_id: int) -> dict[int, int]:
        """Return how many of the matching assets have a tag, for each confidence.

        Includes confidences below the tag's threshold, so that users see the effect of another
        threshold; rejected rows do not count. Confidences without assets are left out; the others
        are in ascending order. Exact; one query, besides those of a plan. ``{}`` when the tag does
        not exist, or is hidden and the search has no ``include:hidden``.
        """
        return facets.histogram(self, tag_id)

    def hints(self, typed: Query | None = None) -> tuple[Hint, ...]:
        """Return what terms of the search may have meant, words that are one tag first.

        Tags that the user may not see, and tags without an asset in the scope, are never suggested.
        Takes one query, another one with a scope, and those of
        :func:`~filestack_tags.search.completion.complete` for similar names. The query is the
        lookup of the named tags if no other method ran before.

        Args:
            typed: the part of the search that the user typed, if the rest comes from filters.
        """
        return hints.hints(self, typed or self.query)

    def explain(self, *, analyze: bool = False) -> str:
        """Describe the plan in words: what it starts from, the probes, and the numbers of rows.

        Args:
            analyze: whether to count the driver's rows and the matches, which reads them all.
        """
        with self.time_limit():
            return self.plan().explain(analyze=analyze)

    def time_limit(self, *, seconds: float | None = None) -> AbstractContextManager[None]:
        """Return the time limit of a block for this search.

        See :func:`~filestack_tags.search.deadline.time_limit`.
        """
        return time_limit(self.using, self.query, seconds=seconds)

    # For the modules of this package

    def names(self, *more: Node) -> TagNames:
        """Return the tags that the labels of the search and of ``more`` resolve to.

        They are looked up once. More labels than before take another query.
        """
        where = conjunction((self.query.where, *more))
        if self._names is None or not self._names.cover(where):
            self._names = self.look_up_names(self.using, where)
            self._plan = None
        return self._names

    def share_names(self, other: Search) -> None:
        """Use the names that another search for the same text has looked up, or looks up now."""
        self._names = other.names()

    def look_up_names(self, using: str, where: Node | None = None) -> TagNames:
        """Look up the tags that the labels of the search, or of ``where``, resolve to."""
        query = self.query
        try:
            return look_up(
                query.where if where is None else where,
                include_hidden=query.include_hidden,
                max_tags=get_settings().SEARCH_MAX_WILDCARD_TAGS,
                using=using,
                scope=scope_condition(self.scope, using),
            )
        except SearchError as error:
            error.position = max((query.text or str(query)).find(error.found), 0)
            raise

    def plan(self, *more: Node) -> Plan:
        """Return the plan of this search, whose compiler also knows the labels of ``more``."""
        names = self.names(*more)
        if self._plan is None:
            scope = scope_condition(self.scope, self.using)
            compiler = Compiler(names, self.query.include_hidden, self.using, scope)
            self._plan = Plan(self.query.where, compiler)
        return self._plan
