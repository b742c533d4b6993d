"""Lock runs with their assets: the assets first, in the order of their ids, then the runs."""

from __future__ import annotations

from collections.abc import Collection

from filestack_tags.db.transactions import alias, locked
from filestack_tags.models import Asset, TaggingRun


def lock_run(run_id: int) -> tuple[TaggingRun, Asset]:
    """Lock the run's asset, then the run, and return both with current values.

    Raises:
        TaggingRun.DoesNotExist: when there is no such run.
    """
    assets, runs = lock_runs([run_id])
    if run_id not in runs:
        raise TaggingRun.DoesNotExist(f"There is no run {run_id}.")
    return runs[run_id], assets[runs[run_id].asset_id]


def lock_runs(run_ids: Collection[int]) -> tuple[dict[int, Asset], dict[int, TaggingRun]]:
    """Lock the runs' assets in the order of their ids, then the runs; return both by id.

    Return current values, read under the lock. Runs that do not exist are left out.
    """
    ids = sorted(run_ids)
    # A run never changes its asset. A join would lock the runs first on MariaDB.
    runs = TaggingRun.objects.using(alias()).filter(pk__in=ids)
    asset_ids = sorted(set(runs.values_list("asset_id", flat=True)))
    assets = locked(Asset.objects.filter(pk__in=asset_ids)).order_by("pk")
    assets_by_id = {asset.pk: asset for asset in assets}
    locked_runs = locked(TaggingRun.objects.filter(pk__in=ids)).order_by("pk")
    return assets_by_id, {run.pk: run for run in locked_runs}
