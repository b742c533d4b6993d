"""Two views to compare with: the smallest row, and the same row as the app's."""

from __future__ import annotations

import hashlib
import hmac
from uuid import uuid4

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from filestack_tags.models import WebhookDelivery

from .models import BareDelivery

EMPTY = {"Content-Length": "0"}
"""So that no server sends it in chunks."""


def is_signed(request: HttpRequest) -> bool:
    (secret,) = settings.FILESTACK_TAGS["WEBHOOK_SECRETS"]
    message = request.headers["FS-Timestamp"].encode() + b"." + request.body
    expected = hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, request.headers["FS-Signature"])


@csrf_exempt
def bare(request: HttpRequest) -> HttpResponse:
    if not is_signed(request):
        return HttpResponse(status=403)
    BareDelivery.objects.create(raw_body=request.body, received_at=timezone.now())
    return HttpResponse(status=200, headers=EMPTY)


@csrf_exempt
def same_row(request: HttpRequest) -> HttpResponse:
    """Insert into the app's table, which has seven indexes, under a key that is never taken."""
    if not is_signed(request):
        return HttpResponse(status=403)
    now = timezone.now()
    WebhookDelivery.objects.create(
        event_key=uuid4().hex,
        action="fs.workflow",
        headers={"FS-Timestamp": request.headers["FS-Timestamp"]},
        raw_body=request.body,
        received_at=now,
    )
    return HttpResponse(status=200, headers=EMPTY)
