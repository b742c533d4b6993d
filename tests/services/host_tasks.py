"""The host's own task, in addition to those of the app."""

from __future__ import annotations

import os

from celery import shared_task
from django.contrib.auth.models import Group


@shared_task(name="host.write_row", ignore_result=True)
def write_row(name: str) -> None:
    Group.objects.create(name=f"{name} {os.getpid()}")
