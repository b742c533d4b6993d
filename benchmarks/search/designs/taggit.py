"""Peer: django-taggit with a confidence in its through table."""

from __future__ import annotations

from .chained import Chained
from .models import TaggitItem, TaggitPicture


def taggit(names: list[str]) -> Chained:
    return Chained(TaggitPicture, TaggitItem, "object_id", "items", names)
