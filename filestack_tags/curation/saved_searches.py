"""Saved searches: a search and its order, saved by a user under a name.

A private one is visible to its owner. A shared one is visible to users with the scope that its
owner had when saving it, and to users without a scope. A search may contain names of tags and files
that must not leave the scope. Callers check permissions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from django.db import IntegrityError
from django.db.models import Case, Q, QuerySet, Value, When
from django.utils import timezone
from django.utils.translation import gettext as _

from filestack_tags.assets.visibility import NOTHING, digest_of
from filestack_tags.db.text import (
    is_visible,
    label_key,
    label_name,
    sanitize_text,
    without_ignorable,
)
from filestack_tags.db.transactions import alias, atomic, locked
from filestack_tags.exceptions import SavedSearchError
from filestack_tags.models import SavedSearch
from filestack_tags.search import Search

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

MAX_NAME = 100
"""Longest name, in characters."""

Order = SavedSearch.Order


@dataclass(frozen=True, slots=True)
class SavedSearchInput:
    """The values to save.

    Args:
        name: at most :data:`MAX_NAME` characters; white space is collapsed.
        query: a search; all assets when empty.
        order: a :class:`SavedSearch.Order`.
        order_tag: the tag for ``order=confidence``; defaults to the first required tag of the
            search.
        shared: whether other users see it.
    """

    name: str
    query: str = ""
    order: str = Order.NEWEST
    order_tag: str = ""
    shared: bool = False


def save(
    data: SavedSearchInput, *, user: AbstractBaseUser, saved_id: int | None = None
) -> SavedSearch:
    """Save a search under a name, or change one of the owner's; return it.

    Args:
        data: the new values.
        user: the owner, whose permissions the search is checked with.
        saved_id: the saved search to change; None creates one.

    Raises:
        SavedSearchError: when the owner has another one of that name, or name or order are wrong.
        SearchError: when the search cannot be parsed, or a prefix in it matches too many tags.
        SearchTimeout: when looking up its tags takes longer than ``SEARCH_TIMEOUT``.
        InvalidLabel: when ``order_tag`` cannot be a tag.
        SavedSearch.DoesNotExist: when the owner has none with that id.
    """
    values = check(data, user=user, saved_id=saved_id)
    now = timezone.now()
    try:
        with atomic():
            saved = SavedSearch(owner_id=user.pk, created_at=now)
            if saved_id is not None:
                saved = locked(SavedSearch.objects.filter(pk=saved_id)).get()
                if saved.owner_id != user.pk:
                    raise SavedSearch.DoesNotExist
            for name, value in values.items():
                setattr(saved, name, value)
            saved.scope_digest = digest_of(user)
            saved.updated_at = now
            saved.save(using=alias())
    except IntegrityError:  # saved by a concurrent request
        _require_free(values["name"], user, saved_id)
        raise
    return saved


def check(
    data: SavedSearchInput, *, user: AbstractBaseUser, saved_id: int | None = None
) -> dict[str, Any]:
    """Return what :func:`save` would write, by column. Changes nothing.

    Raises the same errors as :func:`save`.
    """
    search = Search(data.query, user=user, using=alias())
    with search.time_limit():
        search.names()  # raises an error for prefixes of too many tags
    if data.order not in Order.values:
        raise SavedSearchError(
            _("Unknown order “%(order)s”. Allowed orders: %(orders)s.")
            % {"orders": ", ".join(Order.values), "order": data.order},
            parameter="order",
        )
    order_tag = ""
    if data.order_tag.strip():
        order_tag = label_name(data.order_tag)
        label_key(order_tag)  # the normalized key may be too long even if the name is not
    if order_tag and data.order != Order.CONFIDENCE:
        raise SavedSearchError(
            _("A tag for the order requires the order “confidence”."),
            parameter="order_tag",
        )
    name = " ".join(sanitize_text(data.name).split())
    if not 0 < len(name) <= MAX_NAME:
        raise SavedSearchError(
            _("A name has 1 to %(limit)d characters, not %(length)d.")
            % {"limit": MAX_NAME, "length": len(name)},
            parameter="name",
        )
    if not is_visible(name):
        raise SavedSearchError(_("A name needs a visible character."), parameter="name")
    _require_free(name, user, saved_id)
    return {
        "name": name,
        "query": sanitize_text(data.query).strip(),
        "order": data.order,
        "order_tag": order_tag,
        "shared": data.shared,
    }


def delete(saved_id: int, *, user: AbstractBaseUser) -> bool:
    """Delete one of the owner's searches; return whether it existed. Idempotent."""
    owned = SavedSearch.objects.using(alias()).filter(pk=saved_id, owner=user.pk)
    deleted, _rows = owned.delete()
    return bool(deleted)


def visible_to(user: Any) -> QuerySet[SavedSearch]:
    """Return a user's own searches, then those shared with the user; both by name."""
    if user.pk is None:
        return SavedSearch.objects.none()
    digest = digest_of(user)
    shared = Q(shared=True)
    if digest:
        shared &= Q(scope_digest=digest)
    visible = Q(owner=user.pk) if digest == NOTHING else Q(owner=user.pk) | shared
    own_first = Case(When(owner=user.pk, then=Value(0)), default=Value(1))
    return SavedSearch.objects.filter(visible).order_by(own_first, "name", "id")


def _require_free(name: str, user: AbstractBaseUser, saved_id: int | None) -> None:
    same = SavedSearch.objects.using(alias()).filter(owner=user.pk)
    others = same if saved_id is None else same.exclude(pk=saved_id)
    looks = _looks(name)
    if any(_looks(other) == looks for other in others.values_list("name", flat=True)):
        raise SavedSearchError(
            _("You already have a saved search named “%(name)s”.") % {"name": name},
            parameter="name",
            conflict=True,
        )


def _looks(name: str) -> str:
    """Return a value that is equal for names that look the same."""
    return normalize("NFKC", without_ignorable(name))
