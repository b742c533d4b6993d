"""The emulator's tags for a file: they depend on its bytes, and on nothing else.

So a stale result, or one of another file, would be detected.
"""

from __future__ import annotations

import hashlib

LABELS = 40
"""Few enough that every tag is on many assets, whose transactions then compete."""


def labels(content: bytes) -> dict[str, int]:
    """Return label → confidence for the bytes of a file: five at most."""
    digest = hashlib.sha256(content).digest()
    return {f"label {digest[n] % LABELS:02}": digest[n + 8] % 101 for n in range(5)}


def content(seed: str, serial: int, version: int) -> bytes:
    """Return the bytes of one version of one file."""
    return f"file {serial} of {seed}, version {version}".encode()
