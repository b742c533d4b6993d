"""A folder as Celery's broker: ``folder://``. One machine only, but nothing to install.

It is kombu's ``filesystem://`` with files that appear complete or not at all. There, a file can be
read between its creation and its first byte, after which the worker stops consuming
(``kombu/transport/filesystem.py``, seen with kombu 5.7.0).
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.transport.filesystem import LOCK_EX, exchange_queue_t, lock, unlock
from kombu.utils.json import dumps

SCHEME = "folder"


class Channel(filesystem.Channel):
    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:
        # Messages are consumed in the order of their names.
        name = f"{time.monotonic_ns():020}_{uuid.uuid4()}.{queue}.msg"
        _write(Path(self.data_folder_out) / name, dumps(payload))

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        binding = exchange_queue_t(routing_key or "", pattern or "", queue or "")
        with self._one_at_a_time():
            table = self.get_table(exchange)
            if binding not in table:
                # Every version of kombu looks here; its method for the name is newer than 5.5.
                bindings = Path(self.control_folder) / f"{exchange}.exchange"
                _write(bindings, dumps([binding, *table]))

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        with (Path(self.control_folder) / "lock").open("ab") as holder:
            lock(holder, LOCK_EX)
            try:
                yield
            finally:
                unlock(holder)


class Transport(filesystem.Transport):
    Channel = Channel
    driver_type = driver_name = SCHEME
    # A folder has no host; kombu's default would cause a warning about that.
    default_connection_params: ClassVar[dict[str, Any]] = {}


def _write(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(text, "utf-8")
    part.replace(path)


def install() -> None:
    """Register ``folder://`` with Celery."""
    TRANSPORT_ALIASES[SCHEME] = f"{__name__}:{Transport.__name__}"
