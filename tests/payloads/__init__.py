"""Payloads as Filestack sends them; INDEX.md lists the source of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def payload(name: str) -> bytes:
    """Return the exact bytes of a payload, which signatures are computed from."""
    return (FOLDER / name).read_bytes()


def decoded(name: str) -> Any:
    """Return a payload decoded from JSON."""
    return json.loads(payload(name))
