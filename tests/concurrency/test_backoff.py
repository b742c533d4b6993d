"""The delay before a retry doubles, is random, and has a limit."""

from __future__ import annotations

from filestack_tags.concurrency.backoff import backoff, exponential


def test_the_longest_delay_doubles_up_to_a_limit() -> None:
    delays = [
        exponential(attempts, base=15, longest=3600) for attempts in (0, 1, 2, 3, 9, 10**6)
    ]
    assert delays == [15, 15, 30, 60, 3600, 3600]


def test_delays_are_spread_over_the_whole_range() -> None:
    delays = [backoff(3, base=15, longest=3600).total_seconds() for _ in range(500)]
    assert 0 <= min(delays) < 15
    assert 45 < max(delays) <= 60
