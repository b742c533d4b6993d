"""Curation: what people decide, about the tags of an asset and about the labels themselves."""

from .decisions import accept, add, reject, withdraw
from .labels import add_alias, hide, remove_alias, rename, set_minimum

__all__ = [
    "accept",
    "add",
    "add_alias",
    "hide",
    "reject",
    "remove_alias",
    "rename",
    "set_minimum",
    "withdraw",
]
