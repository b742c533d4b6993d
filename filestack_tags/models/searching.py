"""What the models' methods need of search, which is above them.

This is the only place where models import something above them. Each function imports what it
calls when it is called; no other module of this package imports :mod:`filestack_tags.search`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from django.db.models import Q, QuerySet

    from filestack_tags.search import Search
    from filestack_tags.search.language.tree import Query

    from .assets import AssetQuerySet
    from .tags import AssetTag

Assets = TypeVar("Assets", bound="AssetQuerySet")


def search_assets(
    assets: Assets, query: str | Query, *, include_hidden: bool, scope: Q | None
) -> Assets:
    """Return the assets that match; each evaluation looks up the tags of the search again."""
    from filestack_tags.search.matching_assets import Matches

    search = new_search(query, include_hidden=include_hidden, scope=scope, using=assets.db)
    return assets.filter(Matches(search, renews_names=True))


def new_search(query: str | Query, **options: Any) -> Search:
    """Return a :class:`filestack_tags.search.Search`."""
    from filestack_tags.search import Search

    return Search(query, **options)


def time_limit(where: Any, using: str) -> AbstractContextManager[None]:
    """Return the time limit of a query whose conditions are ``where``; none without a search.

    See :func:`filestack_tags.search.deadline.time_limit`.
    """
    from filestack_tags.search import deadline
    from filestack_tags.search.matching_assets import search_in

    search = search_in(where)
    return nullcontext() if search is None else deadline.time_limit(using, search.query)


def count_matches(query: Any, using: str) -> int | None:
    """Return how many assets match, None if ``query`` is more than the search for them.

    See :func:`filestack_tags.search.matching_assets.search_alone`.
    """
    from filestack_tags.search import totals
    from filestack_tags.search.matching_assets import search_alone

    search = search_alone(query, using)
    return None if search is None else totals.exact(search)


def visible_tags(using: str) -> QuerySet[AssetTag]:
    """Return the asset tags that are shown, the most confident first, each with its tag.

    See :func:`filestack_tags.search.visible_tags.visible_asset_tags`.
    """
    from filestack_tags.search.visible_tags import visible_asset_tags

    from .tags import AssetTag

    rows = visible_asset_tags(AssetTag.objects.using(using)).select_related("tag")
    return rows.order_by("-confidence", "tag__key")
