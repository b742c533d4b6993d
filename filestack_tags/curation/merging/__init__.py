"""Merging: turn two tags into one, and undo it.

:func:`start` makes every later reply and search use the target at once, and records the work.
:func:`work` does it in batches, from any process, and may crash at any point. :func:`undo` reverses
it. Both keep every asset's rows correct despite concurrent changes.
"""

from .batches import work
from .requests import Preview, preview, start, undo

__all__ = ["Preview", "preview", "start", "undo", "work"]
