"""The receiver of ``asset_tagged``, the signal of ``filestack_tags``."""

from __future__ import annotations

from typing import Any

from example_project.gallery.models import Picture
from filestack_tags.models import Asset
from filestack_tags.signals import asset_tagged

ALT_TEXT_TAGS = 3


def connect() -> None:
    asset_tagged.connect(write_alt_text, dispatch_uid="gallery.write_alt_text")


def write_alt_text(*, asset: Asset, **kwargs: Any) -> None:
    """Fill an empty alt text with the most confident tags.

    Idempotent, since the signal may be sent twice.
    """
    names = [str(row.tag) for row in asset.visible_tags[:ALT_TEXT_TAGS]]
    if names:
        Picture.objects.filter(asset=asset, alt_text="").update(alt_text=", ".join(names))
