"""Leases: lease assets for tagging, many at once.

Leasing is one short transaction. It leases the assets, opens a run for each, and counts the calls
that are about to be made. If the process crashes afterwards, its leases expire.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import F
from django.utils import timezone

from filestack_tags import metrics
from filestack_tags.assets.registry import idle_state
from filestack_tags.conf import get_settings
from filestack_tags.db.bulk_statements import update_rows
from filestack_tags.db.transactions import alias, atomic, locked, on_commit, retry_on_deadlock
from filestack_tags.error_codes import ErrorCode
from filestack_tags.filestack.payloads import parse_tags_reply
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, TaggingRun

from . import call_budget, circuit_breaker, results
from .taggers import TaggerReply, is_paid, tagger_names

SLACK = timedelta(seconds=5)
"""How much too early a retry may run, since clocks may differ a little."""

SHARED_WAIT = timedelta(seconds=5)
"""How long an asset waits for the tags of another with the same bytes."""

OPEN_STATES = (Asset.State.QUEUED, Asset.State.RUNNING)

LEASED = (
    *("tagging_state", "attempts", "due_at"),
    *("error", "error_code"),
    *("queued_by", "queued_for", "fresh_since", "updated_at"),
)
"""The columns that leasing writes on an asset."""


@dataclass(frozen=True)
class LeaseRequest:
    """Request to tag idle assets now, without queueing them first.

    Args:
        trigger: why, a :class:`TaggingRun.Trigger`.
        tagger: overrides the setting ``TAGGER``.
        force: also assets whose tags describe the present content.
        fresh_since: replies from before this time are not used. If ``None``, any reply for the same
            bytes may be used, and Filestack may answer from its cache.
    """

    trigger: str
    tagger: str = ""
    force: bool = False
    fresh_since: datetime | None = None


@dataclass(frozen=True)
class Lease:
    """A leased asset: the tagger to call, and the run that the reply belongs to.

    ``is_trial`` marks the trial call of an open circuit. ``fresh`` means that the tagger must not
    answer from a cache. ``job_id`` is set when a job that was started earlier is to be polled.
    ``shared`` is the reply itself, when another asset with the same bytes has it.
    """

    asset_id: int
    run_id: int
    tagger: str
    source: Source
    is_trial: bool = False
    job_id: str | None = None
    shared: TaggerReply | None = None
    fresh: bool = False


@dataclass(frozen=True)
class LeaseRefused:
    """Why an asset was not leased: its state, or what blocks it.

    ``blocked_by`` is ``circuit`` or ``budget`` if the asset stays queued because of that.
    ``retry_at`` is when to try again.
    """

    asset_id: int
    state: str
    blocked_by: str = ""
    retry_at: datetime | None = None

    def outcome(self) -> results.Outcome:
        """Return the outcome for the asset."""
        return results.Outcome(
            self.state, self.retry_at, self.asset_id, self.blocked_by, was_called=False
        )


@retry_on_deadlock
def acquire(
    asset_ids: Collection[int],
    *,
    request: LeaseRequest | None = None,
    skip_locked: bool = False,
) -> list[Lease | LeaseRefused]:
    """Lease assets that are queued and due, or whose lease expired; explain each refusal.

    Concurrent calls lease different assets. They pass the circuit breaker and counts the
    calls against the budget; assets whose call is not admitted are unchanged.

    Args:
        asset_ids: the assets, about fifty at a time.
        request: leases idle assets as well.
        skip_locked: silently leave out assets that another transaction has locked.
    """
    now = timezone.now()
    day = call_budget.open_day(now)
    with atomic():
        rows = locked(Asset.objects.filter(pk__in=sorted(asset_ids)), skip_locked=skip_locked)
        assets = {asset.pk: asset for asset in rows.order_by("pk")}
        leased = _Acquisition(request, now, day).make([*assets.values()])
    if not skip_locked:
        leased += [LeaseRefused(pk, "gone") for pk in asset_ids if pk not in assets]
    return leased


@retry_on_deadlock
def release(leased: Sequence[Lease], *, to_idle: bool = False) -> None:
    """Release assets whose calls were not made, as if they had not been leased.

    They are queued again, or become idle with ``to_idle``. The calls are returned to the budget of
    the day on which they were leased. Idempotent.
    """
    run_ids = sorted(lease.run_id for lease in leased if lease.job_id is None)
    with atomic():
        rows = locked(Asset.objects.filter(pk__in=sorted(lease.asset_id for lease in leased)))
        assets = {asset.pk: asset for asset in rows.order_by("pk")}
        runs = TaggingRun.objects.using(alias()).filter(pk__in=run_ids)
        not_made = [run for run in runs if run.state == TaggingRun.State.STARTED]
        running = {
            pk: asset
            for pk, asset in assets.items()
            if asset.tagging_state == Asset.State.RUNNING
        }
        for asset in running.values():  # a job is still running, and another process polls it
            asset.due_at = timezone.now()
        for run in not_made:
            if run.asset_id not in running:
                continue
            asset = running[run.asset_id]
            asset.attempts = max(asset.attempts - 1, 0)
            asset.tagging_state = idle_state(asset) if to_idle else Asset.State.QUEUED
            if to_idle:
                asset.due_at = None
        _write([*running.values()])
        _close(not_made, ErrorCode.RELEASED, "Stopped before the call was made.")
        call_budget.refund(run.started_at for run in not_made if _is_call(run))


def blocked_taggers() -> set[str]:
    """Return the taggers whose assets cannot be leased now: open circuits, or no budget left."""
    settings = get_settings()
    blocked = circuit_breaker.blocked()
    if call_budget.usage().left() == 0:
        blocked |= {name for name in {settings.TAGGER, *tagger_names()} if is_paid(name)}
    return blocked


class _Acquisition:
    """One acquisition, inside its transaction and with its assets locked."""

    def __init__(self, request: LeaseRequest | None, now: datetime, day: date) -> None:
        self._settings = get_settings()
        # The runs start now, and are counted on the day of this same moment.
        self._now = now
        self._lease = self._now + timedelta(seconds=self._settings.LEASE_SECONDS)
        self._request = request
        self._day = day
        self._refusals: list[LeaseRefused] = []
        self._trials: set[int] = set()

    def make(self, assets: Sequence[Asset]) -> list[Lease | LeaseRefused]:
        wanted = [asset for asset in assets if self._is_wanted(asset)]
        started = _started(wanted)
        jobs = _jobs(wanted, started)
        given_up = [
            asset
            for asset in wanted
            if asset.pk not in jobs and asset.attempts >= self._settings.MAX_ATTEMPTS
        ]
        self._give_up(given_up)
        admitted = self._admitted(_without(wanted, given_up), jobs)
        followed = [asset for asset in admitted if asset.pk in jobs]
        for asset in followed:
            asset.due_at = self._lease
        to_call, shared = self._paid_or_shared(_without(admitted, followed))
        self._lease_for_call([*to_call, *shared])
        over = {asset.pk for asset in (*given_up, *to_call, *shared)}
        _close(
            # A result that still arrives is applied.
            [run for pk in over for run in started.get(pk, ())],
            ErrorCode.ABANDONED,
            ErrorCode.ABANDONED.english_meaning,
        )
        runs = self._open_runs(to_call, shared)
        _write([*given_up, *followed, *to_call, *shared])
        return [
            *(self._leased(asset, jobs[asset.pk]) for asset in followed),
            *(self._leased(asset, runs[asset.pk]) for asset in to_call),
            *(self._leased(asset, runs[asset.pk], shared[asset][1]) for asset in shared),
            *self._refusals,
        ]

    def _refuse(
        self, asset: Asset, *, blocked_by: str = "", retry_at: datetime | None = None
    ) -> None:
        state = "gone" if asset.deleted_at else asset.tagging_state
        self._refusals.append(LeaseRefused(asset.pk, state, blocked_by, retry_at))

    def _is_wanted(self, asset: Asset) -> bool:
        request = self._request
        if is_due(asset, self._now):
            return True
        is_at_rest = not asset.deleted_at and asset.tagging_state not in OPEN_STATES
        is_untagged = asset.tagging_state != Asset.State.TAGGED
        if request and is_at_rest and (is_untagged or request.force):
            asset.queued_by, asset.queued_for = request.trigger, request.tagger
            asset.fresh_since = request.fresh_since
            asset.attempts = 0
            return True
        self._refuse(asset)
        return False

    def _tagger(self, asset: Asset) -> str:
        return asset.queued_for or self._settings.TAGGER

    def _give_up(self, assets: Sequence[Asset]) -> None:
        for asset in assets:
            asset.tagging_state = Asset.State.FAILED
            asset.due_at = None
            asset.error = (
                f"Given up after {asset.attempts} attempts; the last one was abandoned."
            )
            asset.error_code = ErrorCode.ABANDONED
            on_commit(lambda: metrics.count("tagging.failed", code=ErrorCode.ABANDONED))
            self._refuse(asset)

    def _admitted(self, assets: Sequence[Asset], jobs: Mapping[int, TaggingRun]) -> list[Asset]:
        """Return the assets whose tagger the circuit breaker admits, those with a job first."""
        by_tagger: dict[str, list[Asset]] = {}
        for asset in sorted(assets, key=lambda asset: asset.pk not in jobs):
            tagger = jobs[asset.pk].tagger if asset.pk in jobs else self._tagger(asset)
            by_tagger.setdefault(tagger, []).append(asset)
        admitted: list[Asset] = []
        for tagger, group in sorted(by_tagger.items()):
            number, is_trial = circuit_breaker.acquire(tagger, len(group))
            if is_trial:
                self._trials |= {asset.pk for asset in group[:number]}
            admitted += group[:number]
            for asset in group[number:]:
                self._refuse(asset, blocked_by="circuit")
        return admitted

    def _paid_or_shared(
        self, assets: Sequence[Asset]
    ) -> tuple[list[Asset], dict[Asset, tuple[int, TaggerReply]]]:
        """Return the assets that need a call, and the replies that other assets have already."""
        shared, waiting = self._same_bytes(assets)
        for asset in waiting:
            self._refuse(asset, retry_at=self._now + SHARED_WAIT)
        to_call = _without(assets, [*shared, *waiting])
        paid = [asset for asset in to_call if is_paid(self._tagger(asset))]
        granted = call_budget.reserve(len(paid), self._day)
        for asset in paid[granted:]:
            self._refuse(asset, blocked_by="budget")
        return _without(to_call, paid[granted:]), shared

    def _same_bytes(
        self, assets: Sequence[Asset]
    ) -> tuple[dict[Asset, tuple[int, TaggerReply]], list[Asset]]:
        """Return the available replies for files with the same bytes, and the assets that wait for
        one.

        Only replies of ``filestack`` are shared: they depend on the bytes alone, and cost money. A
        reply that may have come from Filestack's cache may describe other bytes, and is not shared.
        """
        known = [asset for asset in assets if self._can_share(asset)]
        if not known:
            return {}, []
        others = Asset.objects.using(alias()).filter(
            sha256__in={asset.sha256 for asset in known}, deleted_at=None
        )
        runs = TaggingRun.objects.using(alias()).filter(
            pk__in=others.filter(
                tagging_state=Asset.State.TAGGED, content_version=F("tags_version")
            ).values("current_run"),
            sha256=F("asset__sha256"),
            tagger="filestack",
            version=self._settings.TAGS_VERSION,
        )
        # The newest run for each digest.
        answers = {run.sha256: run for run in runs.exclude(raw_reply="").order_by("pk")}
        busy = set(
            others.filter(tagging_state=Asset.State.RUNNING, due_at__gt=self._now).values_list(
                "sha256", flat=True
            )
        )
        shared: dict[Asset, tuple[int, TaggerReply]] = {}
        waiting: list[Asset] = []
        for asset in known:
            run = answers.get(asset.sha256)
            if run and (not asset.fresh_since or run.started_at >= asset.fresh_since):
                reply = TaggerReply.of(parse_tags_reply(run.raw_reply), version=run.version)
                shared[asset] = (run.pk, reply)
            elif asset.sha256 in busy:
                waiting.append(asset)
            else:
                busy.add(asset.sha256)
        return shared, waiting

    def _can_share(self, asset: Asset) -> bool:
        is_shared = self._settings.REUSE_TAGS_BY_HASH and self._tagger(asset) == "filestack"
        return is_shared and bool(asset.sha256)

    def _must_be_fresh(self, asset: Asset) -> bool:
        """Whether the tagger must not answer from a cache.

        Filestack's cache is keyed by the URL of the call, which does not change with the file.
        """
        return (
            asset.content_version > 1
            or asset.queued_by == TaggingRun.Trigger.OVERWRITE
            or asset.fresh_since is not None
            or self._can_share(asset)
        )

    def _lease_for_call(self, assets: Iterable[Asset]) -> None:
        for asset in assets:
            asset.tagging_state = Asset.State.RUNNING
            asset.attempts += 1
            asset.due_at = self._lease

    def _open_runs(
        self, to_call: Sequence[Asset], shared: Mapping[Asset, tuple[int, TaggerReply]]
    ) -> dict[int, TaggingRun]:
        runs = [
            TaggingRun(
                asset=asset,
                tagger=self._tagger(asset),
                trigger=asset.queued_by or TaggingRun.Trigger.CODE,
                content_version=asset.content_version,
                started_at=self._now,
                shared_from_id=shared[asset][0] if asset in shared else None,
                sha256=asset.sha256 if self._can_share(asset) else None,
            )
            for asset in (*to_call, *shared)
        ]
        opened = TaggingRun.objects.using(alias()).bulk_create(runs)
        return {run.asset_id: run for run in opened}

    def _leased(
        self, asset: Asset, run: TaggingRun, shared: TaggerReply | None = None
    ) -> Lease:
        source = Source.of(asset.kind, asset.reference)
        is_trial = asset.pk in self._trials
        fresh = self._must_be_fresh(asset)
        return Lease(asset.pk, run.pk, run.tagger, source, is_trial, run.job_id, shared, fresh)


def is_due(asset: Asset, now: datetime) -> bool:
    """Whether an asset is ready to be leased, or its lease expired.

    An asset without attempts is always due, whatever the clock of the host that queued it.
    """
    if asset.deleted_at or asset.tagging_state not in OPEN_STATES:
        return False
    is_new = asset.tagging_state == Asset.State.QUEUED and not asset.attempts
    return is_new or asset.due_at is None or asset.due_at <= now + SLACK


def _without(assets: Sequence[Asset], left_out: Iterable[Asset]) -> list[Asset]:
    """Return ``assets`` in order, except those left out."""
    ids = {asset.pk for asset in left_out}
    return [asset for asset in assets if asset.pk not in ids]


def _started(assets: Sequence[Asset]) -> dict[int, list[TaggingRun]]:
    """Return the open runs of each asset, oldest first."""
    runs = TaggingRun.objects.using(alias()).filter(
        asset__in=[asset.pk for asset in assets], state=TaggingRun.State.STARTED
    )
    found: dict[int, list[TaggingRun]] = {}
    for run in runs.order_by("id"):
        found.setdefault(run.asset_id, []).append(run)
    return found


def _jobs(
    assets: Sequence[Asset], started: Mapping[int, Sequence[TaggingRun]]
) -> dict[int, TaggingRun]:
    """Return the newest job of each asset that is running one."""
    return {
        asset.pk: run
        for asset in assets
        if asset.tagging_state == Asset.State.RUNNING
        for run in started.get(asset.pk, ())
        if run.job_id is not None
    }


def _close(runs: Sequence[TaggingRun], code: str, text: str) -> None:
    if runs:
        TaggingRun.objects.using(alias()).filter(pk__in=sorted(run.pk for run in runs)).update(
            state=TaggingRun.State.FAILED,
            error_code=code,
            error=text,
            finished_at=timezone.now(),
        )


def _write(assets: Sequence[Asset]) -> None:
    now = timezone.now()
    for asset in assets:
        asset.updated_at = now
    update_rows(assets, LEASED)


def _is_call(run: TaggingRun) -> bool:
    """Whether a run was counted as a call."""
    return run.shared_from_id is None and is_paid(run.tagger)
