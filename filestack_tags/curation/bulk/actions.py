"""The effect of each bulk action on a batch of assets, inside the batch's transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from django.utils.translation import gettext_lazy as _

from filestack_tags import curation
from filestack_tags.assets import registry, tags
from filestack_tags.db.bulk_statements import among
from filestack_tags.db.text import label_key
from filestack_tags.db.transactions import locked
from filestack_tags.models import Asset, BulkJob, TagDecision
from filestack_tags.tagging import queue

from . import exports

Action = BulkJob.Action

REASONS = {
    "same": _("already in this state"),
    "busy": _("already being tagged"),
    "gone": _("archived in the meantime"),
    "no_match": _("does not exist or does not match"),
    "since": _("changed by someone since"),
}
"""Why assets are skipped, in words."""


ACTS: Mapping[BulkJob.Action, TagDecision.Act] = {
    Action.ADD: TagDecision.Act.ADD,
    Action.REMOVE: TagDecision.Act.REJECT,
    Action.ACCEPT: TagDecision.Act.ACCEPT,
    Action.REJECT: TagDecision.Act.REJECT,
}
"""The decision behind each action about a tag."""


@dataclass(frozen=True)
class Effect:
    """The effect of an action: changed assets, skipped ones with a reason, and errors."""

    changed: Sequence[int] = ()
    skipped: Mapping[int, str] = field(default_factory=dict)
    failed: Mapping[int, str] = field(default_factory=dict)

    def __add__(self, other: Effect) -> Effect:
        return Effect(
            [*self.changed, *other.changed],
            {**self.skipped, **other.skipped},
            {**self.failed, **other.failed},
        )


def _decide(job: BulkJob, ids: Sequence[int]) -> Effect:
    name = job.parameters["tag"]
    tag_id = tags.existing_ids([label_key(name)]).get(label_key(name))
    if tag_id is None:  # assets are locked before tags are created
        list(locked(Asset.objects.filter(among("pk", ids))).order_by("pk"))
        (tag_id,) = tags.resolve([name]).values()
    # A decision that a user made in the meantime is not overridden by accepting.
    accepts = job.action == Action.ACCEPT
    outcomes = curation.decide_many(
        ACTS[Action(job.action)],
        [(pk, tag_id) for pk in ids],
        user=job.requested_by,
        origin=TagDecision.Origin.JOB,
        job=job.pk,
        undecided=accepts,
    )
    changed = [outcome.asset_id for outcome in outcomes if outcome.decision_id is not None]
    # Accepting a tag that was removed in the meantime changes nothing, and is no failure.
    failed = {
        outcome.asset_id: str(outcome.error)
        for outcome in outcomes
        if outcome.error and not accepts
    }
    unchanged = set(ids).difference(changed, failed)
    return Effect(changed, {pk: "same" for pk in ids if pk in unchanged}, failed)


def _retag(job: BulkJob, ids: Sequence[int]) -> Effect:
    queued = set(
        queue.request(
            ids, trigger=job.trigger, force=True, tagger=job.parameters.get("tagger", "")
        )
    )
    return Effect(
        [pk for pk in ids if pk in queued],
        {pk: "busy" for pk in ids if pk not in queued},
    )


def _export(job: BulkJob, ids: Sequence[int]) -> Effect:
    written = exports.add_part(job, ids)
    return Effect(
        [pk for pk in ids if pk in written], {pk: "gone" for pk in ids if pk not in written}
    )


def _archive(job: BulkJob, ids: Sequence[int]) -> Effect:
    archived = registry.archive_many(ids)
    return Effect(
        [pk for pk in ids if pk in archived],
        {pk: "gone" for pk in ids if pk not in archived},
    )


ACTIONS: Mapping[BulkJob.Action, Callable[[BulkJob, Sequence[int]], Effect]] = {
    **dict.fromkeys(ACTS, _decide),
    Action.RETAG: _retag,
    Action.WORKFLOW: _retag,
    Action.EXPORT: _export,
    Action.ARCHIVE: _archive,
}
