"""Leased rows: work that a process leases, does and closes.

A row is *open* while ``due_at`` is set, and ``due_at`` is when a process may lease it. A lease
moves ``due_at`` to its end. So rows that wait for a retry and rows whose process crashed are found
in the same way, by :meth:`LeasedQuerySet.due`.

``state``, ``attempts`` and ``due_at`` identify a lease: :meth:`LeasedQuerySet.lock_leased` compares
them in the transaction that writes the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self, TypeVar

from django.db import Error, models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from filestack_tags.db.replicas import ReplicaManager
from filestack_tags.db.text import sanitize_text
from filestack_tags.db.transactions import alias, atomic, locked, retry_on_deadlock
from filestack_tags.error_codes import ErrorCode
from filestack_tags.fields import ExactCharField

REOPENED = 500
"""Rows reopened in one transaction."""

LEASE = ("state", "attempts", "due_at")

Row = TypeVar("Row", bound="Leased")


def one_of(field: str, values: Iterable[Any], name: str) -> models.CheckConstraint:
    """Return the constraint that a field has one of these values."""
    return models.CheckConstraint(condition=Q(**{f"{field}__in": [*values]}), name=name)


def open_means_due(
    states: Iterable[str], name: str, *, field: str = "state"
) -> models.CheckConstraint:
    """Return the constraint that rows in these states have a ``due_at``, and no other rows."""
    is_open = Q(**{f"{field}__in": [*states]})
    return models.CheckConstraint(
        condition=(is_open & Q(due_at__isnull=False)) | (~is_open & Q(due_at=None)), name=name
    )


class LeaseLost(Exception):
    """The lease expired and another process has the row, or it was closed; roll back."""


class LeasedQuerySet(models.QuerySet[Row]):
    """Rows of a :class:`Leased` model. Every method uses the database that the app writes to."""

    def due(self) -> Self:
        """Return the rows that may be leased now, the oldest first.

        These are new rows, rows whose retry is due, and rows whose lease expired. A row that was
        never leased is due whatever the clock of the host that stored it.
        """
        is_due = Q(due_at__lte=timezone.now())
        if self.model.QUEUED:
            is_due |= Q(state=self.model.QUEUED, attempts=0)
        return self.using(alias()).filter(is_due, due_at__isnull=False).order_by("due_at")

    def acquire(
        self,
        ids: Sequence[int],
        *,
        seconds: float,
        max_attempts: int,
        only_new: bool = False,
    ) -> list[Row]:
        """Lease the rows that are due; return them in the order of ``ids``.

        Rows that another transaction has locked are left out. A row that has used all its attempts
        without a result is failed instead, with its last recorded error. If it has none, its
        process crashed each time.

        Args:
            ids: the rows.
            seconds: how long the lease lasts.
            max_attempts: the attempts of a row.
            only_new: leave out rows that were leased before. Use it to lease rows together, so that
                a row that crashes its process costs each of the others one attempt only.
        """
        return _acquire(self.model, ids, seconds, max_attempts, only_new=only_new)

    def lock_leased(self, rows: Sequence[Row]) -> None:
        """Lock rows that this process leased until the transaction ends.

        Raises:
            LeaseLost: when one of them is no longer leased by this process.
        """
        locked_rows = locked(self.model._base_manager.filter(pk__in=[row.pk for row in rows]))
        leases = set(locked_rows.order_by("pk").values_list("pk", *LEASE))
        if leases != {(row.pk, *row.lease) for row in rows}:
            raise LeaseLost

    def release(self, row: Row) -> None:
        """Let another process lease a row at once, if this process still leases it."""
        state, attempts, due_at = row.lease
        rows = self.using(alias()).filter(pk=row.pk, attempts=attempts, due_at=due_at)
        rows.filter(state=state).update(due_at=timezone.now())

    def record_error(self, row: Row, error: Exception) -> None:
        """Save why an attempt failed, if this process still leases the row. The lease stays.

        If all attempts fail, :meth:`acquire` fails the row with the last recorded error. Nothing is
        saved while the database cannot be reached.
        """
        name = type(error).__name__
        kind = f"a database error, {name}" if isinstance(error, Error) else name
        text = f"The last attempt failed with {kind}. The log of the worker has the traceback."
        state, attempts, due_at = row.lease
        rows = self.using(alias()).filter(pk=row.pk, attempts=attempts, due_at=due_at)
        with suppress(Error):
            rows.filter(state=state).update(error=text, error_code=name[:50])

    def reopen(self, ids: Iterable[int]) -> list[int]:
        """Queue closed rows again, with all their attempts; return their ids.

        Open rows, and rows outside this queryset, are left alone.
        """
        pks = sorted(set(ids))
        return [
            pk
            for start in range(0, len(pks), REOPENED)
            for pk in _reopen(self, pks[start : start + REOPENED])
        ]


@retry_on_deadlock
def _acquire(
    model: type[Row], ids: Sequence[int], seconds: float, max_attempts: int, *, only_new: bool
) -> list[Row]:
    with atomic():
        rows = locked(model._base_manager.filter(pk__in=sorted(ids)), skip_locked=True)
        due = [
            row
            for row in rows.order_by("pk")
            if row.is_due() and not (only_new and row.attempts)
        ]
        for row in due:
            if row.attempts >= max_attempts:
                row.abandon()
        leased = [row for row in due if row.attempts < max_attempts]
        until = timezone.now() + timedelta(seconds=seconds)
        for row in leased:
            row.attempts += 1
            row.due_at = until
            row.state = model.LEASED or row.state
            row.lease = (row.state, row.attempts, row.due_at)
        changes: dict[str, Any] = {"attempts": F("attempts") + 1, "due_at": until}
        if model.LEASED:
            changes["state"] = model.LEASED
        if leased:
            pks = [row.pk for row in leased]
            model._base_manager.using(alias()).filter(pk__in=pks).update(**changes)
    return sorted(leased, key=lambda row: ids.index(row.pk))


@retry_on_deadlock
def _reopen(rows: LeasedQuerySet[Any], ids: Sequence[int]) -> list[int]:
    with atomic():
        locked_rows = locked(rows.model._base_manager.filter(pk__in=ids)).order_by("pk")
        list(locked_rows.values_list("pk"))  # evaluated for its locks
        closed = rows.using(alias()).filter(pk__in=ids, due_at=None)
        reopened = list(closed.order_by("pk").values_list("pk", flat=True))
        rows.model._base_manager.using(alias()).filter(pk__in=reopened).update(
            state=rows.model.QUEUED, due_at=timezone.now(), attempts=0, error="", error_code=""
        )
    return reopened


class Leased(models.Model):
    """A row of work. Set the state by its methods, then save the columns :attr:`LEASE_FIELDS`."""

    QUEUED: ClassVar[str] = ""
    """The state of rows that were never leased or wait for a retry, if the model has one."""
    LEASED: ClassVar[str] = ""
    """The state of leased rows, if the model has one."""
    FAILED: ClassVar[str] = "failed"
    LEASE_FIELDS: ClassVar[tuple[str, ...]] = (
        "state",
        "due_at",
        "attempts",
        "error_code",
        "error",
    )

    lease: tuple[str, int, datetime | None] = ("", 0, None)
    """``state``, ``attempts`` and ``due_at`` when this process leased it."""

    state: models.CharField[Any, Any]
    due_at = models.DateTimeField(_("due"), null=True, blank=True, default=timezone.now)
    """When a process may lease it: the next attempt, or the end of the present lease. Empty once
    it is closed.
    """
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    """How often it was leased since it was queued, or since its last progress."""
    error_code = ExactCharField(_("error code"), max_length=50, blank=True, default="")
    """Why the last attempt failed: :class:`~filestack_tags.error_codes.ErrorCode` explains it."""
    error = models.TextField(_("error"), blank=True, default="")

    class Meta:
        abstract = True

    def is_due(self) -> bool:
        """Whether a process may lease it now; see :meth:`LeasedQuerySet.due`."""
        is_new = self.state == self.QUEUED and not self.attempts
        return self.due_at is not None and (is_new or self.due_at <= timezone.now())

    def close(self, state: str, error: str = "", error_code: str = "") -> None:
        """Set the final state, without saving."""
        self.state, self.due_at = state, None
        self.error, self.error_code = sanitize_text(error), sanitize_text(error_code, 50)

    def retry(self, delay: timedelta, error: str, error_code: str = "") -> None:
        """Queue it for another attempt, without saving."""
        if self.LEASED:
            self.state = self.QUEUED
        self.due_at = timezone.now() + delay
        self.error, self.error_code = sanitize_text(error), sanitize_text(error_code, 50)

    def renew(self, seconds: float) -> None:
        """Extend the lease after progress, without saving; the attempts start anew."""
        self.error = self.error_code = ""
        self.attempts, self.due_at = 0, timezone.now() + timedelta(seconds=seconds)
        self.lease = (self.state, self.attempts, self.due_at)

    def abandon(self) -> None:
        """Fail it with its last recorded error, or as crashed on each attempt; save it."""
        self.close(
            self.FAILED,
            self.error or ErrorCode.ABANDONED.english_meaning,
            self.error_code or ErrorCode.ABANDONED,
        )
        self.save(using=alias(), update_fields=self.LEASE_FIELDS)


LeasedManager = ReplicaManager.from_queryset(LeasedQuerySet)
