"""One line of its model has an album's cover tagged, and the tags find the album."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from example_project.gallery.models import Album
from filestack_tags.testing import EmulatorServer

from .conftest import PHOTOS

LIST = "/admin/gallery/album/"


def test_an_album_is_found_by_what_its_cover_shows(
    admin_client: Client,
    filestack: EmulatorServer,
    settings: Any,
    tmp_path: Path,
    transactional_db: None,
) -> None:
    settings.MEDIA_ROOT = tmp_path
    cover = SimpleUploadedFile("cat.jpg", (PHOTOS / "cat.jpg").read_bytes(), "image/jpeg")
    admin_client.post(f"{LIST}add/", {"title": "Chelsea's", "cover": cover})
    album = Album.objects.get()
    assert album.cover_asset is not None
    link = f'href="/admin/filestack_tags/asset/{album.cover_asset.pk}/change/"'
    assert link in admin_client.get(f"{LIST}{album.pk}/change/").content.decode()
    assert "1 album" in admin_client.get(LIST, {"q": "cat>=80"}).content.decode()
    assert "0 albums" in admin_client.get(LIST, {"q": "-cat"}).content.decode()
    wrong = admin_client.get(LIST, {"q": "(cat"}, follow=True).content.decode()
    assert "errorlist" in wrong or "error" in wrong
    assert "0 albums" in wrong
