"""Texts of errors that are translated when they are read. No Django.

The search language does without Django, so its errors keep a text with placeholders and the values
for them. The app installs Django's ``gettext`` when it is ready.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


class Text(str):
    """A text that has a translation."""

    __slots__ = ()


def gettext_noop(text: str) -> Text:
    """Mark a text for translation, and return it as it is."""
    return Text(text)


_gettext: Callable[[str], str] = str


def install(gettext: Callable[[str], str]) -> None:
    """Translate with ``gettext`` from now on, whenever a text is read."""
    global _gettext  # set once, when Django is ready
    _gettext = gettext


def translated(text: str, values: Mapping[str, Any] | None = None) -> str:
    """Return a text in the active language, with values for its placeholders.

    Values that are :class:`Text` are translated too. Without values, ``%`` is no placeholder.
    """
    template = _gettext(text) if isinstance(text, Text) else text
    if not values:
        return str(template)
    return template % {
        name: translated(value) if isinstance(value, Text) else value
        for name, value in values.items()
    }
