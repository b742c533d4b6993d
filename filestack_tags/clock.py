"""Moments as the host keeps them: aware with ``USE_TZ``, otherwise naive in its time zone."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.utils import timezone


def kept(moment: datetime) -> datetime:
    """Return ``moment`` in the form that the host's database columns hold.

    What Filestack says is aware; without ``USE_TZ`` it can be neither stored nor compared with
    what is stored.
    """
    if settings.USE_TZ:
        return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
    if timezone.is_aware(moment):
        return timezone.make_naive(moment, timezone.get_default_timezone())
    return moment
