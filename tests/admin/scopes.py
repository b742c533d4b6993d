"""What somebody may see, for ``SCOPE``."""

from __future__ import annotations

from typing import Any

from django.db.models import Q


def first(user: Any) -> Q:
    """Return that of all assets only the one of the handle ``h0`` may be seen."""
    return Q(reference="h0")
