"""Merging: two tags become one, and two again when it is undone.

:func:`start` has every later reply and search reach the target at once, and notes what is to be
done; :func:`work` does it in batches, from any process, and may die at any point. :func:`undo`
turns it round. Both keep every asset's rows right whatever happens meanwhile.
"""

from .requests import Preview, preview, start, undo
from .walk import unfinished, work

__all__ = ["Preview", "preview", "start", "undo", "unfinished", "work"]
