"""Shared by all processes of a run: paths and names."""

from __future__ import annotations

import os

DATABASE = "BENCHMARK_DATABASE_URL"
REDIS = "BENCHMARK_REDIS_URL"
FILESTACK = "BENCHMARK_FILESTACK_URL"
KEY = "BENCHMARK_KEY"
"""The API key; it also prefixes every key in Redis, which others may use at the same time."""
LIMITS = "BENCHMARK_RATE_LIMIT"

APP_SECRET = "TESTSECRET0000000000000000"
SETTINGS = "benchmarks.tagging.settings"


def environment(**values: str) -> dict[str, str]:
    """Return the environment for a child process."""
    return {**os.environ, "DJANGO_SETTINGS_MODULE": SETTINGS, "PYTHONUNBUFFERED": "1", **values}
