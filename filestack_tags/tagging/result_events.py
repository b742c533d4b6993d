"""Tell a project's listeners and the receivers of outbound webhooks about results."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import Any

from django.dispatch import Signal

from filestack_tags.db.transactions import alias, on_commit
from filestack_tags.models import TaggingRun
from filestack_tags.outbound import outbox
from filestack_tags.signals import asset_tagged, tagging_failed


def announce(
    tagged: Collection[TaggingRun],
    failed_with_rules: Iterable[TaggingRun],
    given_up: Collection[TaggingRun],
) -> None:
    """Record messages about results in the open transaction; send the signals after its commit.

    ``asset_tagged`` is sent for ``tagged`` and for failures whose reply had results of rules,
    ``tagging_failed`` for runs that are not retried.
    """
    _send(asset_tagged, [*tagged, *failed_with_rules])
    _send(tagging_failed, given_up)
    outbox.record(outbox.TAGGED, map(_message, tagged))
    outbox.record(outbox.FAILED, map(_failure_message, given_up))


def _message(run: TaggingRun) -> dict[str, Any]:
    """Return the outbound message for a result. No tag names: they may be private."""
    return {"asset_id": run.asset_id, "run_id": run.pk, "rules": run.rule_results}


def _failure_message(run: TaggingRun) -> dict[str, Any]:
    return {"asset_id": run.asset_id, "run_id": run.pk, "error_code": run.error_code}


def _send(signal: Signal, runs: Iterable[TaggingRun]) -> None:
    """Send a signal for runs, once the transaction has committed."""
    ids = [run.pk for run in runs]
    if ids:
        on_commit(partial(_send_now, signal, ids))


def _send_now(signal: Signal, run_ids: Sequence[int]) -> None:
    if not signal.has_listeners(TaggingRun):
        return
    runs = TaggingRun.objects.using(alias()).select_related("asset").in_bulk(run_ids)
    for run_id in run_ids:
        if run := runs.get(run_id):
            signal.send_robust(sender=TaggingRun, asset=run.asset, run=run)
