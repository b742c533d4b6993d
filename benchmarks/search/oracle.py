"""The right answers, computed from the arrays and not from a database."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .data import TAGS, TAGS_PER_ASSET, Library, is_archived
from .workload import PAGE, Search

Ids = NDArray[np.int64]


class Oracle:
    """Posting lists: for each tag the ids of its assets in ascending order."""

    def __init__(self, library: Library) -> None:
        self.library = library
        flat = library.tags.ravel()
        order = np.argsort(flat, kind="stable")
        self._assets = (order // TAGS_PER_ASSET + 1).astype(np.int64)
        self._scores = library.scores.ravel()[order]
        self.frequencies = np.bincount(flat[library.scores.ravel() >= 0], minlength=TAGS + 1)
        rows = np.bincount(flat, minlength=TAGS + 1)
        self._offsets = np.concatenate([[0], rows.cumsum()])

    def having(self, tag: int, least: int = 0) -> Ids:
        """Return the assets that have ``tag`` with a confidence of ``least`` or more."""
        start, end = self._offsets[tag], self._offsets[tag + 1]
        found: Ids = self._assets[start:end][self._scores[start:end] >= least]
        return found

    def matches(self, search: Search) -> Ids:
        """Return all assets that match, in ascending order."""
        found: Ids | None = None
        for tag, least in search.every:
            ids = self.having(tag, least)
            found = ids if found is None else np.intersect1d(found, ids, assume_unique=True)
        if search.either:
            ids = np.unique(np.concatenate([self.having(*term) for term in search.either]))
            found = ids if found is None else np.intersect1d(found, ids, assume_unique=True)
        if found is None:
            found = np.arange(1, self.library.assets + 1, dtype=np.int64)
            found = found[~is_archived(found)]
        for tag, least in search.never:
            found = np.setdiff1d(found, self.having(tag, least), assume_unique=True)
        return found

    def newest(self, search: Search) -> list[int]:
        """Return the first page, newest first, or the one after ``search.after``."""
        found = self.matches(search)
        if search.after is not None:
            found = found[found < search.after]
        return [int(pk) for pk in found[::-1][:PAGE]]

    def most_confident(self, search: Search) -> list[int]:
        """Return the first page by confidence of the first term, the newest of equals first."""
        found = self.matches(search)
        rows = self.library.tags[found - 1] == search.every[0][0]
        confidences = self.library.confidences[found - 1][rows]
        order = np.lexsort((-found, -confidences.astype(np.int64)))
        return [int(pk) for pk in found[order][:PAGE]]

    def total(self, search: Search) -> int:
        return len(self.matches(search))

    def facets(self, search: Search) -> dict[int, int]:
        """Return ``{tag: matching assets that have it}``."""
        rows = self.matches(search) - 1
        tags = self.library.tags[rows][self.library.scores[rows] >= 0]
        counts = np.bincount(tags, minlength=TAGS + 1)
        return {int(tag): int(counts[tag]) for tag in np.flatnonzero(counts)}
