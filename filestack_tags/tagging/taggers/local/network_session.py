"""The network of this process, created for the first picture."""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from .network import build_model
from .weights import read_weights, weights_path

_lock = Lock()
_session: Any = None


def get_session() -> Any:
    """Return the process's ``InferenceSession``; the first call creates it.

    Raises:
        TaggerUnavailable: when the weights are missing or not the expected ones.
    """
    global _session
    with _lock:
        if _session is None:
            options = onnxruntime.SessionOptions()
            # One thread per picture: workers provide the parallelism, and results are reproducible.
            options.intra_op_num_threads = 1
            options.inter_op_num_threads = 1
            _session = onnxruntime.InferenceSession(
                build_model(read_weights(weights_path())),
                options,
                providers=["CPUExecutionProvider"],
            )
        return _session


def classify(views: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return each class's share, the mean over the views of one picture; they add up to 1.

    Args:
        views: float32 [N, 3, 224, 224], see :func:`~.network.build_model`.
    """
    (shares,) = get_session().run(["probabilities"], {"pixels": views})
    mean: NDArray[np.float32] = shares.mean(axis=0)
    return mean
