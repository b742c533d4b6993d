"""EfficientNet-Lite0 as an ONNX graph, built from the weights alone.

The architecture is that of Google's EfficientNet-lite: no squeeze-and-excitation, ReLU6, and
TensorFlow's "SAME" padding, which puts the odd pixel at the bottom and the right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from .weights import Weights

INPUT_SIZE = 224
CLASSES = 1000
BATCH_NORM_EPSILON = 1e-3

# Supported by every onnxruntime version that the extra allows.
OPSET = 13
IR_VERSION = 8

STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
"""(blocks, stride of the first block) of the seven stages."""


@dataclass(frozen=True)
class Convolution:
    """One convolution with its batch norm folded in."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    stride: int = 1
    relu6: bool = True
    depthwise: bool = False
    opens_block: bool = False
    """Its input is added by the block's shortcut at the end."""
    closes_residual: bool = False
    """The input of its block is added to its output."""


def convolutions(weights: Weights) -> Iterator[Convolution]:
    """Yield the network's convolutions from the input to the head."""
    yield Convolution(*_folded(weights, "_conv_stem", "_bn0"), stride=2)
    block = 0
    for blocks, first_stride in STAGES:
        for repeat in range(blocks):
            yield from _block(
                weights,
                f"_blocks.{block}.",
                stride=1 if repeat else first_stride,
                residual=repeat > 0,
            )
            block += 1
    yield Convolution(*_folded(weights, "_conv_head", "_bn1"))


def _block(
    weights: Weights, prefix: str, *, stride: int, residual: bool
) -> Iterator[Convolution]:
    """Yield a mobile inverted bottleneck; the first stage's block does not expand."""
    expands = f"{prefix}_expand_conv.weight" in weights
    if expands:
        expand = _folded(weights, f"{prefix}_expand_conv", f"{prefix}_bn0")
        yield Convolution(*expand, opens_block=True)
    yield Convolution(
        *_folded(weights, f"{prefix}_depthwise_conv", f"{prefix}_bn1"),
        stride=stride,
        depthwise=True,
        opens_block=not expands,
    )
    yield Convolution(
        *_folded(weights, f"{prefix}_project_conv", f"{prefix}_bn2"),
        relu6=False,
        closes_residual=residual,
    )


def _folded(
    weights: Weights, convolution: str, batch_norm: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return weight and bias equivalent to the convolution followed by its batch norm."""
    variance = weights[f"{batch_norm}.running_var"].astype(np.float64)
    gain = weights[f"{batch_norm}.weight"] / np.sqrt(variance + BATCH_NORM_EPSILON)
    weight = weights[f"{convolution}.weight"] * gain[:, None, None, None]
    bias = weights[f"{batch_norm}.bias"] - weights[f"{batch_norm}.running_mean"] * gain
    return weight.astype(np.float32), bias.astype(np.float32)


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int, int]:
    """Return the pixels before, the pixels after, and the output size, as TensorFlow does."""
    output = -(-size // stride)
    total = max((output - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2, output


def build_model(weights: Weights) -> bytes:
    """Return the network as a serialized ONNX model.

    Its input ``pixels`` is float32 [N, 3, 224, 224], RGB, ``(value - 127) / 128``; its outputs are
    ``logits`` and ``probabilities``, float32 [N, 1000].
    """
    nodes: list[Any] = []
    constants = {
        "zero": np.array(0, np.float32),
        "six": np.array(6, np.float32),
        "classifier_weight": np.ascontiguousarray(weights["_fc.weight"]),
        "classifier_bias": np.ascontiguousarray(weights["_fc.bias"]),
    }

    def add(operation: str, name: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operation, inputs, [name], **attributes))
        return name

    current, shortcut, size = "pixels", "", INPUT_SIZE
    for index, layer in enumerate(convolutions(weights)):
        weight, bias = f"weight{index}", f"bias{index}"
        constants[weight], constants[bias] = layer.weight, layer.bias
        if layer.opens_block:
            shortcut = current
        channels, _, kernel, _ = layer.weight.shape
        before, after, size = _same_padding(size, kernel, layer.stride)
        current = add(
            "Conv",
            f"convolution{index}",
            current,
            weight,
            bias,
            kernel_shape=[kernel, kernel],
            strides=[layer.stride, layer.stride],
            pads=[before, before, after, after],
            group=channels if layer.depthwise else 1,
        )
        if layer.relu6:
            current = add("Clip", f"relu{index}", current, "zero", "six")
        if layer.closes_residual:
            current = add("Add", f"residual{index}", current, shortcut)
    add("GlobalAveragePool", "pooled", current)
    add("Flatten", "features", "pooled", axis=1)
    add("Gemm", "logits", "features", "classifier_weight", "classifier_bias", transB=1)
    add("Softmax", "probabilities", "logits", axis=1)

    picture: list[str | int | None] = ["N", 3, INPUT_SIZE, INPUT_SIZE]
    graph = helper.make_graph(
        nodes,
        "efficientnet-lite0",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, picture)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", CLASSES])
            for name in ("logits", "probabilities")
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised
