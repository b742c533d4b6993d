"""Backfill: tag everything that matches a search, from this process.

It goes from the newest asset to the oldest and records its progress, so that it can be stopped at
any point and resumed later. Its assets do not wait in the queue, so uploads are not delayed; only
the rate and the budget are shared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from heapq import heappop, heappush
from time import monotonic

from django.db.models import Count, Q
from django.utils import timezone

from filestack_tags.conf import get_settings
from filestack_tags.db.transactions import alias, retry_on_deadlock
from filestack_tags.models import Asset, AssetQuerySet, Backfill, TaggingRun
from filestack_tags.search.deadline import in_background, time_limit

from . import asset_leases, call_budget, pipeline
from .asset_leases import Lease, LeaseRefused
from .results import Outcome
from .taggers import get_tagger, is_paid

READ_AHEAD = 500
"""Assets looked up at once."""

SAVED_EVERY = 2.0
"""Seconds between saves of its progress."""

LONGEST_RETRY = timedelta(minutes=10)
"""Retries that are due later are left to the workers."""


@dataclass(frozen=True)
class Options:
    """The options of a backfill.

    Args:
        query: a search; all assets when empty.
        limit: the maximum number of assets.
        tagger: overrides the setting ``TAGGER``.
        outdated: also include assets that were tagged by another tagger or version.
        force: include all matching assets, however they were tagged.
    """

    query: str = ""
    limit: int | None = None
    tagger: str = ""
    outdated: bool = False
    force: bool = False

    def chosen_tagger(self) -> str:
        """Return the name of the tagger that is called."""
        return self.tagger or get_settings().TAGGER


@dataclass(frozen=True)
class Estimate:
    """What a backfill would do: matching assets, calls it would make, and their cost.

    ``cost`` is in the currency of ``PRICE_PER_CALL``; ``None`` if that is not set or the tagger is
    free. ``left`` is what the budget still allows; ``None`` without a budget.
    """

    assets: int
    calls: int
    cost: float | None
    left: int | None


def matching(options: Options) -> AssetQuerySet:
    """Return the assets that match a backfill's options.

    Raises:
        SearchError: when the query cannot be parsed.
        ConfigurationError: when there is no such tagger.
    """
    tagger = options.chosen_tagger()
    get_tagger(tagger)
    objects = Asset.objects.using(alias())
    assets = objects.search(options.query) if options.query.strip() else objects.present()
    if options.force:
        return assets.exclude(tagging_state__in=asset_leases.OPEN_STATES)
    resting = Q(tagging_state__in=(Asset.State.NEW, Asset.State.STALE, Asset.State.FAILED))
    if options.outdated:
        same = Q(current_run__tagger=tagger)
        if tagger == "filestack":
            same &= Q(current_run__version=get_settings().TAGS_VERSION)
        resting |= Q(tagging_state=Asset.State.TAGGED) & ~same
    return assets.filter(resting)


def estimate(options: Options, *, going_on: Backfill | None = None) -> Estimate:
    """Return what a backfill would do and cost, and what the budget still allows.

    Files that are known to have the same bytes count as one call. With ``going_on``, count only the
    rest of that backfill.

    Raises:
        SearchError: when the query cannot be parsed.
        ConfigurationError: when there is no such tagger.
    """
    settings = get_settings()
    assets = matching(options)
    if going_on is not None and going_on.position is not None:
        assets = assets.filter(pk__lt=going_on.position)
    with time_limit(alias(), seconds=in_background()):
        number = assets.count()
        if options.limit is not None:
            number = min(number, options.limit)
        calls = number if is_paid(options.chosen_tagger()) else 0
        if calls and options.limit is None and options.chosen_tagger() == "filestack":
            calls -= _repeated(assets) if settings.REUSE_TAGS_BY_HASH else 0
    price = settings.PRICE_PER_CALL
    cost = None if price is None or not calls else calls * price
    return Estimate(number, calls, cost, call_budget.usage().left())


def _repeated(assets: AssetQuerySet) -> int:
    """Return how many of the assets have the same bytes as another of them."""
    known = assets.exclude(sha256=None).order_by()
    counted = known.aggregate(files=Count("pk"), contents=Count("sha256", distinct=True))
    return int(counted["files"] - counted["contents"])


@retry_on_deadlock
def start(options: Options) -> Backfill:
    """Create and return a new backfill.

    Raises:
        SearchError: when the query cannot be parsed.
        ConfigurationError: when there is no such tagger.
    """
    matching(options)
    return Backfill.objects.using(alias()).create(query=options.query, options=asdict(options))


def unfinished(pk: int | None = None) -> Backfill | None:
    """Return an unfinished backfill that can be resumed: the newest, or the one with this id."""
    stopped = Backfill.objects.using(alias()).exclude(state=Backfill.State.FINISHED)
    return (stopped if pk is None else stopped.filter(pk=pk)).first()


def run(
    backfill: Backfill,
    *,
    concurrency: int | None = None,
    report_progress: Callable[[Backfill], None],
    is_stopped: Callable[[], bool],
) -> str:
    """Process a backfill's assets; return why it ended.

    Returns ``""`` at the end of the walk, ``stopped`` when ``is_stopped`` returned true, and
    ``budget`` or ``circuit`` when one of them allows no more calls. Replies to calls that were made
    are applied first; assets whose call was not made are unchanged. Memory use does not grow with
    the number of assets.

    Args:
        backfill: where it continues and saves its progress.
        concurrency: calls in flight; defaults to the setting ``TAGGING_CONCURRENCY``.
        report_progress: called after each asset, with the backfill's counts.
        is_stopped: called frequently.
    """
    walk = _Walk(backfill, report_progress)

    def is_over() -> bool:
        return bool(walk.blocked_by) or is_stopped()

    backfill.state = Backfill.State.RUNNING
    walk.save()
    try:
        pipeline.run(
            walk,
            concurrency=concurrency or get_settings().TAGGING_CONCURRENCY,
            report_progress=walk.record,
            is_stopped=is_over,
            is_interrupted=is_over,
            to_idle=True,
        )
    finally:
        is_done = not is_over() and not walk.may_have_more()
        backfill.state = Backfill.State.FINISHED if is_done else Backfill.State.STOPPED
        backfill.finished_at = timezone.now() if is_done else None
        walk.save()
    return walk.blocked_by or ("" if is_done else "stopped")


class _Walk:
    """The supply of a backfill: its assets, newest first, then those to be retried."""

    def __init__(self, backfill: Backfill, report_progress: Callable[[Backfill], None]) -> None:
        self._backfill = backfill
        self._report_progress = report_progress
        self._options = Options(**backfill.options)
        self._counts = Counter(backfill.counts)
        self._request = asset_leases.LeaseRequest(
            TaggingRun.Trigger.COMMAND,
            tagger=self._options.tagger,
            force=self._options.force or self._options.outdated,
            fresh_since=backfill.started_at if self._options.force else None,
        )
        self._rows = self._read()
        self._next: list[int] = []
        self._retries: list[tuple[datetime, int]] = []
        self._pending: set[int] = set()
        self._is_read = False
        self._lowest = backfill.position
        self._saved = monotonic()
        self.blocked_by = ""

    def candidates(self, limit: int) -> list[int]:
        now = timezone.now()
        while self._retries and self._retries[0][0] <= now and len(self._next) < limit:
            self._next.append(heappop(self._retries)[1])
        while len(self._next) < limit and not self._is_read:
            pk = next(self._rows, None)
            if pk is None:
                self._is_read = True
            else:
                self._next.append(pk)
        return self._next[:limit]

    def acquire(self, asset_ids: Sequence[int]) -> list[Lease | LeaseRefused]:
        del self._next[: len(asset_ids)]
        self._pending.update(asset_ids)
        self._lowest = min([*asset_ids, *([] if self._lowest is None else [self._lowest])])
        return asset_leases.acquire(asset_ids, request=self._request) if asset_ids else []

    def may_have_more(self) -> bool:
        return bool(self._next or self._retries or not self._is_read)

    def record(self, outcome: Outcome) -> None:
        pk = outcome.asset_id or 0
        if outcome.blocked_by:
            self.blocked_by = outcome.blocked_by
            return
        soon = timezone.now() + LONGEST_RETRY
        if outcome.retry_at and outcome.retry_at <= soon:
            heappush(self._retries, (outcome.retry_at, pk))
            if outcome.was_called:  # it is queued: the first free process retries it
                self._pending.discard(pk)
            return
        self._pending.discard(pk)
        self._counts[_word(outcome)] += 1
        if monotonic() - self._saved >= SAVED_EVERY:
            self.save()
        self._backfill.counts = dict(self._counts)
        self._report_progress(self._backfill)

    @retry_on_deadlock
    def save(self) -> None:
        """Save the progress: every asset above the highest unfinished one is done."""
        self._saved = monotonic()
        self._backfill.counts = dict(self._counts)
        if self._pending:
            self._backfill.position = max(self._pending) + 1
        else:
            self._backfill.position = self._lowest
        self._backfill.save(using=alias())

    def _read(self) -> Iterator[int]:
        """Read the ids in batches, so that concurrent changes are seen."""
        left = self._options.limit
        if left is not None:
            left -= sum(self._counts.values())
        position = self._backfill.position
        while left is None or left > 0:
            assets = matching(self._options)
            if self._options.force:  # assets it tagged before it was stopped
                assets = assets.exclude(
                    tagging_state=Asset.State.TAGGED,
                    current_run__started_at__gte=self._backfill.started_at,
                )
            if position is not None:
                assets = assets.filter(pk__lt=position)
            wanted = READ_AHEAD if left is None else min(left, READ_AHEAD)
            newest = assets.order_by("-pk").values_list("pk", flat=True)
            with time_limit(alias(), seconds=in_background()):
                ids = list(newest[:wanted])
            if not ids:
                return
            position = ids[-1]
            left = None if left is None else left - len(ids)
            yield from ids


def _word(outcome: Outcome) -> str:
    """Return the name under which an outcome is counted."""
    if outcome.retry_at:
        return "left"  # left to the workers
    if outcome.state in (TaggingRun.State.SUCCEEDED, TaggingRun.State.SUPERSEDED):
        return "tagged" if outcome.was_called else "shared"
    if outcome.state == Asset.State.FAILED:
        return "failed"
    return "started" if outcome.was_called else "skipped"
