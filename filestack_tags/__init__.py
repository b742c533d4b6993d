"""Filestack Image Tagging for Django: every upload becomes an asset you can search by tag.

These are the public names for projects, with :mod:`.models`, :mod:`.fields`, :mod:`.signals` and
:mod:`.exceptions`. They are imported when they are first used, so that Django can import this
package before its models.

Functions of :mod:`.tasks` enqueue tasks when the transaction commits; no other function does.
Of the functions here these are ``register`` and ``request_tagging``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .assets.registry import Facts, archive, restore
    from .exceptions import SearchError
    from .filestack.client import FilestackClient
    from .filestack.sources import Source
    from .search.search import Search
    from .tagging.taggers import Tagger, TaggerReply, TagScore
    from .tasks import register, request_tagging

__all__ = (
    "Facts",
    "FilestackClient",
    "Search",
    "SearchError",
    "Source",
    "TagScore",
    "Tagger",
    "TaggerReply",
    "archive",
    "register",
    "request_tagging",
    "restore",
)

_MODULES = {
    "Facts": "assets.registry",
    "FilestackClient": "filestack.client",
    "Search": "search.search",
    "SearchError": "exceptions",
    "Source": "filestack.sources",
    "TagScore": "tagging.taggers",
    "Tagger": "tagging.taggers",
    "TaggerReply": "tagging.taggers",
    "archive": "assets.registry",
    "register": "tasks",
    "request_tagging": "tasks",
    "restore": "assets.registry",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("django-filestack-tags")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
