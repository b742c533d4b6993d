"""Rate limit: schedule calls so that all processes together stay within ``RATE_LIMIT``.

It uses the generic cell rate algorithm: each call has a time slot, the next slot comes an interval
later, and slots that were not used during a pause are not made up for. Slots are granted some time
ahead, so that none is missed while a process handles replies. With ``REDIS_URL`` all processes on
all hosts share the rate, and the time is that of Redis.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256

from throttled import BaseStore, MemoryStore, Quota, RedisStore, Throttled
from throttled.exceptions import BaseThrottledError, StoreUnavailableError
from throttled.rate_limiter.quota_parser import parse

from filestack_tags import metrics
from filestack_tags.conf import get_settings
from filestack_tags.exceptions import ConfigurationError

logger = logging.getLogger(__name__)

AHEAD = 0.5
"""Seconds ahead for which slots are granted."""
NOTICE = 0.1
"""Seconds between the request and the first slot: leasing assets takes some time, and calls that
are all delayed by the same amount keep their intervals.
"""

REDIS_OPTIONS = {"SOCKET_TIMEOUT": 2.0, "SOCKET_CONNECT_TIMEOUT": 2.0}
"""Seconds to wait for Redis before this process limits its own rate alone."""

SHORTEST_WAIT = AHEAD / 4
LONGEST_WAIT = 1.0
"""Maximum seconds between two requests for slots: one request grants several, and other processes
may return theirs.
"""


def quota(rate: str) -> Quota:
    """Return the quota for a ``RATE_LIMIT`` such as ``20/second``.

    Raises:
        ConfigurationError: when it cannot be parsed.
    """
    try:
        (read,) = parse(rate)
    except (BaseThrottledError, ValueError) as error:
        raise ConfigurationError(
            "RATE_LIMIT must be a number of calls per second, minute, hour or day, such as "
            "'20/second' or '1000/minute'."
        ) from error
    return replace(read, burst=max(1, int(AHEAD / read.emission_interval)))


def permits(wanted: int) -> tuple[list[float], float]:
    """Return the delay of each of up to ``wanted`` calls, and when to ask for more (seconds).

    Granted calls count as made. Without ``RATE_LIMIT`` all may be made at once. While Redis cannot
    be reached, this process applies the rate alone.
    """
    settings = get_settings()
    if not settings.RATE_LIMIT or not wanted:
        return [0.0] * wanted, 0.0
    key = sha256(settings.API_KEY.encode()).hexdigest()[:16]
    if settings.REDIS_URL:
        try:
            return _take(_limiter(settings.RATE_LIMIT, settings.REDIS_URL), key, wanted)
        except StoreUnavailableError:
            metrics.count("rate_limit.unreachable")
            logger.warning("REDIS_URL cannot be reached; this process keeps RATE_LIMIT alone")
    return _take(_limiter(settings.RATE_LIMIT), key, wanted)


def _take(limiter: Throttled, key: str, wanted: int) -> tuple[list[float], float]:
    quota = limiter.limiter.quota
    interval, number = quota.emission_interval, min(wanted, quota.burst)
    result = limiter.limit(key, cost=number)
    if result.limited and result.state.remaining:
        number = result.state.remaining
        result = limiter.limit(key, cost=number)
    state = result.state
    if result.limited:
        free = state.retry_after - (number - 1) * interval
        return [], min(max(free, SHORTEST_WAIT), LONGEST_WAIT)
    # reset_after is when all granted slots are over, including those of other processes.
    first = state.reset_after - number * interval
    wait = SHORTEST_WAIT if number < wanted else 0.0
    return [NOTICE + max(first + place * interval, 0.0) for place in range(number)], wait


@lru_cache(maxsize=8)
def _limiter(rate: str, url: str = "") -> Throttled:
    """Return the limiter of a rate, shared through Redis with a URL. It has state in memory."""
    store: BaseStore = MemoryStore()
    if url:
        store = RedisStore(server=url, options=dict(REDIS_OPTIONS))
    return Throttled(
        using="gcra", quota=quota(rate), store=store, key_prefix="filestack_tags:rate"
    )
