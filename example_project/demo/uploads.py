"""The two kinds of upload: tagged by a workflow, or by a call after registration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from example_project.demo.visitor import Visitor
from example_project.gallery.models import Picture
from filestack_tags import FilestackClient, Source, register

PHOTOS = Path(__file__).resolve().parents[1] / "photos"
BY_WORKFLOW = "workflow"
BY_CALL = "filestack"


@dataclass(frozen=True)
class Upload:
    filename: str
    handle: str
    way: str


def photos() -> list[Path]:
    return sorted(PHOTOS.glob("*.jpg"))


def upload_with_workflow(photo: Path) -> Upload:
    """Store a photo and start a workflow that tags it; its result comes as a signed webhook."""
    with FilestackClient.from_settings() as client:
        stored = client.store_bytes(
            photo.read_bytes(), filename=photo.name, mimetype="image/jpeg"
        )
    register(Source.handle(stored.handle), trigger="upload", tagger=BY_WORKFLOW)
    return Upload(photo.name, stored.handle, BY_WORKFLOW)


def upload_by_form(visitor: Visitor, photo: Path) -> Upload:
    """Send a photo through the gallery's upload page, which registers and tags it."""
    visitor.send_file("/upload/", "file", photo.name, photo.read_bytes())
    # A persistent database also contains the photos of earlier demos.
    picture = Picture.objects.filter(asset__filename=photo.name).latest("id")
    return Upload(photo.name, picture.asset.reference, BY_CALL)
