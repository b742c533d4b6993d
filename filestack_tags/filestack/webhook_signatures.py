"""Signatures that prove that a webhook is from Filestack. No Django."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Iterable, Mapping, Sequence

from filestack_tags.exceptions import (
    WebhookMalformed,
    WebhookNotConfigured,
    WebhookSignatureInvalid,
)

TIMESTAMP_HEADER = "FS-Timestamp"
SIGNATURE_HEADER = "FS-Signature"
CLOCK_SKEW = 300
"""Seconds for which Filestack's clock may be ahead of this machine's."""

_TIMESTAMP = re.compile(r"[0-9]{1,20}")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")


def sign_webhook(body: bytes, timestamp: str | int, secret: str) -> str:
    """Return the ``FS-Signature`` of a webhook body sent at ``timestamp`` (docs: Webhooks)."""
    message = f"{timestamp}.".encode() + body
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def verify_webhook(
    body: bytes,
    headers: Mapping[str, str],
    secrets: Sequence[str],
    *,
    tolerance: int | None = None,
    now: float | None = None,
) -> str:
    """Return the ``FS-Timestamp`` of a webhook that one of ``secrets`` signed.

    Args:
        body: the raw bytes as received; never re-serialized JSON.
        headers: looked up case-insensitively; Django's ``request.headers`` works.
        secrets: all that may have signed it; several while one is rotated. All are tried.
        tolerance: how many seconds old the timestamp may be; it may be at most :data:`CLOCK_SKEW`
            seconds in the future. ``None`` accepts any timestamp.
        now: unix seconds; the clock of this machine when ``None``.

    Raises:
        WebhookNotConfigured: there is no secret (503).
        WebhookMalformed: a header is missing or malformed, or the body is empty and its signature
            is that of another one (400).
        WebhookSignatureInvalid: no secret signed it, or it is older than ``tolerance``; its
            ``reason`` is ``"signature"`` or ``"stale"`` (403).
    """
    return verify_webhook_chunks([body], headers, secrets, tolerance=tolerance, now=now)


def verify_webhook_chunks(
    chunks: Iterable[bytes],
    headers: Mapping[str, str],
    secrets: Sequence[str],
    *,
    tolerance: int | None = None,
    now: float | None = None,
) -> str:
    """Verify a body that is read in parts and not kept; see :func:`verify_webhook`."""
    if not any(secrets):
        raise WebhookNotConfigured(
            "No webhook secret is configured: set FILESTACK_TAGS['WEBHOOK_SECRETS']."
        )
    timestamp = _header(
        headers, TIMESTAMP_HEADER, _TIMESTAMP, "unix seconds, 20 digits at most"
    )
    given = _header(headers, SIGNATURE_HEADER, _SIGNATURE, "64 lower-case hex digits")
    signatures = [
        hmac.new(secret.encode(), f"{timestamp}.".encode(), hashlib.sha256)
        for secret in secrets
        if secret
    ]
    is_empty = True
    for chunk in chunks:
        is_empty = is_empty and not chunk
        for signature in signatures:
            signature.update(chunk)
    matches = [hmac.compare_digest(signature.hexdigest(), given) for signature in signatures]
    if not any(matches):
        if is_empty:
            raise WebhookMalformed(
                "The request has no body. Check the proxies before this server.",
                reason="empty",
            )
        raise WebhookSignatureInvalid("No configured secret signed this webhook.")
    if tolerance is not None:
        age = (time.time() if now is None else now) - int(timestamp)
        if age > tolerance:
            raise WebhookSignatureInvalid(
                f"{TIMESTAMP_HEADER} is more than {tolerance} seconds old.", reason="stale"
            )
        if age < -CLOCK_SKEW:
            raise WebhookSignatureInvalid(
                f"{TIMESTAMP_HEADER} is more than {CLOCK_SKEW} seconds ahead. Check the clock "
                "of this server.",
                reason="stale",
            )
    return timestamp


def _header(
    headers: Mapping[str, str], name: str, pattern: re.Pattern[str], expected: str
) -> str:
    values = [value for key, value in headers.items() if key.lower() == name.lower()]
    if not values:
        raise WebhookMalformed(f"The {name} header is missing.")
    if len(values) > 1 or not pattern.fullmatch(values[0]):
        raise WebhookMalformed(f"The {name} header is not {expected}.")
    return values[0]
