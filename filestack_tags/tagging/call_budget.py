"""Usage: how many tagging calls were made, and how many the budget still allows.

A call is counted in the transaction that opens its run, before it is made. If the worker crashes
afterwards the call still counts, so the budget is never exceeded. The runs are the ledger.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from django.db.models import Case, F, Value, When
from django.utils import timezone

from filestack_tags import metrics
from filestack_tags.conf import get_settings
from filestack_tags.db.transactions import alias, locked, on_commit, retry_on_deadlock
from filestack_tags.models import DailyUsage


@dataclass(frozen=True)
class Usage:
    """Tagging calls made today and in this calendar month (UTC)."""

    today: int
    month: int

    def left(self) -> int | None:
        """Return how many more calls the budget allows, ``None`` when there is no limit."""
        settings = get_settings()
        limits = (
            (settings.BUDGET_PER_DAY, self.today),
            (settings.BUDGET_PER_MONTH, self.month),
        )
        remaining = [limit - calls for limit, calls in limits if limit is not None]
        return max(min(remaining), 0) if remaining else None


def usage() -> Usage:
    """Return the calls made so far."""
    return _usage_until(today())


def today() -> date:
    """Return the day on which calls made now are counted."""
    return day_of(timezone.now())


def day_of(moment: datetime) -> date:
    """Return the day (UTC) on which a call that was made at ``moment`` is counted."""
    if timezone.is_naive(moment):  # as without USE_TZ
        moment = timezone.make_aware(moment, timezone.get_default_timezone())
    return moment.astimezone(UTC).date()


@retry_on_deadlock
def open_day(moment: datetime) -> date:
    """Create the row of a day, ahead of the transaction that counts on it; return the day."""
    day = day_of(moment)
    if not DailyUsage.objects.using(alias()).filter(day=day).exists():
        DailyUsage.objects.using(alias()).get_or_create(day=day)
    return day


def reserve(calls: int, day: date) -> int:
    """Count up to that many calls, as many as the budget allows; return how many.

    Call it in the transaction that opens the calls' runs. Concurrent calls wait for it to end.
    """
    if not calls:
        return 0
    row = locked(DailyUsage.objects.filter(day=day)).get()
    left = _usage_until(day).left()
    granted = calls if left is None else min(calls, left)
    if granted:
        row.calls += granted
        row.save(using=alias(), update_fields=("calls",))
    if granted < calls:
        on_commit(lambda: metrics.count("budget.exhausted"))
    return granted


def refund(moments: Iterable[datetime]) -> None:
    """Return counted calls that will not be made, each to the day of its lease.

    Call it in a transaction. ``moments`` are the times at which the calls' runs were opened.
    """
    for day, calls in sorted(Counter(map(day_of, moments)).items()):
        row = DailyUsage.objects.using(alias()).filter(day=day)
        # A count never falls below zero, even if the row was changed by hand.
        left = Case(When(calls__gte=calls, then=F("calls") - calls), default=Value(0))
        row.update(calls=left)


def _usage_until(day: date) -> Usage:
    days = DailyUsage.objects.using(alias()).filter(day__gte=day.replace(day=1), day__lte=day)
    counted = dict(days.values_list("day", "calls"))
    return Usage(today=counted.get(day, 0), month=sum(counted.values()))
