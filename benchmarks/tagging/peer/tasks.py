"""A task for each picture: one blocking call with filestack-python, one row after the other."""

from __future__ import annotations

import os
import time

import filestack
from celery import shared_task
from django.utils import timezone
from filestack import Filelink, Security

from benchmarks.tagging.surroundings import APP_SECRET, FILESTACK

from .models import Picture, PictureTag, Tag

type(filestack.config).CDN_URL = os.environ.get(FILESTACK, "")


@shared_task
def tag_picture(picture_id: int) -> None:
    picture = Picture.objects.get(pk=picture_id)
    policy = {"call": ["read", "convert"], "expiry": int(time.time()) + 300}
    reply = Filelink(picture.handle).tags(security=Security(policy, APP_SECRET))
    for name, confidence in reply["tags"]["auto"].items():
        tag, _ = Tag.objects.get_or_create(name=name)
        PictureTag.objects.get_or_create(
            picture=picture, tag=tag, defaults={"confidence": confidence}
        )
    picture.tagged_at = timezone.now()
    picture.save(update_fields=["tagged_at"])
