"""The project's own data about a picture, in addition to that of ``filestack_tags``."""

from __future__ import annotations

from django.db import models

from filestack_tags.fields import AssetOf
from filestack_tags.models import Asset


class Picture(models.Model):
    """A picture of the gallery; its file and its tags belong to the asset."""

    asset = models.OneToOneField(Asset, on_delete=models.CASCADE, related_name="picture")
    title = models.CharField(max_length=200)
    alt_text = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return self.title


class Album(models.Model):
    """An album whose cover is a file of this project; one line makes it an asset with tags."""

    title = models.CharField(max_length=200)
    cover = models.ImageField(upload_to="covers/")
    cover_asset = AssetOf("cover", related_name="albums")

    class Meta:
        ordering = ("title",)

    def __str__(self) -> str:
        return self.title
