"""EfficientNet-Lite0 in plain numpy, written from the paper's layer table: an independent
implementation.

It shares only the tensors with the ONNX graph: batch norms are not folded, convolutions are sums of
shifted products, and every stage is spelled out with its kernel and width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# blocks, kernel, stride of the first block, expansion, width
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def logits(weights: Mapping[str, NDArray[Any]], picture: NDArray[Any]) -> Array:
    """Return the 1000 logits of one picture, [3, 224, 224]."""
    tensors = {name: np.asarray(tensor, np.float64) for name, tensor in weights.items()}
    x = np.asarray(picture, np.float64)
    x = relu6(batch_norm(tensors, "_bn0", convolve(x, tensors["_conv_stem.weight"], 2)))
    block = 0
    for blocks, kernel, first_stride, expansion, width in STAGES:
        for repeat in range(blocks):
            prefix, before = f"_blocks.{block}.", x
            if expansion > 1:
                x = pointwise(x, tensors[prefix + "_expand_conv.weight"])
                assert x.shape[0] == expansion * before.shape[0]
                x = relu6(batch_norm(tensors, prefix + "_bn0", x))
            filters = tensors[prefix + "_depthwise_conv.weight"]
            assert filters.shape[2:] == (kernel, kernel)
            x = depthwise(x, filters, 1 if repeat else first_stride)
            x = relu6(batch_norm(tensors, prefix + "_bn1", x))
            x = pointwise(x, tensors[prefix + "_project_conv.weight"])
            x = batch_norm(tensors, prefix + "_bn2", x)
            assert x.shape[0] == width
            if repeat:
                x = x + before
            block += 1
    x = relu6(batch_norm(tensors, "_bn1", pointwise(x, tensors["_conv_head.weight"])))
    return tensors["_fc.weight"] @ x.mean(axis=(1, 2)) + tensors["_fc.bias"]


def relu6(x: Array) -> Array:
    return np.clip(x, 0, 6)


def batch_norm(tensors: Mapping[str, Array], name: str, x: Array) -> Array:
    mean, variance, weight, bias = (
        tensors[f"{name}.{part}"][:, None, None]
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / np.sqrt(variance + 0.001) * weight + bias


def pointwise(x: Array, weight: Array) -> Array:
    return np.einsum("oc,chw->ohw", weight[:, :, 0, 0], x, optimize=True)


def shifted(x: Array, kernel: int, stride: int) -> dict[tuple[int, int], Array]:
    """Return the input of each position of the kernel, padded like TensorFlow's "SAME"."""
    size = x.shape[1]
    out = int(np.ceil(size / stride))
    pad = max((out - 1) * stride + kernel - size, 0)
    around = (pad // 2, pad - pad // 2)
    padded = np.pad(x, ((0, 0), around, around))
    stop = stride * (out - 1) + 1
    return {
        (row, column): padded[:, row : row + stop : stride, column : column + stop : stride]
        for row in range(kernel)
        for column in range(kernel)
    }


def convolve(x: Array, weight: Array, stride: int) -> Array:
    seen = shifted(x, weight.shape[2], stride)
    parts = [
        np.einsum("oc,chw->ohw", weight[:, :, r, c], part) for (r, c), part in seen.items()
    ]
    return np.sum(parts, axis=0)


def depthwise(x: Array, weight: Array, stride: int) -> Array:
    seen = shifted(x, weight.shape[2], stride)
    parts = [weight[:, 0, r, c, None, None] * part for (r, c), part in seen.items()]
    return np.sum(parts, axis=0)
