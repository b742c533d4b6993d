"""The path of an upload: from the browser, through this server, to Filestack and its tags."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from example_project.gallery.models import Picture
from filestack_tags import Facts, FilestackClient, Source, register

if TYPE_CHECKING:
    from django.core.files.uploadedfile import UploadedFile


def store(file: UploadedFile[bytes], title: str, user: AbstractBaseUser) -> Picture:
    """Store a file at Filestack, register it as an asset and tag it.

    Raises:
        FilestackError: when Filestack does not accept the file; nothing is stored then.
    """
    with FilestackClient.from_settings() as client:
        stored = client.store_bytes(
            file.read(), filename=file.name or "picture", mimetype=file.content_type or ""
        )
    facts = Facts(filename=stored.filename, mimetype=stored.mimetype, size=stored.size)
    with transaction.atomic():
        asset, _ = register(
            Source.handle(stored.handle), facts=facts, user=user, trigger="upload"
        )
        picture, _ = Picture.objects.update_or_create(
            asset=asset, defaults={"title": title or Path(stored.filename).stem}
        )
    return picture
