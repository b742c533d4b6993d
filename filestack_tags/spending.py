"""Spending: how many calls to tag were made, and how many the budget still allows.

A call is counted in the transaction that opens its run, before it is made: whoever dies
afterwards has spent it. So the budget is never exceeded, and the runs are the ledger.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from django.db.models import Case, F, Value, When
from django.utils import timezone

from . import metrics
from .conf import get_settings
from .models import Spending
from .transactions import alias, locked, retrying


@dataclass(frozen=True)
class Spent:
    """Calls to tag made today and in this calendar month (UTC)."""

    today: int
    month: int

    def left(self) -> int | None:
        """Return how many more the budget allows, ``None`` when there is no limit."""
        settings = get_settings()
        limits = (
            (settings.BUDGET_PER_DAY, self.today),
            (settings.BUDGET_PER_MONTH, self.month),
        )
        lefts = [limit - spent for limit, spent in limits if limit is not None]
        return max(min(lefts), 0) if lefts else None


def spent() -> Spent:
    """Return what was spent so far."""
    return _spent(today())


def today() -> date:
    """Return the day that calls made now are counted on."""
    return day_of(timezone.now())


def day_of(moment: datetime) -> date:
    """Return the day (UTC) on which a call that was made at ``moment`` is counted."""
    if timezone.is_naive(moment):  # as without USE_TZ
        moment = timezone.make_aware(moment, timezone.get_default_timezone())
    return moment.astimezone(UTC).date()


@retrying
def open_day(moment: datetime) -> date:
    """Create the row of a day, ahead of the transaction that counts on it; return the day."""
    day = day_of(moment)
    if not Spending.objects.using(alias()).filter(day=day).exists():
        Spending.objects.using(alias()).get_or_create(day=day)
    return day


def reserve(wanted: int, day: date) -> int:
    """Count up to ``wanted`` calls, as many as the budget allows; return how many those are.

    Inside a transaction, in which the calls' runs are opened. Others wait for it to end.
    """
    if not wanted:
        return 0
    row = locked(Spending.objects.filter(day=day)).get()
    left = _spent(day).left()
    granted = wanted if left is None else min(wanted, left)
    if granted:
        row.calls += granted
        row.save(using=alias(), update_fields=("calls",))
    if granted < wanted:
        metrics.count("budget.exhausted")
    return granted


def refund(moments: Iterable[datetime]) -> None:
    """Take back calls that were counted and will not be made, each on the day of its claim.

    Inside a transaction. Args: ``moments``, when the calls' runs were opened.
    """
    for day, calls in sorted(Counter(map(day_of, moments)).items()):
        row = Spending.objects.using(alias()).filter(day=day)
        # A count never falls below zero, also if the row was changed by hand.
        left = Case(When(calls__gte=calls, then=F("calls") - calls), default=Value(0))
        row.update(calls=left)


def _spent(day: date) -> Spent:
    days = Spending.objects.using(alias()).filter(day__gte=day.replace(day=1), day__lte=day)
    counted = dict(days.values_list("day", "calls"))
    return Spent(today=counted.get(day, 0), month=sum(counted.values()))
