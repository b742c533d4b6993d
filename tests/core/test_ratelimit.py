"""The rate: as many calls as are allowed in any period, by all processes together."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import throttled.utils

from filestack_tags import ratelimit
from filestack_tags.exceptions import ConfigurationError


def limit(settings: Any, rate: str, url: str = "") -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "RATE_LIMIT": rate, "REDIS_URL": url, "API_KEY": f"key of {rate}",
    }  # fmt: skip


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A new limiter, and the clock of the library."""
    moment = [1000.0]
    monkeypatch.setattr(throttled.utils, "now_mono_f", lambda: moment[0])
    ratelimit._alone.cache_clear()
    yield moment
    ratelimit._alone.cache_clear()


def test_without_a_limit_everything_is_permitted() -> None:
    assert ratelimit.permits(1000) == (1000, 0.0)


def test_calls_are_spread_over_the_period(settings: Any, now: list[float]) -> None:
    limit(settings, "20/second")
    granted = []
    for _ in range(40):
        number, wait = ratelimit.permits(64)
        granted.append(number)
        assert 0 < wait <= 0.05
        now[0] += wait
    assert sum(granted) == 40
    assert now[0] == pytest.approx(1002.0)


@pytest.mark.parametrize(
    ("rate", "burst"), [("10/second", 1), ("200/second", 4), ("3000/minute", 60)]
)
def test_a_fiftieth_of_the_period_may_be_made_at_once(
    settings: Any, rate: str, burst: int
) -> None:
    limit(settings, rate)
    assert ratelimit.permits(10_000)[0] == burst
    assert ratelimit.permits(1)[0] == 0


@pytest.mark.parametrize("rate", ["fast", "0/second", "20", "20/fortnight", "1/s; 2/m", "-1/s"])
def test_a_rate_that_cannot_be_read_is_explained(rate: str) -> None:
    with pytest.raises(ConfigurationError, match="'20/second'"):
        ratelimit.quota(rate)


def test_while_redis_is_away_the_process_keeps_to_the_rate_alone(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    limit(settings, "10/second", "redis://:CANARY@127.0.0.1:1/0")
    assert ratelimit.permits(5)[0] == 1
    assert ratelimit.permits(5)[0] == 0
    assert "REDIS_URL cannot be reached" in caplog.text
    assert "CANARY" not in caplog.text
    assert caplog.records[0].levelno == logging.WARNING
