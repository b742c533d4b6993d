"""Signed, short-lived links to small pictures of assets: for pages, never logs or the API."""

from __future__ import annotations

from .conf import get_settings
from .filestack.security import Security
from .filestack.sources import Source
from .models import Asset

EXPIRY = 3600
"""Seconds a link works at least: while a page is looked at, not as long as it may be kept."""

SAME_FOR = 900
"""Seconds in which a picture keeps its link, so that a browser need not fetch it again."""


def thumbnail_url(asset: Asset, *, height: int = 160) -> str | None:
    """Return a link to the asset's picture, ``height`` pixels high, or ``None``.

    There is none for forgotten assets, for files that are known not to be images, and while
    ``APP_SECRET``, or for URLs and alias paths ``API_KEY``, is not set. The link is a
    ``resize`` task with a policy of its own (docs: Processing API).
    """
    settings = get_settings()
    source = Source.of(asset.kind, asset.reference)
    if asset.deleted_at or not (asset.mimetype or "image/").startswith("image/"):
        return None
    if not settings.APP_SECRET or (source.needs_api_key and not settings.API_KEY):
        return None
    signed = Security(settings.APP_SECRET).policy_for(
        ("read", "convert"),
        handle=source.reference if source.kind == "handle" else None,
        expires_in=EXPIRY,
        rounded_to=SAME_FOR,
    )
    segments = (
        settings.CDN_URL.rstrip("/"),
        *((settings.API_KEY,) if source.needs_api_key else ()),
        f"security=p:{signed.policy},s:{signed.signature}",
        f"resize=h:{height}",
        source.path,
    )
    return "/".join(segments)
