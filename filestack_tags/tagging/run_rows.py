"""Read runs and their assets under locks, and write them back.

Handles many runs at once, and only the columns that are needed to close a run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter

from django.db import connections

from filestack_tags.db.rowsets import Condition, among, read, update
from filestack_tags.db.transactions import alias
from filestack_tags.models import Asset, TaggingRun


@dataclass(slots=True)
class AssetStanding:
    """The columns of an asset that closing a run reads; it writes those from ``tagging_state`` on.

    ``changed_at`` is written without being read.
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
    """The columns of a run that closing it reads; it writes those from ``state`` on."""

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

    Return current values, read under the lock. Runs that do not exist are left out.
    """
    these = among("id", sorted(run_ids))
    assets = [
        AssetStanding(*row)
        for row in read(Asset, ASSET_READ, _of(these, single=len(run_ids) == 1), lock=True)
    ]
    runs = [RunStanding(*row) for row in read(TaggingRun, RUN_READ, these, lock=True)]
    return {asset.id: asset for asset in assets}, {run.id: run for run in runs}


def _of(runs: Condition, *, single: bool) -> Condition:
    """Return the condition that an asset belongs to one of the runs; it does not lock the runs."""
    connection = connections[alias()]
    if connection.vendor == "mysql" and not single:
        # MariaDB would turn the subquery into a join, and lock in the order of the runs.
        ids = {asset_id for (asset_id,) in read(TaggingRun, ("asset",), runs)}
        return among("id", sorted(ids))
    condition, parameters = runs
    table = connection.ops.quote_name(TaggingRun._meta.db_table)
    operator = "=" if single else "IN"
    return f"id {operator} (SELECT asset_id FROM {table} WHERE {condition})", parameters  # noqa: S608  contains no values


def write_runs(runs: Iterable[RunStanding]) -> None:
    """Save closed runs; they must be locked."""
    values = attrgetter("id", *RUN_WRITTEN)
    update(TaggingRun, RUN_WRITTEN, [values(run) for run in runs])


def write_assets(assets: Iterable[AssetStanding]) -> None:
    """Save the assets of closed runs; they must be locked."""
    values = attrgetter("id", *ASSET_WRITTEN)
    update(Asset, ASSET_WRITTEN, [values(asset) for asset in assets])


def started(asset_ids: Collection[int]) -> set[int]:
    """Return which of the assets have an open run."""
    rows = TaggingRun.objects.using(alias()).filter(
        asset__in=asset_ids, state=TaggingRun.State.STARTED
    )
    return set(rows.values_list("asset_id", flat=True))
