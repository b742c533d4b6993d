"""Close abandoned runs: their process crashed, and no later run of the asset will close them.

When an asset is leased again, its earlier runs are closed. An asset that was archived, or
that got its tags another way in the meantime, is never leased again, so its runs are closed here.
A result that still arrives is applied.
"""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from filestack_tags.conf import get_settings
from filestack_tags.db.transactions import alias, atomic, retry_on_deadlock
from filestack_tags.error_codes import ErrorCode
from filestack_tags.models import Asset, TaggingRun

from . import run_locks

CLOSED = ("state", "error_code", "error", "finished_at")
"""The columns that closing a run writes."""


def close(limit: int = 1000) -> int:
    """Close runs older than their lease whose asset is not being tagged; return how many.

    A run that waits for a workflow job has until ``WORKFLOW_TIMEOUT``. Idempotent, and safe to run
    concurrently.
    """
    settings, now = get_settings(), timezone.now()
    over = Q(job_id=None, started_at__lte=now - 2 * timedelta(seconds=settings.LEASE_SECONDS))
    over |= Q(started_at__lte=now - timedelta(seconds=settings.WORKFLOW_TIMEOUT))
    runs = TaggingRun.objects.using(alias()).filter(over, state=TaggingRun.State.STARTED)
    left = runs.exclude(asset__tagging_state__in=(Asset.State.QUEUED, Asset.State.RUNNING))
    return sum(map(_close, left.order_by("-id").values_list("pk", flat=True)[:limit]))


@retry_on_deadlock
def _close(run_id: int) -> bool:
    with atomic():
        run, asset = run_locks.lock_run(run_id)
        if run.state != TaggingRun.State.STARTED or asset.tagging_state == Asset.State.RUNNING:
            return False
        run.state = TaggingRun.State.FAILED
        run.error_code = ErrorCode.ABANDONED
        run.error = ErrorCode.ABANDONED.english_meaning
        run.finished_at = timezone.now()
        run.save(using=alias(), update_fields=CLOSED)
    return True
