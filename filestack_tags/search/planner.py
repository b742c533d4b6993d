"""Compile a search into a queryset, and say which of its tags do not exist."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Q, QuerySet

from filestack_tags.conf import get_settings
from filestack_tags.exceptions import TagQueryError
from filestack_tags.text import label_key

from .ast import OPERATORS, HasTag, Query, leaves
from .conditions import Conditions, confident, decided, of_any_tag
from .language import Limits, parse
from .names import Names, resolve, rows_of, starting_with
from .scope import tags_within
from .withheld import exists, withheld

Rows = TypeVar("Rows", bound=QuerySet[Any])

_parsed = lru_cache(maxsize=1024)(parse)

MAX_CANDIDATES = 1000
"""How many tags are compared when looking for names near an unknown one."""

MAX_NEAR = 3
"""How many near names a hint gives."""

MAX_HINTS = 5
"""How many unknown tags of one search get hints."""


@dataclass(frozen=True, slots=True)
class UnknownTag:
    """A label of a search that stands for no tag.

    Args:
        name: the label as typed, with its ``*`` if it is a prefix.
        near: names of tags that may be meant, and ``AND``, ``OR`` or ``NOT`` for the same word
            in lower case; () when nothing is near.
    """

    name: str
    near: tuple[str, ...]


def search_limits() -> Limits:
    """Return the limits of a search that the settings ask for.

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
) -> Rows:
    """Return the assets of ``queryset`` that match ``query``, as a queryset of the same kind.

    Looks up the tags that the search names at once, in one small query; the assets
    are read when the result is. A tag that does not exist matches nothing.

    Args:
        queryset: assets; anything but a slice.
        query: the text, or what :func:`~.language.parse` made of it.
        include_hidden: whether ``include:hidden`` is permitted in the query.
        forgotten: whether the tags of forgotten assets count too, which takes longer.

    Raises:
        TagQueryError: when the query cannot be read, asks for hidden tags without permission,
            or has prefixes that stand for more than ``SEARCH_MAX_WILDCARD_TAGS`` tags.
    """
    parsed, names = understood(query, include_hidden=include_hidden, using=queryset.db)
    conditions = Conditions(
        names=names,
        min_confidence=get_settings().MIN_CONFIDENCE,
        include_hidden=parsed.include_hidden,
        using=queryset.db,
        forgotten=forgotten,
    )
    return queryset.filter(conditions.of(parsed.where))


def read(text: str) -> Query:
    """Return what ``text`` says, within the limits of the settings; remembers what it read."""
    return _parsed(text, search_limits())


def understood(query: str | Query, *, include_hidden: bool, using: str) -> tuple[Query, Names]:
    """Return what ``query`` says, and the tags that its labels stand for.

    Raises:
        TagQueryError: as :func:`search_assets`.
    """
    parsed = read(query) if isinstance(query, str) else query
    if parsed.include_hidden and not include_hidden:
        raise TagQueryError(
            "Searching hidden tags with include:hidden needs a permission.",
            position=parsed.include_at,
            found="include:hidden",
        )
    try:
        names = resolve(
            parsed.where,
            include_hidden=parsed.include_hidden,
            max_tags=get_settings().SEARCH_MAX_WILDCARD_TAGS,
            using=using,
        )
    except TagQueryError as error:
        error.position = max((parsed.text or str(parsed)).find(error.found), 0)
        raise
    return parsed, names


def visible_asset_tags(rows: Rows, *, include_hidden: bool = False) -> Rows:
    """Return the asset tags of ``rows`` that are shown, and that ``tagged`` asks for.

    Not rejected, not hidden, not withheld, and at or above the threshold that applies to the
    tag unless a person accepted or added it.
    """
    term = HasTag()
    threshold = get_settings().MIN_CONFIDENCE
    which = of_any_tag(term, threshold, include_hidden, confident)
    kept = frozenset() if include_hidden else withheld(rows.db)
    return rows.filter(which, exists(kept), decided(term))


def hints(
    query: str | Query,
    *,
    include_hidden: bool = False,
    within: Q | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> tuple[UnknownTag, ...]:
    """Return the tags of ``query`` that do not exist, in the order they stand in it.

    Hidden tags do not exist for who may not see them, nor do tags that no asset in ``within``
    has. At most three queries, and two more with ``within``; of many tags only the most used
    ones, and those that begin alike, are compared.

    Args:
        query: the text, or what :func:`~.language.parse` made of it.
        include_hidden: whether ``include:hidden`` is permitted in the query.
        within: the assets that may be found at all; see :mod:`.scope`. All, if None.
        using: alias of the database that is asked.

    Raises:
        TagQueryError: when the query cannot be read, or a prefix stands for too many tags.
    """
    parsed = parse(query, search_limits()) if isinstance(query, str) else query
    hidden = parsed.include_hidden and include_hidden
    names = resolve(
        parsed.where,
        include_hidden=hidden,
        max_tags=get_settings().SEARCH_MAX_WILDCARD_TAGS,
        using=using,
    )
    labelled = [
        leaf for leaf in leaves(parsed.where) if isinstance(leaf, HasTag) and leaf.label
    ]
    known = tags_within((tag.id for leaf in labelled for tag in names.of(leaf)), within, using)
    unknown: dict[str, HasTag] = {}
    for leaf in labelled:
        if not any(tag.id in known for tag in names.of(leaf)):
            unknown.setdefault(f"{leaf.label}*" if leaf.prefix else leaf.label, leaf)
    if not unknown:
        return ()
    some = dict(list(unknown.items())[:MAX_HINTS])
    candidates = _candidates(
        {label_key(leaf.label)[0] for leaf in some.values()}, hidden, within, using
    )
    return tuple(UnknownTag(name, _near(leaf, candidates)) for name, leaf in some.items())


def _candidates(
    initials: set[str], include_hidden: bool, within: Q | None, using: str
) -> dict[str, str]:
    """Return keys and names of tags that an unknown label may mean."""
    tags = rows_of("Tag", using)
    if not include_hidden:
        tags = tags.filter(hidden=False).exclude(pk__in=withheld(using))
    most_used = tags.order_by("-asset_count").values_list("key", "name", "id")
    alike = starting_with(min(initials), using)
    for initial in initials - {min(initials)}:
        alike |= starting_with(initial, using)
    rows = [*most_used[:MAX_CANDIDATES], *most_used.filter(alike)[:MAX_CANDIDATES]]
    seen = tags_within((pk for _key, _name, pk in rows), within, using)
    return {key: name for key, name, pk in rows if pk in seen}


def _near(term: HasTag, candidates: dict[str, str]) -> tuple[str, ...]:
    word = term.label.upper()
    reserved = (word,) if word in OPERATORS else ()
    keys = get_close_matches(label_key(term.label), candidates, n=MAX_NEAR, cutoff=0.7)
    return reserved + tuple(candidates[key] for key in keys)
