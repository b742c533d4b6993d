"""The app as its users call it: a search text in, asset instances out."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.search.oracle import Oracle
from benchmarks.search.workload import PAGE, Search
from filestack_tags.search import search as tag_search
from filestack_tags.search.facets import Facets
from filestack_tags.search.pages import Page
from filestack_tags.search.totals import Total


class App:
    """Searches like a user. For later pages, the cursor is fetched beforehand."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self._names = oracle.library.names
        self._cursors: dict[Search, str | None] = {}

    def turn_to(self, search: Search) -> None:
        """Fetch the cursor of the page that begins below ``search.after``."""
        assert search.after is not None
        above = int((self._oracle.matches(replace(search, after=None)) >= search.after).sum())
        text = search.text(self._names)
        self._cursors[search] = tag_search.Search(text).page(size=above).next if above else None

    def ids(self, kind: str, search: Search) -> list[int]:
        """Return the ids of a page."""
        return self._find(kind, search).ids

    def page(self, kind: str, search: Search) -> list[int]:
        """Return the ids of a page whose assets were fetched."""
        return [asset.pk for asset in self._find(kind, search).assets()]

    def total(self, search: Search) -> Total:
        return tag_search.Search(search.text(self._names)).total()

    def facets(self, search: Search, sample: int) -> Facets:
        return tag_search.Search(search.text(self._names)).facets(sample=sample)

    def _find(self, kind: str, search: Search) -> Page:
        text = search.text(self._names)
        if kind.startswith("CONF"):
            return tag_search.Search(text).page(
                order="confidence", tag=self._names[search.every[0][0] - 1], size=PAGE
            )
        return tag_search.Search(text).page(size=PAGE, cursor=self._cursors.get(search))
