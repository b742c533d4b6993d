"""What the models' methods need of search, which is above them.

This is the only place where models import something above them. Each function imports what it
calls when it is called; no other module of this package imports :mod:`filestack_tags.search`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from django.db.models import Q, QuerySet

    from filestack_tags.search.language.tree import Query
    from filestack_tags.search.pages import Order, Page

    from .assets import AssetQuerySet
    from .tags import AssetTag

Assets = TypeVar("Assets", bound="AssetQuerySet")


def search_assets(
    assets: Assets, query: str | Query, *, include_hidden: bool, within: Q | None
) -> Assets:
    """See :func:`filestack_tags.search.planner.search_assets`."""
    from filestack_tags.search import planner

    return planner.search_assets(assets, query, include_hidden=include_hidden, within=within)


def time_limit(where: Any, using: str) -> AbstractContextManager[None]:
    """Return the time limit of a query whose conditions are ``where``; none without a search.

    See :func:`filestack_tags.search.deadline.time_limit`.
    """
    from filestack_tags.search import deadline, planner

    query = planner.searched(where)
    return nullcontext() if query is None else deadline.time_limit(using, query)


def visible_tags(using: str) -> QuerySet[AssetTag]:
    """Return the asset tags that are shown, the most confident first, each with its tag.

    See :func:`filestack_tags.search.planner.visible_asset_tags`.
    """
    from filestack_tags.search import planner

    from .tags import AssetTag

    rows = planner.visible_asset_tags(AssetTag.objects.using(using)).select_related("tag")
    return rows.order_by("-confidence", "tag__key")


def find(
    query: str,
    *,
    order: Order,
    tag: str | None,
    size: int,
    cursor: str | None,
    within: Q | None,
    include_hidden: bool,
) -> Page:
    """See :func:`filestack_tags.search.pages.find`."""
    from filestack_tags.search import pages

    return pages.find(
        query,
        order=order,
        tag=tag,
        size=size,
        cursor=cursor,
        within=within,
        include_hidden=include_hidden,
    )
