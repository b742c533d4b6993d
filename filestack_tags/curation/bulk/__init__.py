"""Bulk jobs: one action on everything that matches a search, started at once and run by workers.

:func:`ask` creates a job, :func:`step` runs one batch of it. An asset is included if it was
registered before the job was created and matches when its batch runs.
"""

from .actions import REASONS
from .batches import Step, step
from .exports import CONTENT_TYPES, download, is_in_scope, read_parts
from .requests import (
    FORMATS,
    MAX_IDS,
    MAX_KEY,
    NOT_IN_CHARGE,
    PERMISSIONS,
    TAGGED,
    TAKES,
    UNDONE,
    Preview,
    Request,
    ask,
    cancel,
    is_in_charge,
    parameters_named_to,
    permission,
    preview,
)
from .undoing import can_be_undone, undo

__all__ = [
    "CONTENT_TYPES",
    "FORMATS",
    "MAX_IDS",
    "MAX_KEY",
    "NOT_IN_CHARGE",
    "PERMISSIONS",
    "REASONS",
    "TAGGED",
    "TAKES",
    "UNDONE",
    "Preview",
    "Request",
    "Step",
    "ask",
    "can_be_undone",
    "cancel",
    "download",
    "is_in_charge",
    "is_in_scope",
    "parameters_named_to",
    "permission",
    "preview",
    "read_parts",
    "step",
    "undo",
]
