"""A scope function for ``ASSET_SCOPE``."""

from __future__ import annotations

from typing import Any

from django.db.models import Q


def first(user: Any) -> Q:
    """Return a scope with only the asset of the handle ``h0``."""
    return Q(reference="h0")
