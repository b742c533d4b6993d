"""The rate limit shared by processes, in a real Redis."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from filestack_tags.tagging import rate_limit

from .reachable import REDIS
from .test_brokers import broker_url

pytestmark = pytest.mark.services


def test_processes_share_one_rate(settings: Any) -> None:
    settings.FILESTACK_TAGS = settings.FILESTACK_TAGS | {
        "RATE_LIMIT": "10/hour", "REDIS_URL": broker_url(REDIS), "API_KEY": str(uuid4()),
    }  # fmt: skip
    granted = []
    for _ in range(3):
        rate_limit._limiter.cache_clear()  # as in another process, which has no cache
        granted.append(len(rate_limit.permits(5)[0]))
    assert granted == [1, 0, 0]
