"""Retention: what is deleted when it is old enough that nobody will ask for it.

A delivery is kept for longer than Filestack resends it, because its row is what a duplicate is
recognised by. Every batch is a transaction of its own: whoever stops in between has lost nothing,
and two at once do each other no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from . import heartbeat
from .conf import get_settings
from .exceptions import ConfigurationError
from .models import Asset, TaggingRun, WebhookDelivery
from .transactions import Row, alias, atomic, locked, retrying

BATCH = 500
"""Rows of one transaction."""

LEAST_DAYS = 1
"""Filestack resends for at least 12 hours 36 minutes (docs: Webhooks)."""

MOST_DAYS = 36_500
"""A century: further back there is nothing to delete, and then no calendar."""

CLOSED = (WebhookDelivery.State.PROCESSED, WebhookDelivery.State.IGNORED)
"""Deliveries that failed stay until they are replayed; those still open are not done."""


@dataclass(frozen=True)
class Pruned:
    """How many deliveries were deleted, and how many runs' raw replies emptied."""

    deliveries: int = 0
    raw_replies: int = 0


def prune(
    *,
    deliveries: int | None = None,
    raw_replies: int | None = None,
    dry_run: bool = False,
    tell: Callable[[Pruned], object] = lambda so_far: None,
) -> Pruned:
    """Delete old deliveries and empty old raw replies; return how many. Idempotent.

    Deleted are deliveries that were processed or ignored, and came more than ``deliveries`` days
    ago. Emptied are the raw replies of runs that ended more than ``raw_replies`` days ago, unless
    an asset shows their tags, by that run or by one that shares its reply.

    Args:
        deliveries: days; the setting ``KEEP_DELIVERIES`` when ``None``.
        raw_replies: days; the setting ``KEEP_RAW_REPLIES`` when ``None``.
        dry_run: only count.
        tell: called after each batch with what was done so far.

    Raises:
        ConfigurationError: for less than a day.
    """
    settings = get_settings()
    now = timezone.now()
    old_deliveries = _old_deliveries(_before(now, deliveries, settings.KEEP_DELIVERIES))
    old_runs = _old_runs(_before(now, raw_replies, settings.KEEP_RAW_REPLIES))
    if dry_run:
        shown = _shared_by_current_runs()
        kept = sum(pk in shown for pk in old_runs.values_list("pk", flat=True).iterator())
        return Pruned(old_deliveries.count(), old_runs.count() - kept)
    done = Pruned()
    for ids in _delivery_batches(old_deliveries):
        done = replace(done, deliveries=done.deliveries + _delete(ids))
        tell(done)
    shown = _shared_by_current_runs()
    for ids in _run_batches(old_runs):
        emptied = _empty([pk for pk in ids if pk not in shown])
        done = replace(done, raw_replies=done.raw_replies + emptied)
        tell(done)
    heartbeat.beat("prune", **asdict(done))
    return done


def _before(now: datetime, given: int | None, setting: int) -> datetime:
    days = setting if given is None else given
    if days < LEAST_DAYS:
        raise ConfigurationError(
            f"Deliveries and raw replies are kept for {LEAST_DAYS} day or more, not {days}: "
            "Filestack may send an event again more than 12 hours later."
        )
    return now - timedelta(days=min(days, MOST_DAYS))


def _old_deliveries(before: datetime) -> QuerySet[WebhookDelivery]:
    return WebhookDelivery.objects.using(alias()).filter(
        state__in=CLOSED, received_at__lt=before
    )


def _old_runs(before: datetime) -> QuerySet[TaggingRun]:
    # An ended run never becomes an asset's current one, so what holds here holds from now on.
    return (
        TaggingRun.objects.using(alias())
        .filter(
            ~Exists(Asset.objects.using(alias()).filter(current_run=OuterRef("pk"))),
            finished_at__lt=before,
        )
        .exclude(state=TaggingRun.State.STARTED)
        .exclude(raw_reply="")
    )


def _shared_by_current_runs() -> frozenset[int | None]:
    """Return the runs whose replies other assets show. All at once: no index leads to them."""
    shared = Asset.objects.using(alias()).filter(current_run__shared_from__isnull=False)
    return frozenset(shared.values_list("current_run__shared_from_id", flat=True).iterator())


def _delivery_batches(old: QuerySet[WebhookDelivery]) -> Iterator[list[int]]:
    """Yield ids from the oldest on, going past what is left."""
    ahead = old
    while rows := list(
        ahead.order_by("received_at", "pk").values_list("received_at", "pk")[:BATCH]
    ):
        yield [pk for _, pk in rows]
        received_at, pk = rows[-1]
        ahead = old.filter(
            Q(received_at__gt=received_at) | Q(pk__gt=pk), received_at__gte=received_at
        )


def _run_batches(old: QuerySet[TaggingRun]) -> Iterator[list[int]]:
    last = 0
    while ids := list(
        old.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:BATCH]
    ):
        yield ids
        last = ids[-1]


@retrying
def _delete(delivery_ids: list[int]) -> int:
    """Delete deliveries, and the references to them; return how many.

    Runs are locked before deliveries, as by whoever processes one. Left alone is what somebody
    writes, or has reopened.
    """
    runs = TaggingRun.objects.using(alias())
    with atomic():
        referring = runs.filter(delivery__in=delivery_ids).values_list("pk", flat=True)
        held_runs = _hold(TaggingRun.objects.filter(pk__in=list(referring)).only("delivery"))
        held = _hold(WebhookDelivery.objects.filter(pk__in=delivery_ids).only("state"))
        closed = {delivery.pk for delivery in held if delivery.state in CLOSED}
        # Nobody makes a run refer to a closed delivery, so these are all that ever will.
        cut = {run.pk for run in held_runs if run.delivery_id in closed}
        others = runs.filter(delivery__in=closed).exclude(pk__in=cut)
        closed -= set(others.values_list("delivery", flat=True))
        runs.filter(pk__in=cut).update(delivery=None)
        # Not delete(), which would look for runs to change by another way than their key.
        WebhookDelivery.objects.filter(pk__in=closed)._raw_delete(alias())
    return len(closed)


@retrying
def _empty(run_ids: list[int]) -> int:
    with atomic():
        held = _hold(TaggingRun.objects.filter(pk__in=run_ids).only("pk"))
        runs = TaggingRun.objects.using(alias()).filter(pk__in=[run.pk for run in held])
        return runs.update(raw_reply="")


def _hold(rows: QuerySet[Row]) -> list[Row]:
    return list(locked(rows.order_by("pk"), skip_held=True))
