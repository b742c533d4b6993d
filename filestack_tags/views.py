"""The webhook endpoint: verify, store, enqueue, answer. Nothing else happens in the request."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.http.request import HttpHeaders
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from . import metrics, tasks
from .conf import get_settings
from .exceptions import WebhookError
from .filestack.security import SIGNATURE_HEADER
from .ingest import KEPT_HEADERS
from .transactions import outside_transactions

HEADERS = {name: HttpHeaders.to_wsgi_name(name) for name in (SIGNATURE_HEADER, *KEPT_HEADERS)}
"""The headers of a delivery, and what WSGI calls them."""


# Outside ATOMIC_REQUESTS, so that the delivery is committed before it is acknowledged.
@outside_transactions
@csrf_exempt
@login_not_required
@require_POST
def webhook(request: HttpRequest) -> HttpResponse:
    """Receive a Filestack webhook.

    Answers 200 once the delivery is stored, and for one that was stored before. Everything
    else makes Filestack ask again: 400 for malformed headers, 403 for a wrong signature, 413
    for a body above ``WEBHOOK_MAX_BODY``, 503 while no secret is configured. The signature is
    the only authentication (docs: Webhooks).
    """
    try:
        body = _read(request)
        receipt = tasks.receive(body, _headers(request))
    except WebhookError as error:
        metrics.count("webhook.refused", reason=error.reason)
        return _text(str(error), error.status)
    return _text("Known already." if receipt.duplicate else "Stored.", 200)


def _headers(request: HttpRequest) -> dict[str, str]:
    """Return the few that matter: to read all of them takes as long as to verify the body."""
    return {name: request.META[key] for name, key in HEADERS.items() if key in request.META}


def _read(request: HttpRequest) -> bytes:
    limit = get_settings().WEBHOOK_MAX_BODY
    body = request.read(limit + 1)
    if len(body) > limit:
        raise WebhookError(
            f"The body is larger than {limit} bytes.", reason="too_large", status=413
        )
    return body


def _text(message: str, status: int) -> HttpResponse:
    content = f"{message}\n".encode()
    # With its length, servers need not send it in chunks; CommonMiddleware may not be there.
    headers = {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(content)),
    }
    return HttpResponse(content, status=status, headers=headers)
