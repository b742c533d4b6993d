"""Parse searches within the limits of the settings."""

from __future__ import annotations

from functools import lru_cache

from filestack_tags.conf import get_settings

from .language.parser import Limits, parse
from .language.tree import Query

_parsed = lru_cache(maxsize=1024)(parse)


def parse_query(text: str) -> Query:
    """Parse ``text`` within the limits of the settings; results are cached.

    Raises:
        SearchError: when it cannot be parsed, or exceeds a limit.
    """
    return _parsed(text, search_limits())


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
