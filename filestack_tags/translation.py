"""Error texts that are translated when they are displayed. No Django.

The search language does not depend on Django, so its errors store a text with placeholders and
their values. The app installs Django's ``gettext`` when it is ready.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


class Text(str):
    """A text that can be translated."""

    __slots__ = ()


def gettext_noop(text: str) -> Text:
    """Mark a text for translation, and return it unchanged."""
    return Text(text)


_gettext: Callable[[str], str] = str


def install(gettext: Callable[[str], str]) -> None:
    """Translate with ``gettext`` from now on, whenever a text is displayed."""
    global _gettext  # set once, when Django is ready
    _gettext = gettext


def translated(text: str, values: Mapping[str, Any] | None = None) -> str:
    """Return a text in the active language, with its placeholders filled in.

    Values that are :class:`Text` are translated too. Without values, ``%`` is not a placeholder.
    """
    template = _gettext(text) if isinstance(text, Text) else text
    if not values:
        return str(template)
    return template % {
        name: translated(value) if isinstance(value, Text) else value
        for name, value in values.items()
    }
