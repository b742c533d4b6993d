"""A host's models that hold files, as a project would write them."""

from __future__ import annotations

import uuid

from django.db import models

from filestack_tags.fields import AssetOf


class Photo(models.Model):
    """One file, stored at Filestack."""

    title = models.CharField(max_length=100, blank=True)
    file = models.FileField(upload_to="photos/", blank=True)
    asset = AssetOf("file", related_name="photos", max_size=10_000)

    def __str__(self) -> str:
        return self.title


class SignedPhoto(Photo):
    """A child model with a separate table; the file is its parent's."""

    signature = models.CharField(max_length=100)


class Pictured(models.Model):
    file = models.FileField(upload_to="pictured/")
    asset = AssetOf("file", alias="shop", archive=False, related_name="+")

    class Meta:
        abstract = True


class Product(Pictured):
    """Another primary key; Filestack reads its storage by an alias."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)

    def __str__(self) -> str:
        return str(self.id)
