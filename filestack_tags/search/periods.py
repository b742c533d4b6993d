"""The periods of a search, such as ``2026-11``: their first moment, and the first one after."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.utils import timezone

from filestack_tags.db.datetimes import to_database_time

from .language.tree import Comparison

_CLOCK = re.compile(r"T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(?:\.([0-9]+))?")


def bounds_of(comparison: Comparison[str]) -> tuple[datetime | None, datetime | None]:
    """Return the first moment of the periods, and the first moment after them."""
    start, end = _bounds(comparison.value)
    match comparison.operator:
        case ">=":
            return start, None
        case ">":
            return end, None
        case "<":
            return None, start
        case "<=":
            return None, end
    return start, end if comparison.upper is None else _bounds(comparison.upper)[1]


def _bounds(period: str) -> tuple[datetime, datetime]:
    """Return the first moment of a year, a month, a day or a time, and the first one after it."""
    if "T" in period:
        return _bounds_of_time(period)
    year, month, day = (*(int(part) for part in period.split("-")), 0, 0)[:3]
    if day:
        start = datetime(year, month, day)  # noqa: DTZ001  # made aware below with USE_TZ
        end = start + timedelta(days=1)
    elif month:
        start = datetime(year, month, 1)  # noqa: DTZ001  # made aware below with USE_TZ
        end = datetime(year + month // 12, month % 12 + 1, 1)  # noqa: DTZ001  # see above
    else:
        start = datetime(year, 1, 1)  # noqa: DTZ001  # made aware below with USE_TZ
        end = datetime(year + 1, 1, 1)  # noqa: DTZ001  # made aware below with USE_TZ
    if settings.USE_TZ:
        return timezone.make_aware(start), timezone.make_aware(end)
    return start, end


def _bounds_of_time(text: str) -> tuple[datetime, datetime]:
    """Return the first moment of a minute, second or fraction, and the first one after it."""
    start = to_database_time(datetime.fromisoformat(text))
    if timezone.is_aware(start):
        start = start.astimezone(UTC)  # where no hour is skipped or repeated
    seconds, fraction = _CLOCK.findall(text)[0]
    step = timedelta(microseconds=10 ** (6 - len(fraction)))
    return start, start + (step if seconds else timedelta(minutes=1))
