"""Rows to show, created by the package's own services."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from django.db import transaction

from filestack_tags import curation
from filestack_tags.assets import registry
from filestack_tags.assets.tags import resolve
from filestack_tags.filestack.client import FilestackClient
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, TagDecision
from tests.api.rows import tagged

from .site import Database

PHOTOS = Path(__file__).resolve().parents[2] / "example_project" / "photos"


class Seed:
    """Creates assets. ``seed.database(function, …)`` reads and writes everything else."""

    def __init__(self, database: Database, handles: dict[str, str]) -> None:
        self.database = database
        self._handles = handles

    def photo(
        self,
        name: str,
        auto: Mapping[str, int] | None = None,
        user: Mapping[str, int] | None = None,
    ) -> Asset:
        """Return the asset of a photo in ``example_project/photos``, which Filestack has."""
        if name not in self._handles:
            with FilestackClient.from_settings() as client:
                content = (PHOTOS / f"{name}.jpg").read_bytes()
                stored = client.store_bytes(
                    content, filename=f"{name}.jpg", mimetype="image/jpeg"
                )
            self._handles[name] = stored.handle
        return self.asset(self._handles[name], auto, user, filename=f"{name}.jpg")

    def asset(
        self,
        reference: str,
        auto: Mapping[str, int] | None = None,
        user: Mapping[str, int] | None = None,
        *,
        filename: str = "",
        mimetype: str = "image/jpeg",
    ) -> Asset:
        """Return an asset with these tags and confidences; without tags it was never tagged.

        Filestack does not know a handle that does not come from :meth:`photo`.
        """
        return self.database(
            tagged, reference, auto, user, filename=filename, mimetype=mimetype
        )

    def papers(self, count: int, *tags: str) -> None:
        """Create this many assets without a picture, with these tags added by hand."""
        self.database(_papers, count, tags)


def _papers(count: int, tags: tuple[str, ...]) -> None:
    with transaction.atomic():
        made = [
            registry.register(
                Source.handle(reference),
                facts=registry.Facts(filename=f"{reference}.pdf", mimetype="application/pdf"),
            )[0]
            for reference in (f"paper{number:05d}" for number in range(count))
        ]
    for tag_id in resolve(tags).values():
        pairs = [(asset.pk, tag_id) for asset in made]
        curation.decide_many(TagDecision.Act.ADD, pairs, user=None)
