"""The admin: one module per screen. Pages only read; buttons call tasks and services."""

from . import (
    assets,
    decisions,
    deliveries,
    files,
    jobs,
    merges,
    operations,
    outbound,
    runs,
    searches,
    tags,
)

__all__ = [
    "assets",
    "decisions",
    "deliveries",
    "files",
    "jobs",
    "merges",
    "operations",
    "outbound",
    "runs",
    "searches",
    "tags",
]
