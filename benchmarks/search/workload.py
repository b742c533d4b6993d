"""The searches: 210 of each class, the same for every design.

Single tags are one third each common (the 20 most frequent, C), medium (rank 100 to 1000, M) and
rare (rank 3000 to 9000, R). Pairs cycle through CC, CM, MM, MR and CR; half of them occur together
in a real asset, half are independent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .oracle import Oracle

PAGE = 50
SEARCHES = 210
PAIRS = ("CC", "CM", "MM", "MR", "CR")
BANDS = {"C": (0, 20), "M": (100, 1000), "R": (3000, 9000)}
"""Ranks by frequency, counted from 0."""

Term = tuple[int, int]
"""A tag and its minimum confidence."""


@dataclass(frozen=True)
class Search:
    """Assets that have ``every`` term, one of ``either`` and none of ``never``."""

    stratum: str
    every: tuple[Term, ...] = ()
    either: tuple[Term, ...] = ()
    never: tuple[Term, ...] = ()
    prefix: str = ""
    """The prefix in the search text, if ``either`` are all tags that begin with it."""
    after: int | None = None
    """Continue below this asset."""

    def text(self, names: list[str]) -> str:
        """Return the search in the search language."""

        def quoted(term: Term) -> str:
            return f'"{names[term[0] - 1]}">={term[1]}'

        parts = [quoted(term) for term in self.every]
        if self.prefix:
            parts.append(f'"{self.prefix}"*>={self.either[0][1]}')
        elif self.either:
            parts.append("(" + " OR ".join(quoted(term) for term in self.either) + ")")
        return " ".join(parts + [f"-{quoted(term)}" for term in self.never])


class Workload:
    """Draws searches about the tags of a library; deterministic for a seed."""

    def __init__(self, oracle: Oracle, seed: int = 5) -> None:
        self.oracle = oracle
        self.names = oracle.library.names
        self.dice = Random(seed)  # for a benchmark, not for a secret
        by_rank = np.argsort(-oracle.frequencies[1:], kind="stable") + 1
        self.bands = {
            band: [int(tag) for tag in by_rank[start:end]]
            for band, (start, end) in BANDS.items()
        }
        self.band_of = {tag: band for band, tags in self.bands.items() for tag in tags}

    def searches(self) -> dict[str, list[Search]]:
        """Return the searches of each class."""
        single = self._drawn(self._single)
        return {
            "S1": single,
            "S1K": [self._continued(search) for search in self._drawn(self._single)],
            "AND": self._drawn(self._and_not),
            "AND4": self._drawn(self._four),
            "OR": self._drawn(self._either),
            "PFX": self._drawn(self._prefix),
            "CONF1": self._drawn(
                lambda n: replace(self._single(n), every=(self._term(n, 50),))
            ),
            "CONF2": self._drawn(self._two),
        }

    def _drawn(self, make: Callable[[int], Search]) -> list[Search]:
        return [make(number) for number in range(SEARCHES)]

    def _term(self, number: int, least: int) -> Term:
        return self._pick("CMR"[number % 3]), least

    def _single(self, number: int) -> Search:
        term = self._term(number, self.dice.choice((50, 80, 90)))
        return Search("CMR"[number % 3], every=(term,))

    def _continued(self, search: Search) -> Search:
        assets = self.oracle.library.assets
        return replace(search, after=self.dice.randrange(assets // 20, assets))

    def _and_not(self, number: int) -> Search:
        stratum = PAIRS[number % 5]
        a, b = self._pair(stratum)
        c = self._pick("C", but=(a, b))
        return Search(stratum, every=((a, 80), (b, 70)), never=((c, 50),))

    def _four(self, number: int) -> Search:
        tags = self.oracle.library.tags[self.dice.randrange(self.oracle.library.assets)]
        chosen = self.dice.sample([int(tag) for tag in tags], 4)
        return Search("*", every=tuple((tag, 30) for tag in chosen))

    def _either(self, number: int) -> Search:
        stratum = PAIRS[number % 5]
        return Search(stratum, either=tuple((tag, 60) for tag in self._pair(stratum)))

    def _prefix(self, number: int) -> Search:
        while True:
            prefix = self.dice.choice(self.names)[: self.dice.choice((2, 3, 4))]
            found = [n + 1 for n, name in enumerate(self.names) if name.startswith(prefix)]
            if 2 <= len(found) <= 120 and not prefix.endswith(" "):
                stratum = f"{len(found) // 40 * 40}+"
                return Search(stratum, either=tuple((t, 60) for t in found), prefix=prefix)

    def _two(self, number: int) -> Search:
        stratum = PAIRS[number % 5]
        a, b = self._pair(stratum)
        return Search(stratum, every=((a, 50), (b, 50)))

    def _pick(self, band: str, but: tuple[int, ...] = ()) -> int:
        while (tag := self.dice.choice(self.bands[band])) in but:
            pass
        return tag

    def _pair(self, bands: str) -> tuple[int, int]:
        if self.dice.random() < 0.5 and (pair := self._occurring_pair(bands)):
            return pair
        first = self._pick(bands[0])
        return first, self._pick(bands[1], but=(first,))

    def _occurring_pair(self, bands: str) -> tuple[int, int] | None:
        for _ in range(400):
            first = self._pick(bands[0])
            assets = self.oracle.having(first)
            if not len(assets):
                continue
            tags = self.oracle.library.tags[assets[self.dice.randrange(len(assets))] - 1]
            others = [
                int(t) for t in tags if self.band_of.get(int(t)) == bands[1] and t != first
            ]
            if others:
                return first, self.dice.choice(others)
        return None
