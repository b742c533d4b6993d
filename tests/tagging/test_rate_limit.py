"""The rate limit: as many calls as allowed in any period, by all processes together."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import throttled.utils

from filestack_tags.exceptions import ConfigurationError
from filestack_tags.tagging import rate_limit


def limit(settings: Any, rate: str, url: str = "") -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "RATE_LIMIT": rate, "REDIS_URL": url, "API_KEY": f"key of {rate}",
    }  # fmt: skip


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A new limiter, and the clock of the library."""
    moment = [1000.0]
    monkeypatch.setattr(throttled.utils, "now_mono_f", lambda: moment[0])
    rate_limit._limiter.cache_clear()
    yield moment
    rate_limit._limiter.cache_clear()


def test_without_a_limit_everything_is_permitted() -> None:
    assert rate_limit.permits(1000) == ([0.0] * 1000, 0.0)


def test_calls_are_spread_over_the_period(settings: Any, now: list[float]) -> None:
    """Each call has its own slot, regardless of the size and delay of requests."""
    limit(settings, "20/second")
    made: list[float] = []
    for wanted, late in itertools.cycle([(64, 0.0), (1, 0.0), (3, 0.2), (64, 0.3)]):
        delays, wait = rate_limit.permits(wanted)
        made += [now[0] + delay for delay in delays]
        if len(made) >= 60:
            break
        now[0] += wait + late
    apart = [later - earlier for earlier, later in itertools.pairwise(made)]
    assert apart == pytest.approx([0.05] * len(apart))


def test_a_pause_leaves_nothing_to_catch_up_with(settings: Any, now: list[float]) -> None:
    limit(settings, "20/second")
    rate_limit.permits(3)
    now[0] += 60
    delays, _ = rate_limit.permits(3)
    assert delays == pytest.approx([rate_limit.NOTICE + n * 0.05 for n in range(3)])


@pytest.mark.parametrize(
    ("rate", "number", "next_look"),
    [("1/second", 1, 0.125), ("200/second", 100, 0.125), ("3000/minute", 25, 0.125)],
)
def test_moments_are_given_out_for_half_a_second(
    settings: Any, rate: str, number: int, next_look: float
) -> None:
    limit(settings, rate)
    delays, wait = rate_limit.permits(10_000)
    assert (len(delays), wait) == (number, next_look)
    assert max(delays) < rate_limit.NOTICE + rate_limit.AHEAD
    none, later = rate_limit.permits(1)
    assert (none, 0 < later <= 1) == ([], True)


@pytest.mark.parametrize("rate", ["fast", "0/second", "20", "20/fortnight", "1/s; 2/m", "-1/s"])
def test_a_rate_that_cannot_be_read_is_explained(rate: str) -> None:
    with pytest.raises(ConfigurationError, match="'20/second'"):
        rate_limit.quota(rate)


def test_while_redis_is_away_the_process_keeps_to_the_rate_alone(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    limit(settings, "10/second", "redis://:CANARY@127.0.0.1:1/0")
    assert len(rate_limit.permits(8)[0]) == 5
    assert rate_limit.permits(5)[0] == []
    assert "REDIS_URL cannot be reached" in caplog.text
    assert "CANARY" not in caplog.text
    assert caplog.records[0].levelno == logging.WARNING
