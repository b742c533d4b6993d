"""When to try again: after a failed call, and to poll a job."""

from __future__ import annotations

from datetime import datetime, timedelta

from filestack_tags.concurrency.backoff import backoff
from filestack_tags.conf import get_settings
from filestack_tags.db.datetimes import to_database_time
from filestack_tags.exceptions import TaggerError
from filestack_tags.models import TaggingRun

LATEST = timedelta(days=1)
"""Filestack's own times are not trusted beyond this."""


def retry_at(attempts: int, error: TaggerError, now: datetime) -> datetime:
    """Return when to retry: never before Filestack's reset time, with jitter."""
    settings = get_settings()
    base, longest = settings.RETRY_DELAY, settings.RETRY_DELAY_MAX
    if error.retry_at is None:
        return now + backoff(attempts, base=base, longest=longest)
    resumes_at = min(max(to_database_time(error.retry_at), now), now + LATEST)
    return resumes_at + backoff(1, base=base, longest=longest)


def deadline(run: TaggingRun) -> datetime:
    """Return until when a workflow job is waited for."""
    return run.started_at + timedelta(seconds=get_settings().WORKFLOW_TIMEOUT)


def poll_at(run: TaggingRun, now: datetime) -> datetime:
    """Return when to poll a job next: after as long again as it has run, within the settings."""
    settings = get_settings()
    shortest = settings.WORKFLOW_POLL_DELAY
    longest = max(shortest, settings.RETRY_DELAY_MAX)
    delay = min(
        max(now - run.started_at, timedelta(seconds=shortest)), timedelta(seconds=longest)
    )
    return min(deadline(run), now + delay)
