"""The client of this process, set up from the settings and shared by its threads."""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from filestack_tags.conf import Settings, get_settings
from filestack_tags.exceptions import FilestackTagsError

from .client import FilestackClient
from .payloads import FileMetadata


class _SharedClient:
    """One client per process and per settings; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._client: FilestackClient | None = None
        self._settings: Settings | None = None
        self._pid = 0

    def get(self) -> FilestackClient:
        settings, pid = get_settings(), os.getpid()
        with self._lock:
            if self._client is None or self._pid != pid or self._settings is not settings:
                # A forked worker must not touch the connections of its parent, not even to close
                # them: both processes hold the same sockets.
                if self._client is not None and self._pid == pid:
                    self._client.close()
                    self._client = None
                self._client = FilestackClient.from_settings()
                self._settings, self._pid = settings, pid
            return self._client

    def close(self) -> None:
        if self._pid != os.getpid():
            # A forked process that made no client. Its parent may have held the lock while forking.
            return
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None


_shared = _SharedClient()
atexit.register(_shared.close)


def shared_client() -> FilestackClient:
    """Return this process's client, created on first use and after a change of settings.

    Raises:
        ConfigurationError: when the settings are not enough for a client.
    """
    return _shared.get()


def metadata_of(handles: Sequence[str]) -> dict[str, FileMetadata]:
    """Return the metadata of stored files, without those for which the call failed.

    All calls are made concurrently. A failed call is not an error here: its cause is reported when
    the file is tagged.
    """

    def metadata(handle: str) -> FileMetadata | None:
        try:
            return shared_client().metadata(handle)
        except FilestackTagsError:
            return None

    with ThreadPoolExecutor(len(handles) or 1, "filestack_tags-metadata") as pool:
        found = dict(zip(handles, pool.map(metadata, handles), strict=True))
    return {handle: metadata for handle, metadata in found.items() if metadata is not None}
