"""The delay before a retry."""

from __future__ import annotations

from datetime import timedelta
from random import SystemRandom

_random = SystemRandom()


def exponential(attempts: int, *, base: float, longest: float) -> float:
    """Return ``base`` seconds, doubled after each attempt but the first; at most ``longest``."""
    return min(longest, base * 2.0 ** min(max(attempts - 1, 0), 30))


def backoff(attempts: int, *, base: float, longest: float) -> timedelta:
    """Return the delay after this many attempts: exponential, with equal jitter.

    Half of :func:`exponential` is fixed, so that nothing is retried at once. The other half is
    random, so that what failed at the same moment is not retried at the same moment.
    """
    seconds = exponential(attempts, base=base, longest=longest)
    return timedelta(seconds=_random.uniform(seconds / 2, seconds))
