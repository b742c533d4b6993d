"""Counts of what happened, for whoever listens.

The package calls :func:`count`; a host connects a listener with :func:`subscribe` and sends
the counts to its own monitoring. Labels are short fixed words: never ids, URLs or secrets.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

logger = logging.getLogger("filestack_tags.metrics")

Listener = Callable[[str, Mapping[str, str]], None]

_listeners: list[Listener] = []


def subscribe(listener: Listener) -> Callable[[], None]:
    """Call ``listener(name, labels)`` for every count; return a function that ends it."""
    _listeners.append(listener)
    return lambda: _listeners.remove(listener)


def count(name: str, **labels: str) -> None:
    """Tell every listener that ``name`` happened once.

    A listener that raises is logged and does not disturb the work that is being counted.
    """
    logger.debug("%s %s", name, labels)
    for listener in tuple(_listeners):
        try:
            listener(name, labels)
        except Exception:  # a monitoring fault must not undo the work
            logger.exception("A metrics listener failed on %s", name)
