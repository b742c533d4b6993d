"""Tables of the usual first design."""

from __future__ import annotations

from django.db import models


class Picture(models.Model):
    handle = models.CharField(max_length=64, unique=True)
    tagged_at = models.DateTimeField(null=True, db_index=True)


class Tag(models.Model):
    name = models.CharField(max_length=200, unique=True)


class PictureTag(models.Model):
    picture = models.ForeignKey(Picture, models.CASCADE, related_name="items")
    tag = models.ForeignKey(Tag, models.CASCADE)
    confidence = models.PositiveSmallIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["picture", "tag"], name="peer_picture_tag")
        ]
