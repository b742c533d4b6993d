"""The pool of decoder processes: at most :data:`DECODERS`, each with limited memory.

A decoder is started for the first picture and reused for the next ones. It ends when its input is
closed, which the operating system does when this process ends.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

from filestack_tags.exceptions import TaggerUnavailable, UnreadableImage

from . import decoder_process
from .decoder_process import READY, REPLY, REQUEST

DECODERS = 2
"""Maximum pictures that a process reads and decodes at once, despite ``TAGGING_CONCURRENCY``."""

MEMORY = 280 * 1024 * 1024
"""Bytes for one picture: its file in this process, and its file and pixels in the decoder."""

slots = threading.BoundedSemaphore(DECODERS)
"""Hold one while the bytes of a picture are in memory."""

_PROGRAM = str(Path(decoder_process.__file__))
_idle: list[Decoder] = []
_lock = threading.Lock()


class _Ended(Exception):
    """The decoder has ended."""


class Decoder:
    """One decoder process.

    Raises:
        TaggerUnavailable: when it cannot be started.
    """

    def __init__(self) -> None:
        environment = os.environ | {
            # The same packages as here, including those added to sys.path by hand.
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "MALLOC_ARENA_MAX": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        try:
            self._process = subprocess.Popen(  # noqa: S603  # our own program
                [sys.executable, "-P", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,  # Ctrl-C goes to this process, which then ends the decoder
            )
            self._read(len(READY))
        except (OSError, _Ended) as error:
            raise TaggerUnavailable(
                "The local tagger cannot start a process that decodes pictures.",
                fix=f"Check that {sys.executable!r} is a Python that can run here.",
            ) from error

    def decode(self, data: bytes) -> tuple[dict[str, Any], bytes]:
        """Return the facts and the pixels of a picture; raise _Ended when the process ends."""
        requests = cast("IO[bytes]", self._process.stdin)
        try:
            requests.write(REQUEST.pack(len(data), MEMORY - len(data)))
            requests.write(data)
            requests.flush()
        except OSError as error:
            raise _Ended from error
        text, pixels = REPLY.unpack(self._read(REPLY.size))
        return json.loads(self._read(text)), self._read(pixels)

    def _read(self, length: int) -> bytes:
        content = cast("IO[bytes]", self._process.stdout).read(length)
        if len(content) < length:
            raise _Ended
        return content

    def close(self) -> None:
        """End the process and wait for it."""
        self._process.kill()
        self._process.communicate()


def decode(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the facts of a picture and its pixels; see :func:`.decoder_process.decode`.

    Raises:
        UnreadableImage: when the picture is broken, or needs more than :data:`MEMORY`; its code
            is ``unreadable_image`` or ``file_too_large``.
        TaggerUnavailable: when no decoder can be started.
    """
    reply, pixels = _decode(data)
    if "code" in reply:
        raise UnreadableImage(reply["message"], code=reply["code"])
    return reply, pixels


def _decode(data: bytes) -> tuple[dict[str, Any], bytes]:
    with _lock:
        used = _idle.pop() if _idle else None
    if used is not None:
        with suppress(_Ended):  # it may have been killed while it was idle
            return _decode_in(used, data)
    try:
        return _decode_in(Decoder(), data)
    except _Ended:
        raise UnreadableImage("The picture ended the process that decoded it.") from None


def _decode_in(process: Decoder, data: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        reply, pixels = process.decode(data)
    except BaseException:
        process.close()
        raise
    if reply.pop("last"):
        process.close()
    else:
        _idle.append(process)
    return reply, pixels


def close() -> None:
    """End the decoders that are idle."""
    while _idle:
        _idle.pop().close()


atexit.register(close)

_of_parent: list[Decoder] = []


def _leave_to_parent() -> None:
    """After a fork, keep a reference to the parent's decoders, and never use them."""
    _of_parent.extend(_idle)
    _idle.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_leave_to_parent)
