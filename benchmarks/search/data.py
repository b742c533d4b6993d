"""The synthetic library: assets with 20 tags each, with the same distribution at every size.

10,000 tags with Zipf–Mandelbrot frequencies (q = 5). Albums of about 20 consecutive assets share a
topic, from which 35 % of their tags come, so that tags are correlated and clustered in time.
Confidences are 100 · Beta(2, 1.6): 18 % of the rows have 80 or more. Users accepted 5 % of the
rows, rejected 2 % and added 0.02 %. One asset in 200 has no tags, and another one is archived.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TAGS = 10_000
TAGS_PER_ASSET = 20
TOPICS = 300
TOPIC_TAGS = 80
FROM_TOPIC = 0.35
DRAWS = 56
"""Tags drawn for an asset; the first 20 different ones are kept."""
BATCH = 50_000
DECIDED = (0.05, 0.02, 0.0002)
"""Shares of the rows that users accepted, rejected and added."""
ACCEPTED, REJECTED, ADDED = 1, 2, 3
RARE = 200
"""One of so many assets has no tags, and another one is archived."""
NO_ROW = -2
"""The score of a row that does not exist."""


@dataclass(frozen=True)
class Library:
    """Row ``i`` of the arrays belongs to asset ``i + 1``; tags are numbered from 1.

    ``scores`` are what searches compare: the confidence, -1 if the tag is rejected or the asset is
    archived, and :data:`NO_ROW` if the asset has no tags. Unless ``is_varied``, all assets are
    present and have the same facts and no runs.
    """

    tags: NDArray[np.int32]
    confidences: NDArray[np.int16]
    decisions: NDArray[np.int8]
    scores: NDArray[np.int16]
    names: list[str]
    is_varied: bool = True

    @property
    def assets(self) -> int:
        return len(self.tags)


def tag_names() -> list[str]:
    """Return the names of tags 1, 2, …: pronounceable, some of two words, all different."""
    rng = np.random.default_rng(7)
    consonants = [
        "b",
        "c",
        "d",
        "f",
        "g",
        "h",
        "j",
        "k",
        "l",
        "m",
        "n",
        "p",
        "r",
        "s",
        "t",
        "v",
        "w",
        "st",
        "tr",
        "sk",
        "pl",
        "br",
        "ch",
        "sh",
    ]
    vowels = ["a", "e", "i", "o", "u", "ea", "oo", "ai"]
    names: dict[str, None] = {}
    while len(names) < TAGS:
        name = "".join(
            consonants[rng.integers(len(consonants))] + vowels[rng.integers(len(vowels))]
            for _ in range(rng.integers(2, 4))
        )
        if rng.random() < 0.5:
            name += consonants[rng.integers(12)]
        if rng.random() < 0.15:
            consonant = consonants[rng.integers(len(consonants))]
            name += f" {consonant}{vowels[rng.integers(len(vowels))]}n"
        names[name] = None
    return list(names)


def generate(assets: int, seed: int = 42) -> Library:
    """Return a library with this many assets; deterministic for a seed."""
    rng = np.random.default_rng(seed)
    weights = 1 / (np.arange(1, TAGS + 1) + 5.0)
    weights /= weights.sum()
    topic_tags = np.stack(
        [rng.choice(TAGS, TOPIC_TAGS, replace=False, p=weights) for _ in range(TOPICS)]
    )
    topics = _topics(rng, assets)
    tags = np.zeros((assets, TAGS_PER_ASSET), np.int32)
    for start in range(0, assets, BATCH):
        own = topic_tags[topics[start : start + BATCH]]
        tags[start : start + BATCH] = _draw(rng, weights.cumsum(), own)
    confidences = np.round(100 * rng.beta(2, 1.6, size=tags.shape)).astype(np.int16)
    decisions = np.searchsorted(np.cumsum(DECIDED), rng.random(size=tags.shape))
    decisions = np.choose(decisions, (ACCEPTED, REJECTED, ADDED, 0)).astype(np.int8)
    scores = np.where(decisions == REJECTED, -1, confidences).astype(np.int16)
    ids = np.arange(1, assets + 1)
    scores[is_archived(ids)] = -1
    scores[is_untagged(ids)] = NO_ROW
    return Library(tags, confidences, decisions, scores, tag_names())


def is_archived(ids: Any) -> Any:
    """Return whether the asset with this id is archived; of an array, an array."""
    return ids % RARE == RARE // 2


def is_untagged(ids: Any) -> Any:
    """Return whether the asset with this id has no tags; of an array, an array."""
    return ids % RARE == 0


def _topics(rng: np.random.Generator, assets: int) -> NDArray[np.int64]:
    popularity = 1 / (np.arange(1, TOPICS + 1) + 10.0)
    albums = rng.geometric(1 / 20, size=assets // 5 + 1000)
    chosen = rng.choice(TOPICS, size=len(albums), p=popularity / popularity.sum())
    return np.resize(np.repeat(chosen, albums), assets)


def _draw(
    rng: np.random.Generator, frequencies: NDArray[np.float64], own: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Draw the tags of some assets; ``own`` are the tags of each one's topic."""
    size = (len(own), DRAWS)
    within = 1 / (np.arange(TOPIC_TAGS) + 4.0)
    within = (within / within.sum()).cumsum()
    anywhere = np.searchsorted(frequencies, rng.random(size)).clip(0, TAGS - 1)
    place = np.searchsorted(within, rng.random(size)).clip(0, TOPIC_TAGS - 1)
    topical = np.take_along_axis(own, place, axis=1)
    drawn = np.where(rng.random(size) < FROM_TOPIC, topical, anywhere)
    order = np.argsort(drawn, axis=1, kind="stable")
    ascending = np.take_along_axis(drawn, order, axis=1)
    repeats_sorted = np.zeros(size, bool)
    repeats_sorted[:, 1:] = ascending[:, 1:] == ascending[:, :-1]
    repeats = np.zeros(size, bool)
    np.put_along_axis(repeats, order, repeats_sorted, axis=1)
    kept = ~repeats
    kept &= kept.cumsum(axis=1) <= TAGS_PER_ASSET
    whole = kept.sum(axis=1) == TAGS_PER_ASSET
    drawn[~whole], kept[~whole] = drawn[whole][0], kept[whole][0]
    chosen: NDArray[np.int64] = drawn[kept].reshape(len(own), TAGS_PER_ASSET) + 1
    return chosen
