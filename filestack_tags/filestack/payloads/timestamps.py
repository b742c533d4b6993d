"""Filestack's two formats for a time."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

# Go's RFC3339Nano: 0 to 9 fractional digits, trailing zeros trimmed.
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))",
    re.ASCII,
)


def parse_timestamp(text: object) -> datetime | None:
    """Return the RFC 3339 time in ``text`` as an aware datetime in UTC, or ``None``.

    Any number of fractional digits is accepted; anything finer than a microsecond is truncated. An
    invalid time gives ``None``, because no event should be lost because of it.
    """
    match = _RFC3339.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    day, clock, fraction, sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    try:
        local = datetime.fromisoformat(f"{day}T{clock}").replace(
            microsecond=int((fraction or "0")[:6].ljust(6, "0")),
            tzinfo=timezone(-offset if sign == "-" else offset),
        )
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def parse_unix(value: object) -> datetime | None:
    """Return unix seconds (a number, or digits as text) as an aware datetime, or ``None``."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,12}", value, re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
