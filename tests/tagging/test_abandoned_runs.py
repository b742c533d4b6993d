"""Runs whose process crashed, and whose asset has moved on, are closed in the end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from filestack_tags import tasks
from filestack_tags.assets import registry
from filestack_tags.conf import get_settings
from filestack_tags.models import Asset, TaggingRun
from filestack_tags.tagging import abandoned_runs, asset_leases, queue, results
from tests import scripted

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(asset: Asset, script: Any) -> TaggingRun:
    """A run that was started three leases ago, by a process that crashed."""
    queue.request([asset.pk])
    asset_leases.acquire([asset.pk])
    started_at = timezone.now() - 3 * timedelta(seconds=get_settings().LEASE_SECONDS)
    TaggingRun.objects.update(started_at=started_at)
    return TaggingRun.objects.get()


def state_of(run: TaggingRun) -> str:
    run.refresh_from_db()
    return run.state


def test_the_sweep_closes_the_run_of_a_file_that_was_deleted(
    asset: Asset, run: TaggingRun
) -> None:
    registry.archive(asset.pk)
    tasks.sweep()
    assert state_of(run) == TaggingRun.State.FAILED
    assert "worker stopped" in run.error
    assert abandoned_runs.close() == 0


def test_its_result_is_used_should_it_still_come(
    asset: Asset, run: TaggingRun, tags_of: Any
) -> None:
    registry.archive(asset.pk)
    assert abandoned_runs.close() == 1
    results.apply(run.pk, scripted.reply({"sky": 90}), result_at=timezone.now())
    assert state_of(run) == TaggingRun.State.SUCCEEDED
    assert tags_of(asset) == {"sky": 90}


def test_a_run_at_work_is_left_alone(asset: Asset, run: TaggingRun) -> None:
    assert abandoned_runs.close() == 0
    assert state_of(run) == TaggingRun.State.STARTED


def test_a_young_run_may_still_come_back(asset: Asset, run: TaggingRun) -> None:
    TaggingRun.objects.update(started_at=timezone.now())
    registry.archive(asset.pk)
    assert abandoned_runs.close() == 0


def test_a_run_that_waits_for_its_job_has_until_the_deadline(
    asset: Asset, run: TaggingRun
) -> None:
    TaggingRun.objects.update(job_id="job-1")
    registry.archive(asset.pk)
    assert abandoned_runs.close() == 0
    deadline = timedelta(seconds=get_settings().WORKFLOW_TIMEOUT)
    TaggingRun.objects.update(started_at=timezone.now() - deadline)
    assert abandoned_runs.close() == 1
