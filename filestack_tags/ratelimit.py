"""How many calls may be made now, so that all processes together keep to ``RATE_LIMIT``.

The rate is kept by the generic cell rate algorithm: calls are spread over the time instead of
made all at the start of each second, and a pause leaves hardly any to catch up with. With
``REDIS_URL`` all processes on all hosts share the rate, by the clock of Redis.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256

from throttled import BaseStore, MemoryStore, Quota, RedisStore, Throttled
from throttled.exceptions import BaseThrottledError, StoreUnavailableError
from throttled.rate_limiter.quota_parser import parse

from . import metrics
from .conf import get_settings
from .exceptions import ConfigurationError

logger = logging.getLogger(__name__)

BURST = 50
"""One in so many of a period's calls may be made at once."""

REDIS_OPTIONS = {"SOCKET_TIMEOUT": 2.0, "SOCKET_CONNECT_TIMEOUT": 2.0}
"""Seconds to wait for Redis, before this process keeps to the rate by itself."""

SHORTEST_WAIT = 0.005
LONGEST_WAIT = 1.0
"""Seconds; the rate may be free sooner than it was said to be, when others give up."""


def quota(rate: str) -> Quota:
    """Return what a ``RATE_LIMIT`` such as ``20/second`` allows.

    Raises:
        ConfigurationError: when it cannot be read.
    """
    try:
        (read,) = parse(rate)
    except (BaseThrottledError, ValueError) as error:
        raise ConfigurationError(
            "RATE_LIMIT must be a number of calls per second, minute, hour or day, such as "
            "'20/second' or '1000/minute'."
        ) from error
    return replace(read, burst=max(1, read.get_limit() // BURST))


def permits(wanted: int) -> tuple[int, float]:
    """Return how many of ``wanted`` calls may be made now, and after how many seconds to ask again.

    Those granted count as made. Without ``RATE_LIMIT`` that is all of them. While Redis cannot
    be reached, this process keeps to the rate by itself.
    """
    settings = get_settings()
    if not settings.RATE_LIMIT or not wanted:
        return wanted, 0.0
    key = sha256(settings.API_KEY.encode()).hexdigest()[:16]
    if settings.REDIS_URL:
        try:
            return _take(_shared(settings.RATE_LIMIT, settings.REDIS_URL), key, wanted)
        except StoreUnavailableError:
            metrics.count("rate_limit.unreachable")
            logger.warning("REDIS_URL cannot be reached; this process keeps RATE_LIMIT alone")
    return _take(_alone(settings.RATE_LIMIT), key, wanted)


def _take(limiter: Throttled, key: str, wanted: int) -> tuple[int, float]:
    granted = 0
    cost = _burst(limiter)
    while granted < wanted:
        result = limiter.limit(key, cost=min(cost, wanted - granted))
        if not result.limited:
            granted += min(cost, wanted - granted)
        elif cost > 1:
            cost = 1
        else:
            wait = min(max(result.state.retry_after, SHORTEST_WAIT), LONGEST_WAIT)
            return granted, wait
    return granted, 0.0


def _burst(limiter: Throttled) -> int:
    return limiter.limiter.quota.burst


@lru_cache(maxsize=8)
def _alone(rate: str) -> Throttled:
    return _limiter(rate, MemoryStore())


@lru_cache(maxsize=8)
def _shared(rate: str, url: str) -> Throttled:
    return _limiter(rate, RedisStore(server=url, options=dict(REDIS_OPTIONS)))


def _limiter(rate: str, store: BaseStore) -> Throttled:
    return Throttled(
        using="gcra", quota=quota(rate), store=store, key_prefix="filestack_tags:rate"
    )
