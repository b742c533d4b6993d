"""Searching: :class:`Search` is one search by one user.

Its names are imported when they are used, because the language needs no Django.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filestack_tags.exceptions import SearchError as SearchError

    from .search import Search as Search

__all__ = ("Search", "SearchError")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".search", __name__), name)
