"""Abandoned: runs that nobody will close, since their process died and their asset went on.

An asset that is claimed again closes the runs before it. One that was forgotten, or got its tags by
another way meanwhile, is never claimed: its runs are closed here. Should a result still come, it is
used.
"""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from . import results
from .conf import get_settings
from .models import Asset, TaggingRun
from .transactions import alias, atomic, retrying

CLOSED = ("state", "error_code", "error_text", "finished_at")
"""What closing writes of a run."""


def close(limit: int = 1000) -> int:
    """Close runs older than their lease whose asset nobody is tagging; return how many.

    One that waits for a workflow job has until ``WORKFLOW_DEADLINE``. Idempotent, also when two
    do it at once.
    """
    settings, now = get_settings(), timezone.now()
    over = Q(job_id=None, started_at__lte=now - 2 * timedelta(seconds=settings.LEASE))
    over |= Q(started_at__lte=now - timedelta(seconds=settings.WORKFLOW_DEADLINE))
    runs = TaggingRun.objects.using(alias()).filter(over, state=TaggingRun.State.STARTED)
    left = runs.exclude(asset__tagging_state__in=(Asset.State.QUEUED, Asset.State.RUNNING))
    return sum(map(_close, left.order_by("-id").values_list("pk", flat=True)[:limit]))


@retrying
def _close(run_id: int) -> bool:
    with atomic():
        run, asset = results.lock_run(run_id)
        if run.state != TaggingRun.State.STARTED or asset.tagging_state == Asset.State.RUNNING:
            return False
        run.state = TaggingRun.State.FAILED
        run.error_code = results.ABANDONED
        run.error_text = "The process that ran it did not come back."
        run.finished_at = timezone.now()
        run.save(using=alias(), update_fields=CLOSED)
    return True
