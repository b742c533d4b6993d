"""What happens here when ``filestack_tags`` says that an asset was tagged."""

from __future__ import annotations

from typing import Any

from example_project.gallery.models import Picture
from filestack_tags.models import Asset
from filestack_tags.signals import asset_tagged

ALT_TEXT_TAGS = 3


def connect() -> None:
    asset_tagged.connect(write_alt_text, dispatch_uid="gallery.write_alt_text")


def write_alt_text(*, asset: Asset, **kwargs: Any) -> None:
    """Describe a picture that nobody has described, by its most confident tags.

    Writes the same thing again when the signal comes twice.
    """
    names = [str(row.tag) for row in asset.visible_tags[:ALT_TEXT_TAGS]]
    if names:
        Picture.objects.filter(asset=asset, alt_text="").update(alt_text=", ".join(names))
