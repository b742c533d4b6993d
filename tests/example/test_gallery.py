"""The gallery: upload, search, and its receiver for tagged assets."""

from __future__ import annotations

import html
import re

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from example_project.gallery.forms import MAX_UPLOAD
from example_project.gallery.listeners import write_alt_text
from example_project.gallery.models import Picture
from filestack_tags import curation
from filestack_tags.assets.registry import register
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, Tag
from filestack_tags.testing import EmulatorServer

from .conftest import PHOTOS

INLINE = re.compile(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", re.IGNORECASE)


def photo(name: str = "cat.jpg") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, (PHOTOS / name).read_bytes(), "image/jpeg")


def test_an_uploaded_photo_is_stored_tagged_described_and_found(
    admin_client: Client,
    admin_user: User,
    filestack: EmulatorServer,
    transactional_db: None,
) -> None:
    response = admin_client.post("/upload/", {"file": photo(), "title": "Chelsea"}, follow=True)
    assert "“Chelsea” is stored" in response.content.decode()
    picture = Picture.objects.get()
    assert picture.asset.uploader == admin_user
    assert picture.asset.tagging_state == Asset.State.TAGGED
    assert "animal" in picture.alt_text
    found = admin_client.get("/", {"q": "cat>=80"}).content.decode()
    assert "1 picture for" in found
    assert "Chelsea" in found
    assert "security=" not in found
    shown = admin_client.get(f"/pictures/{picture.asset_id}/")
    assert (shown.status_code, shown["Content-Type"]) == (200, "image/jpeg")
    assert "Chelsea" not in admin_client.get("/", {"q": "-cat"}).content.decode()


def test_a_title_is_taken_from_the_file_name_if_none_is_given(
    admin_client: Client, filestack: EmulatorServer, transactional_db: None
) -> None:
    admin_client.post("/upload/", {"file": photo()})
    assert Picture.objects.get().title == "cat"


def test_only_people_who_are_logged_in_upload(client: Client, db: None) -> None:
    response = client.get("/upload/")
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (SimpleUploadedFile("notes.txt", b"words", "text/plain"), "not a picture"),
        (SimpleUploadedFile("big.jpg", b"0" * (MAX_UPLOAD + 1), "image/jpeg"), "At most 20 MB"),
    ],
    ids=["text", "too-large"],
)
def test_a_file_that_cannot_be_taken_is_refused_with_a_reason(
    admin_client: Client, file: SimpleUploadedFile, message: str
) -> None:
    file.seek(0)
    response = admin_client.post("/upload/", {"file": file})
    assert message in response.content.decode()
    assert not Asset.objects.exists()


def test_an_upload_that_filestack_does_not_take_says_so_and_keeps_nothing(
    admin_client: Client, filestack: EmulatorServer, db: None
) -> None:
    filestack.stop()
    response = admin_client.post("/upload/", {"file": photo()})
    assert "Filestack did not take the file" in response.content.decode()
    assert not Asset.objects.exists()
    filestack.start()


def test_an_empty_gallery_offers_an_upload(client: Client, db: None) -> None:
    assert "No pictures yet" in client.get("/").content.decode()


def test_a_search_without_answer_says_so(client: Client, db: None) -> None:
    page = client.get("/", {"q": "unicorn"}).content.decode()
    assert "Nothing matches" in page
    assert "<code>unicorn</code>" in page


def test_a_search_that_cannot_be_read_shows_where_and_what_was_meant(
    client: Client, db: None
) -> None:
    response = client.get("/", {"q": "sky=>80"})
    page = response.content.decode()
    assert response.status_code == 400
    assert 'role="alert"' in page
    assert re.search(r"\n +\^", page)
    assert "sky&gt;=80" in page


def test_an_asset_that_this_project_did_not_upload_is_shown_too(
    client: Client, db: None
) -> None:
    register(Source.handle("elsewhere"))
    page = client.get("/").content.decode()
    assert "<h2>elsewhere</h2>" in page
    assert "never tagged" in page


def test_alt_text_written_by_a_person_stays(db: None) -> None:
    asset, _ = register(Source.handle("HANDLE"))
    curation.add(asset.pk, "cat", user=None)
    picture = Picture.objects.create(asset=asset, title="Chelsea", alt_text="My cat")
    write_alt_text(asset=asset)
    picture.refresh_from_db()
    assert picture.alt_text == "My cat"


def test_alt_text_names_visible_tags_only(db: None) -> None:
    asset, _ = register(Source.handle("HANDLE"))
    for name in ("cat", "secret"):
        curation.add(asset.pk, name, user=None)
    curation.hide(Tag.objects.get(key="secret").pk)
    picture = Picture.objects.create(asset=asset, title="Chelsea")
    write_alt_text(asset=asset)
    picture.refresh_from_db()
    assert picture.alt_text == "cat"


@pytest.mark.parametrize(
    "path",
    ["/", "/?q=sky", "/?q=sky%3D%3E80", "/upload/", "/admin/", "/admin/filestack_tags/asset/"],
)
def test_every_page_works_under_its_content_security_policy(
    admin_client: Client, path: str
) -> None:
    response = admin_client.get(path)
    assert "default-src 'self'" in response["Content-Security-Policy"]
    assert "unsafe" not in response["Content-Security-Policy"]
    assert not INLINE.search(response.content.decode())


@pytest.mark.usefixtures("filestack")
def test_the_hosts_relation_does_not_take_the_place_of_an_admin_column(
    admin_client: Client,
) -> None:
    """``Picture.asset`` gives every asset a field ``picture``, the name of the admin's column."""
    asset, _ = register(Source.handle("abc"))
    Picture.objects.create(asset=asset, title="A title of the host's own")
    shown = admin_client.get("/admin/filestack_tags/asset/").content.decode()
    assert "A title of the host's own" not in html.unescape(shown)
    assert 'class="field-picture"' in shown
    assert f"/asset/{asset.pk}/thumbnail/?height=" in shown
