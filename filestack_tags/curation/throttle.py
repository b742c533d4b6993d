"""Limits on how often users write, counted in the host's default cache.

A limit applies to a fixed window of time. Processes share it if they share the cache.
"""

from __future__ import annotations

import time
from hashlib import sha256
from typing import Any

from django.core.cache import cache

from filestack_tags.assets import tags
from filestack_tags.assets.visibility import digest_of
from filestack_tags.conf import get_settings
from filestack_tags.db.text import label_key
from filestack_tags.exceptions import LimitExceeded

MINUTE, HOUR = 60, 3600


def seconds_until_write(user: Any) -> int:
    """Count one write of a user; return the seconds until it is allowed, 0 if it is now."""
    return _take("writes", str(user.pk), get_settings().WRITES_PER_MINUTE, MINUTE)


def count_new_tag(name: str, *, user: Any) -> None:
    """Count a tag name that ``user`` is about to create; existing names are not counted.

    Raises:
        InvalidLabel: if it cannot be a tag.
        LimitExceeded: if the user, or all users with the same scope, created too many.
    """
    key = label_key(name)
    if user is None or tags.existing_ids([key]):
        return
    settings = get_settings()
    wait = _take("tags", str(user.pk), settings.NEW_TAGS_PER_HOUR, HOUR)
    if not wait and (scope := digest_of(user)):
        wait = _take("tags-of-scope", scope, settings.NEW_TAGS_PER_HOUR_IN_SCOPE, HOUR)
    if wait:
        raise LimitExceeded(wait)


def _take(kind: str, subject: str, limit: int | None, window: int) -> int:
    if limit is None:
        return 0
    number, elapsed = divmod(int(time.time()), window)
    key = f"filestack_tags.{kind}.{sha256(subject.encode()).hexdigest()}.{number}"
    cache.add(key, 0, timeout=window)
    try:
        count = cache.incr(key)
    except ValueError:  # a cache that keeps nothing
        return 0
    return window - elapsed if count > limit else 0
