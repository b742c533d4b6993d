"""The measurements of one reader: pages, totals, facets, completion, and whole HTTP responses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection
from rest_framework.test import APIClient

from filestack_tags.search import search as tag_search
from filestack_tags.search.completion import complete
from filestack_tags.search.facets import Facets
from filestack_tags.search.totals import Total

from .designs.app import App
from .designs.json_gin import JsonGin
from .designs.limit import Limit
from .designs.naive_fk import naive_fk
from .designs.taggit import taggit
from .measure import Figures, Timed, interleaved, timed
from .oracle import Oracle
from .workload import PAGE, Search

Searches = Mapping[str, list[Search]]
Cells = dict[str, dict[str, Any]]
Say = Callable[[str, Mapping[str, Figures]], None]

HTTP_SEARCHES = 120
SAMPLES = (1_000, 10_000)
TERMS = {
    "Size, none": "size:>100gb",
    "Name, none": "name:*zzz*",
    "Untagged": "untagged",
    "Period": "uploaded:2023-02-03",
    "Period, none": "created:1999",
    "Added": "decision:added",
    "Added by a user": "source:user",
    "Accepted, 99": "*@accepted>=99",
    "Accepted": "decision:accepted",
    "Tagger": "tagger:local",
    "Tagger, none": "tagger:nosuch",
    "Version": "run:v1",
    "Version, none": "run:v3",
    "Workflow": "workflow:workflow",
    "Workflow, none": "workflow:nosuch",
    "User": "by:user1",
    "User, none": "by:nobody",
    "Type": "type:audio/*",
    "Type, none": "type:model/*",
    "Error": "error:file_not_found",
    "Error, none": "error:nosuch",
}
"""Searches without a tag: for matches that are frequent, rare, or none."""
REPEATED = 5
SHOWN = 30
"""Facets that are checked against the oracle."""


class Reads:
    """Measures every design.

    Args:
        searches: of each class, as :class:`.workload.Workload` draws them.
        seconds: the time budget of a peer for one class, after which the rest is skipped.
        say: called with the name and the figures of each measurement.
    """

    def __init__(
        self, oracle: Oracle, searches: Searches, *, seconds: float, with_peers: bool, say: Say
    ) -> None:
        names = oracle.library.names
        self._oracle = oracle
        self._searches = searches
        self._names = names
        self._say = say
        self._app = App(oracle)
        self._limit = Limit(oracle)
        self._peers: dict[str, Any] = {}
        if with_peers:
            self._peers = {"taggit": taggit(names), "naive FK": naive_fk(names)}
            if connection.vendor == "postgresql":
                self._peers["JSON + GIN"] = JsonGin(names)
        self._seconds = dict.fromkeys(self._peers, seconds) | {"app": 60.0, "limit": 120.0}
        self.cells: Cells = {}

    def pages(self) -> None:
        """Measure pages of 50: the ids of one tag, and the rows of every class."""
        for kind, searches in self._searches.items():
            if kind == "S1K":
                searches = [search for search in searches if self._oracle.newest(search)]
                for search in searches:
                    self._app.turn_to(search)
            if kind in ("S1", "S1K"):
                self._page(f"{kind} ids", kind, searches, rows=False)
            self._page(kind, kind, searches, rows=True)

    def _page(self, cell: str, kind: str, searches: list[Search], *, rows: bool) -> None:
        ask = self._app.page if rows else self._app.ids
        designs: dict[str, Timed] = {
            "app": timed(lambda search: ask(kind, search)),
            "limit": lambda search: self._limit.run(kind, search, rows=rows),
        }
        if rows:
            for name, peer in self._peers.items():
                designs[name] = timed(lambda search, peer=peer: peer.page(kind, search))
        truth = self._oracle.most_confident if "CONF" in kind else self._oracle.newest
        self._measure(cell, searches, designs, lambda search, ids: ids == truth(search))

    def totals(self) -> None:
        """Measure how many assets match one term, and three."""

        def right(search: Search, answer: Total | int) -> bool:
            truth = self._oracle.total(search)
            if isinstance(answer, Total) and not answer.is_exact:
                return answer.count <= truth
            return truth == (answer.count if isinstance(answer, Total) else answer)

        for cell, kind in (("CNT1", "S1"), ("CNT2", "AND")):
            designs: dict[str, Timed] = {"app": timed(self._app.total)}
            designs |= {name: timed(peer.total) for name, peer in self._peers.items()}
            self._measure(cell, self._searches[kind], designs, right)

    def facets(self) -> None:
        """Measure the tags within a result, and how many of the top ones a sample finds."""
        for cell, kind in (("FAC1", "S1"), ("FAC2", "AND")):
            recalls: dict[int, list[float]] = {sample: [] for sample in SAMPLES}
            designs: dict[str, Timed] = {
                f"app, sample {sample:,}": timed(
                    lambda search, sample=sample: self._app.facets(search, sample)
                )
                for sample in SAMPLES
            }
            designs |= {name: timed(peer.facets) for name, peer in self._peers.items()}
            self._measure(cell, self._searches[kind], designs, self._counts_right)
            for search in self._searches[kind][: 3 * SHOWN]:
                for sample in SAMPLES:
                    found = self._app.facets(search, sample)
                    if found.is_approximate:
                        recalls[sample].append(self._recall(search, found))
            for sample, shares in recalls.items():
                self.cells[cell][f"app, sample {sample:,}"] |= {
                    "approximate": len(shares),
                    "recall": round(sum(shares) / len(shares), 3) if shares else None,
                    "recall_min": round(min(shares), 3) if shares else None,
                }

    def _counts_right(self, search: Search, answer: Facets | dict[str, int]) -> bool:
        if isinstance(answer, Facets):
            if answer.is_approximate:
                return True
            answer = dict(_named(answer))
        truth = self._oracle.facets(search)
        own = {self._names[tag - 1]: count for tag, count in truth.items()}
        top = sorted(own.values(), reverse=True)[:SHOWN]
        return sorted(answer.values(), reverse=True) == top and answer.items() <= own.items()

    def _recall(self, search: Search, found: Facets) -> float:
        """Return the share of the true top tags that is shown; ties with the last one count."""
        truth = self._oracle.facets(search)
        least = sorted(truth.values(), reverse=True)[:SHOWN][-1]
        true = {self._names[tag - 1] for tag, count in truth.items() if count >= least}
        shown = {name for name, _ in _named(found)}
        return len(shown & true) / min(SHOWN, len(truth))

    def completion(self) -> None:
        """Measure completions for one to four letters, and the histogram of a tag."""
        typed = [
            Search(str(length), prefix=name[:length])
            for number, name in enumerate(self._names[::47])
            for length in (1 + number % 4,)
        ]
        designs: dict[str, Timed] = {"app": timed(lambda search: complete(search.prefix))}
        self._measure("Completion", typed, designs, None)

        def counted(search: Search) -> Any:
            return tag_search.Search().histogram(search.every[0][0])

        def right(search: Search, answer: Any) -> bool:
            return sum(dict(answer).values()) == len(self._oracle.having(search.every[0][0]))

        self._measure("Histogram", self._searches["S1"], {"app": timed(counted)}, right)

    def terms(self) -> None:
        """Measure pages of searches that examine every asset, unless an index helps."""
        for cell, text in TERMS.items():
            searches = [Search(str(number)) for number in range(REPEATED)]
            designs: dict[str, Timed] = {
                "app": timed(
                    lambda search, text=text: tag_search.Search(text).page(size=PAGE).ids
                )
            }
            finds = not cell.endswith("none")
            self._measure(
                cell, searches, designs, lambda search, ids, finds=finds: bool(ids) is finds
            )

    def http(self) -> None:
        """Measure whole responses of 50 assets with their tags, without the host's login."""
        client = APIClient()
        client.force_authenticate(
            get_user_model().objects.get_or_create(username="reader", is_superuser=True)[0]
        )
        full = [s for s in self._searches["S1"] if len(self._oracle.newest(s)) == PAGE]

        def ours(search: Search) -> tuple[float, list[int]]:
            return _fetch(
                client, "/api/v1/assets/", q=search.text(self._names), page_size=str(PAGE)
            )

        def stock(search: Search) -> tuple[float, list[int]]:
            ids = ",".join(map(str, self._oracle.newest(search)))
            return _fetch(client, "/stock/", ids=ids)

        def raw(search: Search, *, named: bool = False) -> tuple[float, list[int]]:
            return self._limit.with_tags(search, named=named), self._oracle.newest(search)

        designs: dict[str, Timed] = {
            "app": ours,
            "raw rows and tags": raw,
            "raw, tags by name": partial(raw, named=True),
            "stock DRF": stock,
        }
        newest = self._oracle.newest
        searches = (full * 3)[:HTTP_SEARCHES]
        self._measure("HTTP", searches, designs, lambda search, ids: ids == newest(search))

    def _measure(
        self,
        cell: str,
        searches: list[Search],
        designs: Mapping[str, Timed],
        right: Callable[[Search, Any], bool] | None,
    ) -> None:
        figures = interleaved(searches, designs, right=right, seconds=self._seconds)
        self.cells[cell] = {name: figure.summary() for name, figure in figures.items()}
        self._say(cell, figures)


def _named(found: Facets) -> list[tuple[str, int]]:
    return [(facet.name, facet.count) for facet in found.tags]


def _fetch(client: APIClient, path: str, **parameters: str) -> tuple[float, list[int]]:
    """Return the milliseconds until the response is complete, and the ids in it.

    Parsing its JSON is the client's work, so it is not included for any design.
    """
    start = perf_counter()
    response = client.get(path, parameters)
    taken = (perf_counter() - start) * 1000
    assert response.status_code == 200, response.content
    found = response.json()
    shown = found if isinstance(found, list) else found["results"]
    return taken, [asset["id"] for asset in shown]
