from __future__ import annotations

from django.db import models


class BareDelivery(models.Model):
    """The body and when it came; no key, so that nothing but the insert is paid for."""

    raw_body = models.BinaryField()
    received_at = models.DateTimeField()
