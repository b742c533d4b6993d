"""The asset tags that are shown."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce

from filestack_tags.assets.sensitive import is_approved, unapproved_ids
from filestack_tags.conf import get_settings
from filestack_tags.models import AssetTag
from filestack_tags.models.tags import CONFIRMED

Rows = TypeVar("Rows", bound=QuerySet[Any])


def visible_asset_tags(rows: Rows, *, include_hidden: bool = False) -> Rows:
    """Return the asset tags of ``rows`` that are shown, as in the search ``tagged``.

    Not rejected, not hidden, not sensitive without approval, and at or above the threshold that
    applies to the tag unless a user accepted or added it. Assets may be archived.
    """
    minimum = Coalesce(F("tag__min_confidence"), get_settings().MIN_CONFIDENCE)
    shown = ~Q(decision=AssetTag.Decision.REJECTED)
    shown &= Q(decision__in=CONFIRMED) | Q(confidence__gte=minimum)
    if include_hidden:
        return rows.filter(shown)
    return rows.filter(shown, is_approved(unapproved_ids(rows.db)), tag__hidden=False)
