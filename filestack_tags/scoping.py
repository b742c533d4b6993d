"""Whose eyes see which assets: the setting ``SCOPE``, asked once for each request.

A scope is a ``Q`` over :class:`~filestack_tags.models.Asset`, or None for everything. Whatever
shows or changes assets for a person starts from :func:`assets_of`; searches, totals, facets,
histograms and completion take :func:`scope_of` as ``within``. What the machine does by itself
(tagging, webhooks, sweeps, commands) has no scope.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import sha256
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils.module_loading import import_string

from .conf import SETTING, get_settings
from .exceptions import ConfigurationError
from .models import Asset, AssetQuerySet, AssetTag, Tag, TaggingRun

NOTHING = "nothing"
"""The digest of a scope without any asset. Who sees nothing shares nothing."""

Hook = Callable[[Any], Q | None]


def scope_of(user: Any) -> Q | None:
    """Return the assets that ``user`` may see, None for all.

    Cheap without a setting; with one it calls the host's function, whose errors are let through:
    who cannot be told what to see is shown nothing.

    Args:
        user: who asks, as authentication left it on the request.

    Raises:
        ConfigurationError: when ``SCOPE`` cannot be imported, or answers something else.
    """
    path = get_settings().SCOPE
    if not path:
        return None
    answer = hook(path)(user)
    if answer is not None and not isinstance(answer, Q):
        raise ConfigurationError(
            f"{SETTING}['SCOPE'] answered {type(answer).__name__}: it has to be a Q over "
            "assets, or None for all of them."
        )
    return answer


def sees_everything(user: Any) -> bool:
    """Whether ``user`` has no scope: what all share is changed by those alone."""
    return scope_of(user) is None


def why_stopped(user: Any, permissions: Iterable[str]) -> str:
    """Return why work that ``user`` started must stop now, ``""`` if it may continue.

    Args:
        user: freshly read from the database; None if that user was deleted.
        permissions: all that the work needs, as ``app.codename``.
    """
    if user is None:
        return "The user who started it was deleted."
    if not user.is_active:
        return f"The user {user.get_username()} is no longer active."
    for permission in permissions:
        if not user.has_perm(permission):
            return f"The user {user.get_username()} no longer has the permission {permission}."
    return ""


def assets_of(user: Any) -> AssetQuerySet:
    """Return the assets that ``user`` may see, each once; forgotten ones are among them."""
    return Asset.objects.within(scope_of(user))


def runs_of(user: Any) -> QuerySet[TaggingRun]:
    """Return the tagging runs of the assets that ``user`` may see."""
    scope = scope_of(user)
    runs = TaggingRun.objects.all()
    return runs if scope is None else runs.filter(asset__in=Asset.objects.within(scope))


def tags_of(user: Any) -> QuerySet[Tag]:
    """Return the tags that an asset ``user`` may see has, hidden ones too.

    Each is annotated with ``visible_assets``, the number of those assets; to who sees everything
    it is ``asset_count``, and tags that no asset has are shown as well.
    """
    scope = scope_of(user)
    if scope is None:
        return Tag.objects.annotate(visible_assets=F("asset_count"))
    rows = AssetTag.objects.filter(
        tag=OuterRef("pk"), score__gte=0, asset__in=Asset.objects.within(scope)
    )
    count = rows.order_by().values("tag").annotate(n=Count("asset_id")).values("n")
    return Tag.objects.filter(Exists(rows)).annotate(
        visible_assets=Coalesce(Subquery(count), 0)
    )


def digest_of(user: Any) -> str:
    """Return what is the same for users with the same scope; ``""`` for those who see all.

    Equal conditions with equal values give the same; :data:`NOTHING` is that of no asset.
    """
    scope = scope_of(user)
    if scope is None:
        return ""
    try:
        sql, params = Asset.objects.within(scope).values("pk").query.sql_with_params()
    except EmptyResultSet:
        return NOTHING
    return sha256(f"{sql} {params!r}".encode()).hexdigest()


@lru_cache
def hook(path: str) -> Hook:
    """Return the function that a dotted path names.

    Raises:
        ConfigurationError: when there is none.
    """
    try:
        found = import_string(path)
    except ImportError as error:
        raise ConfigurationError(f"{SETTING}['SCOPE'] cannot be imported: {error}") from error
    if not callable(found):
        raise ConfigurationError(f"{SETTING}['SCOPE'] is not a function.")
    scoped: Hook = found
    return scoped
