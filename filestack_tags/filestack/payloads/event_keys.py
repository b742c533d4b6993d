"""The key of a webhook body, by which two requests are known to be one event."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from filestack_tags.exceptions import PayloadError

from .reading import decode

WORKFLOW_ACTION = "fs.workflow"

_ACTION = re.compile(r"[A-Za-z0-9._-]{1,100}")
_WORD = re.compile(r"[A-Za-z0-9._-]{1,80}")


def event_key(body: bytes) -> tuple[str, str]:
    """Return the key and action of a webhook body; never raises, whatever the bytes.

    Meant for storing a delivery before it is parsed. An invalid body is identified by its SHA-256
    and has the action ``""``.
    """
    try:
        payload, _ = decode(body)
    except PayloadError:
        return _digest(body), ""
    action = action_of(payload)
    return key_of(payload, action, body), action


def action_of(payload: Mapping[str, Any]) -> str:
    """Return Filestack's name of an event, or ``""``."""
    if "action" not in payload and "workflow" in payload and "results" in payload:
        return WORKFLOW_ACTION
    action = payload.get("action")
    return action if isinstance(action, str) and _ACTION.fullmatch(action) else ""


def key_of(payload: Mapping[str, Any], action: str, body: bytes) -> str:
    """Return the key of an event: by its action and id, otherwise by its SHA-256."""
    # A body without envelope has no event id: another file may have the same job and status.
    identity = word(payload.get("id")) if "action" in payload else ""
    return f"{action}:{identity}" if action and identity else _digest(body)


def word(value: object) -> str:
    """Return an id as text, or ``""`` if it is none."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**30:
        return str(value)
    return value if isinstance(value, str) and _WORD.fullmatch(value) else ""


def _digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"
