"""The admin: one folder per subject. Pages only read; buttons call tasks and services."""

from .bulk import jobs
from .library import assets, saved_searches
from .operations import operations
from .records import deliveries, model_files, outbound, runs
from .review import decisions
from .tags import merges, tags

__all__ = [
    "assets",
    "decisions",
    "deliveries",
    "jobs",
    "merges",
    "model_files",
    "operations",
    "outbound",
    "runs",
    "saved_searches",
    "tags",
]
