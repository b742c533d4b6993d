"""Standing: where runs and their assets stand, read under locks and written back.

Of any number of runs at once, and only the columns that closing a run is about.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter

from django.db import connections

from .models import Asset, TaggingRun
from .rowsets import Condition, among, read, update
from .transactions import alias


@dataclass(slots=True)
class AssetStanding:
    """What closing a run reads of its asset, and writes of it: all from ``tagging_state`` on.

    ``changed_at`` is written without having been read.
    """

    id: int
    content_version: int
    deleted_at: datetime | None
    tagging_state: str
    due_at: datetime | None
    attempts: int
    last_error: str
    error_code: str
    current_run_id: int | None
    tags_version: int
    tags_at: datetime | None
    changed_at: datetime | None = None


@dataclass(slots=True)
class RunStanding:
    """What closing a run reads of it, and writes of it: all from ``state`` on."""

    id: int
    asset_id: int
    content_version: int
    trigger: str
    state: str
    error_code: str
    error_text: str = ""
    notes: str = ""
    rule_results: dict[str, bool] = field(default_factory=dict)
    raw_reply: str = ""
    http_status: int | None = None
    version: int | None = None
    result_at: datetime | None = None
    finished_at: datetime | None = None


ASSET_FIELDS = tuple(AssetStanding.__dataclass_fields__)
ASSET_READ = ASSET_FIELDS[: ASSET_FIELDS.index("changed_at")]
ASSET_WRITTEN = ASSET_FIELDS[ASSET_FIELDS.index("tagging_state") :]
RUN_READ = ("id", "asset_id", "content_version", "trigger", "state", "error_code")
RUN_WRITTEN = tuple(RunStanding.__dataclass_fields__)[RUN_READ.index("state") :]


def lock(run_ids: Collection[int]) -> tuple[dict[int, AssetStanding], dict[int, RunStanding]]:
    """Lock the runs' assets in the order of their ids, then the runs; return both by id.

    They are as they are now, whatever was read before. Runs that do not exist are left out.
    """
    these = among("id", sorted(run_ids))
    assets = [
        AssetStanding(*row)
        for row in read(Asset, ASSET_READ, _of(these, single=len(run_ids) == 1), lock=True)
    ]
    runs = [RunStanding(*row) for row in read(TaggingRun, RUN_READ, these, lock=True)]
    return {asset.id: asset for asset in assets}, {run.id: run for run in runs}


def _of(runs: Condition, *, single: bool) -> Condition:
    """Return the condition that an asset is one of the runs'; it locks none of the runs."""
    connection = connections[alias()]
    if connection.vendor == "mysql" and not single:
        # MariaDB would make a join of the subquery, and lock in the order of the runs.
        ids = {asset_id for (asset_id,) in read(TaggingRun, ("asset",), runs)}
        return among("id", sorted(ids))
    condition, parameters = runs
    table = connection.ops.quote_name(TaggingRun._meta.db_table)
    operator = "=" if single else "IN"
    return f"id {operator} (SELECT asset_id FROM {table} WHERE {condition})", parameters  # noqa: S608  no value is in it


def write_runs(runs: Iterable[RunStanding]) -> None:
    """Write what closing them changed; they are to be locked."""
    values = attrgetter("id", *RUN_WRITTEN)
    update(TaggingRun, RUN_WRITTEN, [values(run) for run in runs])


def write_assets(assets: Iterable[AssetStanding]) -> None:
    """Write what closing their runs changed; they are to be locked."""
    values = attrgetter("id", *ASSET_WRITTEN)
    update(Asset, ASSET_WRITTEN, [values(asset) for asset in assets])


def started(asset_ids: Collection[int]) -> set[int]:
    """Return which of the assets have a run that is at work."""
    rows = TaggingRun.objects.using(alias()).filter(
        asset__in=asset_ids, state=TaggingRun.State.STARTED
    )
    return set(rows.values_list("asset_id", flat=True))
