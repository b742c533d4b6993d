from __future__ import annotations

from django.db import models


class BareDelivery(models.Model):
    """The body and its time; no key, so that only the insert is measured."""

    raw_body = models.BinaryField()
    received_at = models.DateTimeField()
