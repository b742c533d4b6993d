"""The delay before a retry doubles up to a limit; half of it is random."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from filestack_tags.concurrency.backoff import backoff, exponential

ATTEMPTS = st.sampled_from((0, 1, 2, 10**6)) | st.integers(0, 40)
SECONDS = st.floats(0.01, 10**6)


def test_delays_double_up_to_the_longest() -> None:
    delays = [
        exponential(attempts, base=15, longest=3600) for attempts in (0, 1, 2, 3, 9, 10**6)
    ]
    assert delays == [15, 15, 30, 60, 3600, 3600]


@given(attempts=ATTEMPTS, base=SECONDS, longest=SECONDS)
def test_a_delay_is_at_least_half_of_the_bound_and_never_above_it(
    attempts: int, base: float, longest: float
) -> None:
    bound = exponential(attempts, base=base, longest=longest)
    assert bound <= exponential(attempts + 1, base=base, longest=longest) <= longest
    delay = backoff(attempts, base=base, longest=longest).total_seconds()
    assert bound / 2 - 1e-6 <= delay <= bound + 1e-6  # a timedelta has whole microseconds


def test_delays_are_spread_over_the_upper_half() -> None:
    delays = [backoff(3, base=15, longest=3600).total_seconds() for _ in range(500)]
    assert 30 <= min(delays) < 35
    assert 55 < max(delays) <= 60
