"""The network computes what its definition says."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from filestack_tags.tagging.taggers.local import network_session
from filestack_tags.tagging.taggers.local.network import convolutions
from filestack_tags.tagging.taggers.local.network_session import classify, get_session
from filestack_tags.tagging.taggers.local.pictures import network_views, open_picture
from filestack_tags.tagging.taggers.local.weights import Weights, read_weights, weights_path
from tests.tagging.taggers import oracle

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def weights() -> Weights:
    return read_weights(weights_path())


def test_the_logits_equal_those_of_an_independent_forward_pass(
    weights: Weights, photos: Path
) -> None:
    views = network_views(open_picture((photos / "cat.jpg").read_bytes()))
    (logits,) = get_session().run(["logits"], {"pixels": views})
    for view, found in zip(views, logits, strict=True):
        np.testing.assert_allclose(found, oracle.logits(weights, view), atol=1e-3)


def test_noise_gives_the_same_logits_too(weights: Weights) -> None:
    noise = np.random.default_rng(7).uniform(-1, 1, (1, 3, 224, 224)).astype(np.float32)
    (logits,) = get_session().run(["logits"], {"pixels": noise})
    np.testing.assert_allclose(logits[0], oracle.logits(weights, noise[0]), atol=1e-3)


def test_every_tensor_of_the_file_is_used(weights: Weights) -> None:
    """46 batch norms of 5 tensors each fold into 46 of the convolutions."""
    layers = list(convolutions(weights))
    counted = len(layers) * 6 + 2
    assert len(weights) == counted
    assert sum(layer.closes_residual for layer in layers) == 9


def test_the_shares_are_the_mean_softmax_of_the_views(photos: Path) -> None:
    views = network_views(open_picture((photos / "coffee.jpg").read_bytes()))
    (logits,) = get_session().run(["logits"], {"pixels": views})
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = (powers / powers.sum(axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(classify(views), expected, atol=1e-6)
    assert classify(views).sum() == pytest.approx(1, abs=1e-5)


def test_threads_that_come_together_build_one_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_session, "_session", None)
    together = Barrier(2)

    def build(_: int) -> int:
        together.wait()
        return id(get_session())

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(build, range(2))
    assert first == second == id(get_session())


def test_the_session_takes_one_core_and_no_device() -> None:
    assert get_session().get_providers() == ["CPUExecutionProvider"]
    assert get_session().get_session_options().intra_op_num_threads == 1
