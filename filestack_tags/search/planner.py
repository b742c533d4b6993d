"""Compile a search into a queryset, and find its unknown tags."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeVar

from django.db.models import BooleanField, Expression, F, Q, QuerySet
from django.db.models.sql.where import WhereNode

from filestack_tags.assets.sensitive import exists, withheld
from filestack_tags.conf import get_settings
from filestack_tags.exceptions import SearchError
from filestack_tags.models import Asset
from filestack_tags.translation import gettext_noop as _

from .language.parser import Limits, parse
from .language.tree import HasTag, Query
from .orm import Conditions, confident, decided, of_any_tag
from .scope import scope
from .tag_lookup import Names, resolve, rows_of

Rows = TypeVar("Rows", bound=QuerySet[Any])

_parsed = lru_cache(maxsize=1024)(parse)


def search_limits() -> Limits:
    """Return the limits of a search from the settings.

    Raises:
        ValueError: when a ``SEARCH_MAX_…`` setting is out of the range of :class:`Limits`.
    """
    settings = get_settings()
    return Limits(
        length=settings.SEARCH_MAX_LENGTH,
        terms=settings.SEARCH_MAX_TERMS,
        depth=settings.SEARCH_MAX_DEPTH,
    )


def search_assets(
    queryset: Rows,
    query: str | Query,
    *,
    include_hidden: bool = False,
    forgotten: bool = False,
    within: Q | None = None,
) -> Rows:
    """Return the assets of ``queryset`` that match ``query``, as a queryset of the same kind.

    Parses the text and runs no query: the tags that it names are looked up in one small query
    whenever the result is evaluated. A tag that does not exist matches nothing.

    Args:
        queryset: assets; anything but a slice.
        query: the text, or the result of :func:`~.parser.parse`.
        include_hidden: whether ``include:hidden`` is permitted in the query.
        forgotten: whether the tags of archived assets count too, which takes longer.
        within: the assets whose tags count for the limit of prefixes; all, if None. It does not
            filter ``queryset``.

    Raises:
        SearchError: when the query cannot be parsed or requests hidden tags without permission.
            Evaluating the result raises it for prefixes that match more than
            ``SEARCH_MAX_WILDCARD_TAGS`` tags.
    """
    return queryset.filter(
        Matches(permitted(query, include_hidden=include_hidden), forgotten, within)
    )


class Matches(Expression):
    """The condition that an asset matches a search, compiled together with the outer query."""

    output_field = BooleanField()

    def __init__(self, query: Query, forgotten: bool = False, within: Q | None = None) -> None:
        super().__init__()
        self.query = query
        self._forgotten = forgotten
        self._within = within
        self._pk: Any = F("pk")

    def get_source_expressions(self) -> list[Any]:
        return [self._pk]

    def set_source_expressions(self, exprs: Sequence[Any]) -> None:
        (self._pk,) = exprs

    def as_sql(self, compiler: Any, connection: Any, **context: Any) -> tuple[str, Any]:
        using = connection.alias
        _query, names = understood(
            self.query, include_hidden=True, within=self._within, using=using
        )
        conditions = Conditions(
            names=names,
            min_confidence=get_settings().MIN_CONFIDENCE,
            include_hidden=self.query.include_hidden,
            using=using,
            forgotten=self._forgotten,
        )
        # A separate query, whose table then takes the alias that it has in the outer one.
        own = rows_of(Asset, using).query
        own.alias_prefix = compiler.query.alias_prefix
        own.subq_aliases = compiler.query.subq_aliases
        own.add_q(conditions.of(self.query.where))
        # Inspect a join to a related table without keeping it.
        alias = own.get_initial_alias()
        if alias != self._pk.alias:
            own.where.relabel_aliases({alias: self._pk.alias})
        # Several conditions are already in parentheses; SQLite limits their nesting.
        sql, params = compiler.compile(own.where)
        return sql, params


def searched(query: Any) -> Query | None:
    """Return the first search among the conditions of a Django query, or None."""
    if isinstance(query, Matches):
        return query.query
    children = (
        query.children if isinstance(query, WhereNode) else (getattr(query, "lhs", None),)
    )
    found = (searched(child) for child in children if child is not None)
    return next((each for each in found if each is not None), None)


def read(text: str) -> Query:
    """Parse ``text`` within the limits of the settings; results are cached."""
    return _parsed(text, search_limits())


def permitted(query: str | Query, *, include_hidden: bool) -> Query:
    """Return the parsed ``query``, after checking whether the user may search hidden tags.

    Raises:
        SearchError: when it cannot be parsed, or requests hidden tags without permission.
    """
    parsed = read(query) if isinstance(query, str) else query
    if parsed.include_hidden and not include_hidden:
        raise SearchError(
            _("Searching hidden tags with include:hidden needs a permission."),
            position=parsed.include_at,
            found="include:hidden",
        )
    return parsed


def understood(
    query: str | Query, *, include_hidden: bool, using: str, within: Q | None = None
) -> tuple[Query, Names]:
    """Return the parsed ``query``, and the tags that its labels resolve to.

    Args:
        query: the text, or the result of :func:`~.parser.parse`.
        include_hidden: whether ``include:hidden`` is permitted in the query.
        using: alias of the database that is queried.
        within: the assets whose tags a prefix matches; see :mod:`.scope`. All, if None.

    Raises:
        SearchError: when the query cannot be parsed, requests hidden tags without permission, or
            has prefixes that match more than ``SEARCH_MAX_WILDCARD_TAGS`` tags.
    """
    parsed = permitted(query, include_hidden=include_hidden)
    try:
        names = resolve(
            parsed.where,
            include_hidden=parsed.include_hidden,
            max_tags=get_settings().SEARCH_MAX_WILDCARD_TAGS,
            using=using,
            within=scope(within, using),
        )
    except SearchError as error:
        error.position = max((parsed.text or str(parsed)).find(error.found), 0)
        raise
    return parsed, names


def visible_asset_tags(rows: Rows, *, include_hidden: bool = False) -> Rows:
    """Return the asset tags of ``rows`` that are shown, as in the search ``tagged``.

    Not rejected, not hidden, not withheld, and at or above the threshold that applies to the tag
    unless a user accepted or added it.
    """
    term = HasTag()
    threshold = get_settings().MIN_CONFIDENCE
    which = of_any_tag(term, threshold, include_hidden, confident)
    kept = frozenset() if include_hidden else withheld(rows.db)
    return rows.filter(which, exists(kept), decided(term))
