"""The webhook endpoint: verify, store, enqueue, answer. Nothing else happens in the request."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import partial
from io import BytesIO
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.http.request import HttpHeaders, UnreadablePostError
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from . import metrics, tasks
from .conf import get_settings
from .db.replicas import reading_primary
from .db.transactions import outside_transactions
from .exceptions import WebhookError
from .filestack.webhook_signatures import SIGNATURE_HEADER
from .webhooks import inbox
from .webhooks.inbox import KEPT_HEADERS, Receipt

logger = logging.getLogger(__name__)

CHUNK = 64 * 1024
"""Chunk size in bytes for a body that is too large to keep."""

HEADERS = {name: HttpHeaders.to_wsgi_name(name) for name in (SIGNATURE_HEADER, *KEPT_HEADERS)}
"""The headers of a delivery, and what WSGI calls them."""


# Outside ATOMIC_REQUESTS, so that the delivery is committed before it is acknowledged.
@method_decorator((outside_transactions, csrf_exempt, login_not_required), name="dispatch")
class WebhookView(View):
    """Receive Filestack's webhooks.

    Answers 200 once the delivery is stored, also for a duplicate. After any other answer Filestack
    sends the delivery again:

    * 400: malformed headers or an incomplete body.
    * 403: a wrong signature, or one that is too old.
    * 411: a body of unknown length that the server cannot read.
    * 413: a body above ``WEBHOOK_MAX_SIZE``.
    * 503: no secret is configured, or middleware consumed the body.

    The signature is the only authentication (docs: Webhooks). Override :meth:`receive` to do more
    with a delivery, or :meth:`reject` to answer errors in another way.
    """

    http_method_names = ("post",)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        headers = _headers(request)
        try:
            body = _read(request, headers)
            with reading_primary():
                receipt = self.receive(body, headers)
        except WebhookError as error:
            return self.reject(error)
        return _text("Duplicate." if receipt.duplicate else "Stored.", 200)

    def receive(self, body: bytes, headers: Mapping[str, str]) -> Receipt:
        """Verify and store a delivery, and enqueue its processing.

        Raises:
            WebhookError: when it is rejected.
        """
        return tasks.receive(body, headers)

    def reject(self, error: WebhookError) -> HttpResponseBase:
        """Count and log a rejected request, and answer with the status of its error."""
        metrics.count("webhook.refused", reason=error.reason)
        logger.warning("A webhook was rejected (%s): %s", error.reason, error)
        return _text(str(error), error.status)


def _headers(request: HttpRequest) -> dict[str, str]:
    """Return the few that matter: reading all of them takes as long as verifying the body."""
    return {name: request.META[key] for name, key in HEADERS.items() if key in request.META}


def _read(request: HttpRequest, headers: dict[str, str]) -> bytes:
    """Return the body, and keep it readable for middleware that runs afterwards.

    ``request.body`` is not used: it rejects bodies above ``DATA_UPLOAD_MAX_MEMORY_SIZE``, and is
    empty for a chunked request.
    """
    limit = get_settings().WEBHOOK_MAX_SIZE
    if hasattr(request, "_body"):  # middleware has read it
        body = request.body
        rest: Iterator[bytes] = iter(())
    elif getattr(request, "_read_started", False):
        raise WebhookError(
            "Middleware read the body as a stream before the webhook view, which cannot read it "
            "again. Exempt the webhook's address from that middleware.",
            reason="unreadable",
            status=503,
        )
    else:
        _decode_chunks(request)
        try:
            body = request.read(limit + 1)
        except UnreadablePostError:
            raise _incomplete() from None
        rest = iter(partial(request.read, CHUNK), b"")
    if len(body) > limit:
        try:
            size = inbox.record_too_large(body, rest, headers)
        except UnreadablePostError:
            raise _incomplete() from None
        raise WebhookError(
            f"The body is larger than WEBHOOK_MAX_SIZE, {limit} bytes{size}.",
            reason="too_large",
            status=413,
        )
    if len(body) < int(request.META.get("CONTENT_LENGTH") or 0):
        raise _incomplete()
    # The same attributes that HttpRequest.body sets.
    request._body = body
    request._stream = BytesIO(body)
    return body


def _decode_chunks(request: HttpRequest) -> None:
    """Read a chunked body to its end, if the server decodes it and says so.

    Django treats a request without Content-Length as empty.
    """
    environ = getattr(request, "environ", None)  # under ASGI the server has read the body
    if environ is None or "HTTP_TRANSFER_ENCODING" not in environ:
        return
    if environ.get("wsgi.input_terminated"):
        request._stream = environ["wsgi.input"]
    elif not environ.get("CONTENT_LENGTH"):
        raise WebhookError(
            "The request has no Content-Length, and this server does not decode "
            "Transfer-Encoding: chunked. Have the proxy buffer requests, or use a server that "
            "decodes them, such as gunicorn.",
            reason="length_required",
            status=411,
        )


def _incomplete() -> WebhookError:
    return WebhookError(
        "The connection closed before the whole body was received.", reason="incomplete"
    )


def _text(message: str, status: int) -> HttpResponse:
    content = f"{message}\n".encode()
    # With a Content-Length the server need not send chunks; CommonMiddleware may be missing.
    headers = {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(content)),
    }
    return HttpResponse(content, status=status, headers=headers)
