"""Withheld tags: the one rule about sensitive labels, for all code that reads tags.

With the setting ``HIDE_SENSITIVE``, a tag on the list of
:mod:`filestack_tags.assets.sensitive_labels` is withheld until a user approves it. Searches then
find only those of its rows that a user accepted or added; ``include:hidden`` finds the others too.
Nothing is deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Q, QuerySet

from filestack_tags.conf import get_settings
from filestack_tags.models import AssetTag, Tag
from filestack_tags.models.tags import CONFIRMED

from . import sensitive_labels

BATCH_SIZE = 450
"""Keys in one statement: SQLite's oldest limit is 999 parameters."""


def unapproved_ids(using: str) -> frozenset[int]:
    """Return the ids of sensitive tags without approval; runs no query while the setting is off."""
    if not get_settings().HIDE_SENSITIVE:
        return frozenset()
    return frozenset(
        pk
        for tags in sensitive_tags(using)
        for pk in tags.filter(approved_at=None).values_list("pk", flat=True)
    )


def sensitive_tags(using: str) -> Iterator[QuerySet[Tag]]:
    """Yield the tags on the list, in batches."""
    tags = Tag._base_manager.using(using)
    keys = sorted(sensitive_labels.labels())
    for start in range(0, len(keys), BATCH_SIZE):
        yield tags.filter(key__in=keys[start : start + BATCH_SIZE])


def is_approved(tag_ids: Collection[int]) -> Q:
    """Return the condition that an asset tag is visible, given the ids of unapproved tags."""
    return ~Q(tag_id__in=tag_ids) | Q(decision__in=CONFIRMED) if tag_ids else Q()


def is_approved_in_sql(tag_ids: Collection[int], alias: str) -> str:
    """Return :func:`is_approved` as SQL for an alias of the asset tag, given at least one id."""
    ids = ", ".join(map(str, sorted(tag_ids)))
    return f"({alias}.tag_id NOT IN ({ids}) OR {confirmed(alias)})"


def confirmed(alias: str) -> str:
    """Return the SQL condition that a user accepted or added the asset tag with this alias."""
    return f"{alias}.decision IN ({', '.join(str(int(decision)) for decision in CONFIRMED)})"


@dataclass(frozen=True, slots=True)
class SensitiveTag:
    """A tag on the list.

    Args:
        assets: how many have it, not counting rejected ones.
        withheld: how many of those keep it out of searches, facets and the API.
    """

    tag_id: int
    name: str
    category: str
    assets: int
    withheld: int
    approved_at: datetime | None


def report(using: str) -> list[SensitiveTag]:
    """Return the existing sensitive tags, by category and key: one query, two if the setting is on,
    for each :data:`BATCH_SIZE` labels of the list.
    """
    kept = unapproved_ids(using)
    rows = AssetTag._base_manager.using(using)
    yes = rows.filter(tag_id__in=kept, decision__in=CONFIRMED, score__gte=0)
    shown = dict(yes.values_list("tag_id").annotate(n=Count("*")))
    found = [
        SensitiveTag(
            tag.pk,
            tag.name,
            sensitive_labels.category_of(tag.key),
            tag.asset_count,
            max(tag.asset_count - shown.get(tag.pk, 0), 0) if tag.pk in kept else 0,
            tag.approved_at,
        )
        for tags in sensitive_tags(using)
        for tag in tags.order_by("key")
    ]
    return sorted(found, key=lambda tag: tag.category)
