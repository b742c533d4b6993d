"""Curation: users' decisions about the tags of assets, and changes to the tags themselves."""

from .decision_rows import Outcome
from .decisions import (
    accept,
    add,
    change,
    decide_many,
    newest_decisions,
    reject,
    withdraw,
)
from .tag_editing import add_alias, approve, hide, never_show, remove_alias, rename, set_minimum
from .undoing import undo, undo_many

__all__ = [
    "Outcome",
    "accept",
    "add",
    "add_alias",
    "approve",
    "change",
    "decide_many",
    "hide",
    "never_show",
    "newest_decisions",
    "reject",
    "remove_alias",
    "rename",
    "set_minimum",
    "undo",
    "undo_many",
    "withdraw",
]
