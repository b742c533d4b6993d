"""The delay before a retry."""

from __future__ import annotations

from datetime import timedelta
from random import SystemRandom

_random = SystemRandom()


def exponential(attempts: int, *, base: float, longest: float) -> float:
    """Return ``base`` seconds, doubled after each attempt but the first; at most ``longest``."""
    return min(longest, base * 2.0 ** min(max(attempts - 1, 0), 30))


def backoff(attempts: int, *, base: float, longest: float) -> timedelta:
    """Return the delay after this many attempts: exponential, with full jitter.

    The delay is random between zero and :func:`exponential`, so that everything that failed at the
    same moment does not return at the same moment.
    """
    return timedelta(
        seconds=_random.uniform(0, exponential(attempts, base=base, longest=longest))
    )
