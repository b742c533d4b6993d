"""The query parameters: schemas and descriptions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import django_filters  # type: ignore[import-untyped]  # ships no types

from filestack_tags.api.assets import INCLUDED
from filestack_tags.api.filters import (
    AssetFilter,
    PeriodFilter,
    TagsFilter,
    TextsFilter,
    WholeNumberFilter,
)
from filestack_tags.api.representation import FIELDS
from filestack_tags.api.serializers import TagSerializer
from filestack_tags.models import BulkJob, BulkJobItem, TaggingRun, WebhookDelivery
from filestack_tags.search.language.fields import PERIOD as PERIOD_PATTERN
from filestack_tags.search.pages import ORDERS

TEXT = {"type": "string"}
ID = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
CURSOR = {"type": "string", "format": "page-cursor"}
TAG = {"type": "string", "minLength": 1, "format": "tag-name"}
TAG_FILTER = {"type": "string", "minLength": 1, "format": "tag-filter"}
VALUE = {"type": "string", "minLength": 1, "format": "search-value"}
PERIOD = {"type": "string", "pattern": f"^{PERIOD_PATTERN}$", "format": "search-period"}
"""A ``format`` that JSON Schema does not define means that a string can still be rejected, for a
reason that ``detail`` describes."""


def whole(least: int, most: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": most}


def some_of(names: tuple[str, ...]) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string", "enum": list(names)}, "minItems": 1}


def one_of(names: Sequence[str]) -> dict[str, Any]:
    return {"type": "string", "enum": list(names)}


PARAMETERS: dict[str, tuple[dict[str, Any], str]] = {
    "cursor": (CURSOR, "from next and previous; follow those links as they are"),
    "page_size": (whole(1, 200), "rows on a page; 50, if not given"),
    "order": (one_of(ORDERS), "newest, if not given"),
    "order_tag": (TAG, "with order=confidence: whose confidence"),
    "limit": (whole(1, 100), "how many tags"),
    "fields": (some_of(FIELDS), "the members of an asset to send, with commas"),
    "include": (some_of(("hidden",)), "hidden: hidden tags too, which takes a permission"),
    "q": (TEXT, "what names begin with"),
    "asset": (ID, "decisions about this asset alone"),
    "into": (TAG, "the tag to merge into, by its name or an alias"),
}
TAG_FIELDS = (
    some_of(TagSerializer.Meta.fields),
    "the members of a tag to send, with commas",
)
OF_VIEWS: dict[tuple[str, str], dict[str, tuple[dict[str, Any], str]]] = {
    ("AssetViewSet", "list"): {
        "include": (
            some_of(INCLUDED),
            "what is said of the result beside the page, with commas",
        ),
    },
    ("TagViewSet", "list"): {
        "fields": TAG_FIELDS,
        "q": ({"type": "string", "format": "tag-name"}, "what keys begin with; all if empty"),
    },
    ("TagViewSet", "retrieve"): {"fields": TAG_FIELDS},
    ("RunViewSet", "list"): {
        "asset": (ID, "runs of this asset alone"),
        "state": (one_of(TaggingRun.State.values), "runs in this state alone"),
    },
    ("JobViewSet", "list"): {
        "state": (one_of(BulkJob.State.values), "jobs in this state alone"),
    },
    ("JobViewSet", "items"): {
        "outcome": (one_of(BulkJobItem.Outcome.values), "those of which this came alone"),
    },
    ("DeliveryViewSet", "list"): {
        "state": (one_of(WebhookDelivery.State.values), "deliveries in this state alone"),
        "action": (TEXT, "deliveries of this action alone, such as fp.upload"),
    },
    ("AssetViewSet", "histogram"): {
        "tag": (TAG, "whose confidences are counted; it does not narrow"),
    },
}
"""Parameters with another meaning for one action of one view."""


def described(view: str, action: str, name: str) -> tuple[dict[str, Any], str]:
    """Return the schema and the description of a parameter."""
    own = OF_VIEWS.get((view, action), {})
    if name in own:
        return own[name]
    if view == "AssetViewSet" and name in AssetFilter.base_filters:
        return _of_filter(AssetFilter.base_filters[name])
    return PARAMETERS[name]


def _of_filter(parameter: Any) -> tuple[dict[str, Any], str]:
    schema: dict[str, Any] = {"type": "string", "format": "tag-query"}
    if isinstance(parameter, WholeNumberFilter):
        schema = whole(parameter.extra["min_value"], parameter.extra["max_value"])
    elif isinstance(parameter, django_filters.MultipleChoiceFilter):
        choices = [str(value) for value, _ in parameter.extra["choices"]]
        schema = {"type": "array", "items": {"type": "string", "enum": choices}}
    elif isinstance(parameter, TagsFilter):
        schema = {"type": "array", "items": TAG_FILTER}
    elif isinstance(parameter, TextsFilter):
        schema = {"type": "array", "items": VALUE}
    elif isinstance(parameter, PeriodFilter):
        schema = PERIOD
    return schema, str(parameter.label)
