"""Changes of a chaos run to the app: shorter delays, and crash points."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any

import time_machine
from django.apps import AppConfig

from . import crashing, plan

SWEEP_AFTER = timedelta(seconds=6)
"""Instead of a minute, so that many sweeps find work in a run of minutes. Not much less, because
work that waits longer in a queue is enqueued again.
"""

LONGEST_DELAY = 4
"""Seconds between two attempts of an outbound message, so that all have ended soon after."""

LEASE_SECONDS = 20
"""Instead of one or ten minutes, so that the work of crashed processes is done within the run."""

CLOCK = "CHAOS_CLOCK"
"""Environment variable: by how many seconds this process's clock is wrong."""


class ChaosConfig(AppConfig):
    name = "tests.chaos"
    label = "chaos"

    def ready(self) -> None:
        set_the_clock_wrong(float(os.environ.get(CLOCK, "0")))
        if crashing.DIRECTORY not in os.environ:
            return
        from filestack_tags.curation.bulk import batches as bulk_batches
        from filestack_tags.curation.merging import batches as merge_batches
        from filestack_tags.filestack.client import FilestackClient
        from filestack_tags.outbound import delivery
        from filestack_tags.tagging import queue

        from . import celery_app  # noqa: F401  the tasks are enqueued with this application

        queue.SWEEP_AFTER = SWEEP_AFTER
        delivery.LONGEST_DELAY = LONGEST_DELAY
        for module in (delivery, bulk_batches, merge_batches):
            module.LEASE_SECONDS = LEASE_SECONDS  # type: ignore[attr-defined]  # each has it
        FilestackClient.tags = _mortal(FilestackClient.tags)  # type: ignore[method-assign]


def set_the_clock_wrong(seconds: float) -> None:
    """Shift this process's wall clock, which keeps running; monotonic clocks are unchanged."""
    if seconds:
        now = datetime.now(UTC)
        time_machine.travel(now + timedelta(seconds=seconds), tick=True).start()


def _mortal(call: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(call)
    def tags(*args: Any, **kwargs: Any) -> Any:
        crashing.crash(plan.BEFORE_CALL)
        reply = call(*args, **kwargs)
        crashing.crash(plan.AFTER_CALL)
        return reply

    return tags
