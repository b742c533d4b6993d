"""Public functions take an asset or its id, and a tag, its id or its name."""

from __future__ import annotations

from filestack_tags.db.text import label_key
from filestack_tags.models import Asset, Tag

from .tags import existing_ids


def asset_id_of(asset: Asset | int) -> int:
    """Return the id of an asset."""
    return asset.pk if isinstance(asset, Asset) else asset


def tag_id_of(tag: Tag | int | str) -> int:
    """Return the id of a tag.

    Raises:
        Tag.DoesNotExist: when no tag has this name or alias.
        InvalidLabel: when the name cannot be a tag.
    """
    if isinstance(tag, Tag):
        return tag.pk
    if isinstance(tag, int):
        return tag
    key = label_key(tag)
    tag_id = existing_ids([key]).get(key)
    if tag_id is None:
        raise Tag.DoesNotExist(f'There is no tag "{tag}".')
    return tag_id
