"""The library of the jobs: ten tags on each asset, one of them on all, one on every third."""

from __future__ import annotations

import numpy as np

from benchmarks.search.data import Library, generate

TAGS_PER_ASSET = 10
EVERYWHERE, THIRD = "on all assets", "on every third asset"


def library(assets: int) -> Library:
    """Return the library; the same number of assets always has the same tags."""
    generated = generate(assets)
    names = [*generated.names, EVERYWHERE, THIRD]
    tags = generated.tags[:, :TAGS_PER_ASSET].copy()
    tags[:, 0] = len(names) - 1
    tags[::3, 1] = len(names)
    confidences = generated.confidences[:, :TAGS_PER_ASSET]
    undecided = np.zeros(tags.shape, np.int8)
    return Library(tags, confidences, undecided, confidences, names, is_varied=False)
