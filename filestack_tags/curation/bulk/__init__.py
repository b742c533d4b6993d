"""Bulk jobs: one action on everything that matches a search, started at once and run by workers.

:func:`create` creates a job, :func:`step` runs one batch of it. An asset is included if it was
registered before the job was created and matches when its batch runs.
"""

from .actions import REASONS
from .batches import Step, step
from .exports import CONTENT_TYPES, download, is_in_scope, read_parts
from .requests import (
    CANNOT_MANAGE,
    FORMATS,
    MAX_IDS,
    MAX_KEY,
    PERMISSIONS,
    TAGGED,
    TAKES,
    UNDONE,
    BulkRequest,
    Preview,
    can_manage,
    cancel,
    create,
    parameters_named_to,
    permission,
    preview,
)
from .undoing import can_be_undone, undo

__all__ = [
    "CANNOT_MANAGE",
    "CONTENT_TYPES",
    "FORMATS",
    "MAX_IDS",
    "MAX_KEY",
    "PERMISSIONS",
    "REASONS",
    "TAGGED",
    "TAKES",
    "UNDONE",
    "BulkRequest",
    "Preview",
    "Step",
    "can_be_undone",
    "can_manage",
    "cancel",
    "create",
    "download",
    "is_in_scope",
    "parameters_named_to",
    "permission",
    "preview",
    "read_parts",
    "step",
    "undo",
]
