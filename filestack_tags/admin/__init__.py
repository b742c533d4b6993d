"""The admin: one module per screen. Pages only read; buttons call tasks and services."""

from . import assets, deliveries, merges, operations, runs, tags

__all__ = ["assets", "deliveries", "merges", "operations", "runs", "tags"]
