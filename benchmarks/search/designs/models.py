"""Tables of the peer designs, declared as a project would declare them."""

from __future__ import annotations

from django.contrib.contenttypes.fields import GenericRelation
from django.contrib.postgres.indexes import GinIndex
from django.db import connection, models
from taggit.managers import TaggableManager
from taggit.models import GenericTaggedItemBase, TagBase


class Picture(models.Model):
    """The columns that every peer has for a file."""

    filename = models.CharField(max_length=255)
    mimetype = models.CharField(max_length=255)
    size = models.BigIntegerField()
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    uploaded_at = models.DateTimeField()

    class Meta:
        abstract = True


class JsonPicture(Picture):
    """Tags in one JSON object, ``{"sky": 90}``, with PostgreSQL's index for it."""

    tags = models.JSONField(default=dict)

    class Meta:
        required_db_vendor = "postgresql"
        indexes = [GinIndex(fields=["tags"], name="peer_json_tags")]


class NaivePicture(Picture):
    """Tags by foreign keys, the usual first design."""


class NaiveTag(models.Model):
    name = models.CharField(max_length=200, unique=True)


class NaivePictureTag(models.Model):
    picture = models.ForeignKey(NaivePicture, models.CASCADE, related_name="items")
    tag = models.ForeignKey(NaiveTag, models.CASCADE)
    confidence = models.PositiveSmallIntegerField()


class TaggitTag(TagBase):
    """django-taggit's tag; a slug is unique and is the name here."""


class TaggitItem(GenericTaggedItemBase):
    """django-taggit's generic relation, with a confidence."""

    tag = models.ForeignKey(TaggitTag, models.CASCADE, related_name="items")
    confidence = models.PositiveSmallIntegerField()

    class Meta:
        indexes = [
            models.Index(fields=["content_type", "object_id"], name="peer_taggit_object")
        ]


class TaggitPicture(Picture):
    tags = TaggableManager(through=TaggitItem)
    items = GenericRelation(TaggitItem, related_query_name="picture")


def peers() -> tuple[type[models.Model], ...]:
    """Return the models whose tables exist on this database."""
    every = (NaivePicture, NaiveTag, NaivePictureTag, TaggitPicture, TaggitTag, TaggitItem)
    return (*every, JsonPicture) if connection.vendor == "postgresql" else every
