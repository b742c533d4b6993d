"""Bulk: one action on everything that matches a search, asked for at once and done by workers.

:func:`ask` notes a job, :func:`step` does one batch of it. The assets are those that match when
their turn comes, and were known when it was asked for.
"""

from .actions import REASONS
from .asking import (
    FORMATS,
    MAX_IDS,
    NOT_IN_CHARGE,
    PERMISSIONS,
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
from .exports import CONTENT_TYPES, download, is_in_scope, read_parts
from .running import Step, step, waiting
from .undoing import can_be_undone, undo

__all__ = [
    "CONTENT_TYPES",
    "FORMATS",
    "MAX_IDS",
    "NOT_IN_CHARGE",
    "PERMISSIONS",
    "REASONS",
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
    "waiting",
]
