"""Peer: a tag table, a table of (picture, tag, confidence), chained filters."""

from __future__ import annotations

from .chained import Chained
from .models import NaivePicture, NaivePictureTag


def naive_fk(names: list[str]) -> Chained:
    return Chained(NaivePicture, NaivePictureTag, "picture", "items", names)
