"""Visibility: which assets a user may see, and which tags by name (``ASSET_SCOPE``, hidden tags).

A scope is a ``Q`` over :class:`~filestack_tags.models.Asset`, or None for everything. Code that
shows or changes assets for a user starts from :func:`assets_of`; searches, totals, facets,
histograms and completion take :func:`scope_of` as ``within``. Automatic work (tagging, webhooks,
sweeps, commands) has no scope.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils.module_loading import import_string

from filestack_tags.conf import SETTING, get_settings
from filestack_tags.exceptions import ConfigurationError
from filestack_tags.models import Asset, AssetQuerySet, AssetTag, Tag, TagDecision, TaggingRun

from .sensitive import is_approved, unapproved_ids

NOTHING = "nothing"
"""The digest of a scope without any asset. Users without assets share no searches."""

Hook = Callable[[Any], Q | None]


def scope_of(user: Any) -> Q | None:
    """Return the assets that ``user`` may see, None for all.

    Cheap without the setting. With it, the host's function is called and its exceptions propagate,
    so that an error never shows too much.

    Args:
        user: the user, as authentication set it on the request.

    Raises:
        ConfigurationError: when ``ASSET_SCOPE`` cannot be imported, or returns something else.
    """
    path = get_settings().ASSET_SCOPE
    if not path:
        return None
    answer = hook(path)(user)
    if answer is not None and not isinstance(answer, Q):
        raise ConfigurationError(
            f"{SETTING}['ASSET_SCOPE'] returned {type(answer).__name__}: it must return a Q over "
            "assets, or None for all assets."
        )
    return answer


def sees_everything(user: Any) -> bool:
    """Whether ``user`` has no scope; only such users may change what all users share."""
    return scope_of(user) is None


def why_stopped(user: Any, permissions: Iterable[str]) -> str:
    """Return why work that ``user`` started must stop now, ``""`` if it may continue.

    Args:
        user: freshly read from the database; None if that user was deleted.
        permissions: all permissions that the work needs, as ``app.codename``.
    """
    if user is None:
        return "The user who started it was deleted."
    if not user.is_active:
        return f"The user {user.get_username()} is no longer active."
    for permission in permissions:
        if not user.has_perm(permission):
            return f"The user {user.get_username()} no longer has the permission {permission}."
    return ""


def sees_hidden_tags(user: Any) -> bool:
    """Whether ``user`` may see the names of hidden tags and of sensitive ones not yet approved.

    That requires ``search_hidden``. Code without a user may see all.
    """
    return user is None or bool(user.has_perm("filestack_tags.search_hidden"))


def asset_tags_named_to(user: Any, rows: QuerySet[AssetTag]) -> QuerySet[AssetTag]:
    """Return the rows whose tag ``user`` may see by name; their assets are not checked.

    A sensitive tag has a name only on the assets where a user accepted or added it.
    """
    if sees_hidden_tags(user):
        return rows
    return rows.filter(is_approved(unapproved_ids(rows.db)), tag__hidden=False)


def tags_named_to(user: Any, *, on: int | None = None) -> QuerySet[Tag]:
    """Return the tags that ``user`` may see by name: at all, or on the asset with the id ``on``."""
    tags = Tag.objects.all()
    if sees_hidden_tags(user):
        return tags
    named = ~Q(pk__in=unapproved_ids(tags.db))
    if on is not None:
        here = asset_tags_named_to(user, AssetTag.objects.filter(asset=on))
        named |= Q(pk__in=here.values("tag"))
    return tags.filter(named, hidden=False)


def decisions_of(user: Any) -> QuerySet[TagDecision]:
    """Return the decisions about tags that ``user`` may see by name, on assets in scope."""
    decisions = TagDecision.objects.all()
    if not sees_everything(user):
        decisions = decisions.filter(asset__in=assets_of(user))
    if sees_hidden_tags(user):
        return decisions
    decisions = decisions.exclude(tag__hidden=True)  # a merged tag has no row
    if kept := unapproved_ids(decisions.db):
        here = AssetTag.objects.filter(asset=OuterRef("asset"), tag=OuterRef("tag"))
        decisions = decisions.filter(
            ~Q(tag_id__in=kept) | Exists(asset_tags_named_to(user, here))
        )
    return decisions


def hidden_keys(user: Any, keys: Iterable[str]) -> set[str]:
    """Return the keys of labels that ``user`` must not see, for example in a tagger's reply."""
    wanted = set(keys)
    if sees_hidden_tags(user) or not wanted:
        return set()
    hidden = Tag.objects.filter(Q(hidden=True) | Q(pk__in=unapproved_ids(Tag.objects.db)))
    names = hidden.values_list("key", "aliases__key")
    return wanted.intersection(key for pair in names for key in pair)


def assets_of(user: Any) -> AssetQuerySet:
    """Return the assets that ``user`` may see, each once, including archived ones."""
    return Asset.objects.within(scope_of(user))


def runs_of(user: Any) -> QuerySet[TaggingRun]:
    """Return the tagging runs of the assets that ``user`` may see."""
    scope = scope_of(user)
    runs = TaggingRun.objects.all()
    return runs if scope is None else runs.filter(asset__in=Asset.objects.within(scope))


def tags_of(user: Any) -> QuerySet[Tag]:
    """Return the tags on assets that ``user`` may see, including hidden tags.

    Each is annotated with ``visible_assets``, the number of those assets. For users without a scope
    this is ``asset_count``, and tags without assets are included.
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
    """Return a digest that is equal for users with the same scope, ``""`` without a scope.

    Equal conditions with equal values have the same digest; :data:`NOTHING` is the digest of an
    empty scope.
    """
    scope = scope_of(user)
    if scope is None:
        return ""
    try:
        sql, params = Asset.objects.within(scope).values("pk").query.sql_with_params()
    except EmptyResultSet:
        return NOTHING
    return sha256(f"{sql} {params!r}".encode()).hexdigest()


def hook(path: str) -> Hook:
    """Return the function at a dotted path.

    Raises:
        ConfigurationError: when it cannot be imported or is not callable.
    """
    try:
        found = import_string(path)
    except ImportError as error:
        raise ConfigurationError(
            f"{SETTING}['ASSET_SCOPE'] cannot be imported: {error}"
        ) from error
    if not callable(found):
        raise ConfigurationError(f"{SETTING}['ASSET_SCOPE'] is not a function.")
    scoped: Hook = found
    return scoped
