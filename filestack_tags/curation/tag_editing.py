"""Edit tags: names, aliases, minimums, hiding. Nothing is ever deleted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.utils import timezone

from filestack_tags.assets import tags
from filestack_tags.assets.lookup import tag_id_of
from filestack_tags.db.text import label_key, label_name
from filestack_tags.db.transactions import alias, atomic, locked, retry_on_deadlock
from filestack_tags.exceptions import CurationError
from filestack_tags.models import Tag, TagAlias, TagMerge

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser


@retry_on_deadlock
def rename(tag: Tag | int | str, name: str) -> Tag:
    """Rename a tag; its previous name becomes an alias, so replies still reach it.

    Raises:
        InvalidLabel: when ``name`` cannot be a tag.
        CurationError: when another tag, or an alias of another tag, has that name.
    """
    key = label_key(name)
    with atomic():
        tag = _lock(tag)
        former = tag.key
        tag.name = label_name(name)
        if key != former:
            _require_free(key, tag)
            TagAlias.objects.using(alias()).filter(key=key).delete()
            tag.key = key
        tag.save(using=alias(), update_fields=("name", "key"))
        if key != former:
            TagAlias.objects.using(alias()).create(key=former, tag=tag)
    return tag


@retry_on_deadlock
def set_minimum(tag: Tag | int | str, confidence: int | None) -> Tag:
    """Set the minimum confidence of a tag, or ``None`` for the global minimum.

    It applies when reading; nothing is deleted, and it can be changed back.

    Raises:
        CurationError: when it is not within 0–100.
    """
    if confidence is not None and not 0 <= confidence <= 100:
        raise CurationError(f"A confidence is between 0 and 100, not {confidence}.")
    with atomic():
        tag = _lock(tag)
        tag.min_confidence = confidence
        tag.save(using=alias(), update_fields=("min_confidence",))
    return tag


@retry_on_deadlock
def hide(tag: Tag | int | str, *, hidden: bool = True) -> Tag:
    """Hide a tag from pages and searches, or show it again. Nothing is deleted."""
    with atomic():
        tag = _lock(tag)
        tag.hidden = hidden
        tag.save(using=alias(), update_fields=("hidden",))
    return tag


@retry_on_deadlock
def approve(
    tag: Tag | int | str, *, user: AbstractBaseUser | None, approved: bool = True
) -> Tag:
    """Approve showing a sensitive label wherever it occurs, or withdraw that. Idempotent.

    It has an effect while the setting ``HIDE_SENSITIVE`` is on; nothing else is changed.
    """
    with atomic():
        tag = _lock(tag)
        if approved == (tag.approved_at is not None):
            return tag
        tag.approved_at = timezone.now() if approved else None
        tag.approved_by_id = user.pk if approved and user is not None else None
        tag.save(using=alias(), update_fields=("approved_at", "approved_by"))
    return tag


@retry_on_deadlock
def never_show(names: Iterable[str]) -> list[Tag]:
    """Hide labels before any reply contains them, and existing ones. Idempotent.

    Such a label becomes a hidden tag: replies are stored as usual, and :func:`hide` can undo it.

    Raises:
        InvalidLabel: when one cannot be a tag.
        CurationError: when one is an alias of a tag, which would be hidden instead.
    """
    names = list(names)
    ids = tags.resolve(names)
    with atomic():
        locked_tags = list(locked(Tag.objects.filter(pk__in=set(ids.values()))).order_by("pk"))
        keys = {tag.pk: tag.key for tag in locked_tags}
        for key, pk in ids.items():
            if keys.get(pk) != key:
                raise CurationError(
                    f"{key!r} is an alias of {keys.get(pk)!r}: hide that tag, or remove the alias."
                )
        for tag in locked_tags:
            tag.hidden = True
            tag.save(using=alias(), update_fields=("hidden",))
    return locked_tags


@retry_on_deadlock
def add_alias(tag: Tag | int | str, name: str) -> TagAlias:
    """Add an alias to a tag, for searches and later replies. Idempotent.

    Raises:
        InvalidLabel: when ``name`` cannot be a tag.
        CurationError: when a tag, or an alias of another tag, has that name.
    """
    key = label_key(name)
    with atomic():
        tag = _lock(tag)
        if key == tag.key:
            raise CurationError(f"{name!r} is the tag's own name.")
        _require_free(key, tag)
        added, _ = TagAlias.objects.using(alias()).get_or_create(key=key, defaults={"tag": tag})
    return added


@retry_on_deadlock
def remove_alias(alias_id: int) -> bool:
    """Delete an alias; return whether it existed. Tags already assigned stay.

    Raises:
        CurationError: while the tag that had this name is being merged.
    """
    with atomic():
        aliases_found = TagAlias.objects.using(alias()).filter(pk=alias_id)
        if Tag.objects.using(alias()).filter(key__in=aliases_found.values("key")).exists():
            raise CurationError("The tag of this name is being merged: wait until it is done.")
        removed, _ = aliases_found.delete()
    return bool(removed)


def _lock(tag: Tag | int | str) -> Tag:
    tag = locked(Tag.objects.filter(pk=tag_id_of(tag))).get()
    merges = TagMerge.objects.using(alias()).filter(
        source_id=tag.pk, state=TagMerge.State.MERGING
    )
    if merges.exists():
        raise CurationError(f"{tag.name!r} is being merged into another tag.")
    return tag


def _require_free(key: str, tag: Tag) -> None:
    holder = tags.existing_ids([key]).get(key)
    same_key = Tag.objects.using(alias()).filter(key=key).exclude(pk=tag.pk)
    if holder not in (None, tag.pk) or same_key.exists():
        raise CurationError(f"Another tag is called {key!r}; tags have to be merged for that.")
