"""Transactions, row locks and the clock of the database that holds this app's tables.

That is ``router.db_for_write(Asset)``, so a host may keep the tables under any alias.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial, wraps
from typing import ParamSpec, TypeVar

from django.apps import apps
from django.db import Error, OperationalError, connections, models, router, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.transaction import Atomic
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from filestack_tags import metrics

from .datetimes import to_database_time

Row = TypeVar("Row", bound=models.Model)
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")
View = TypeVar("View", bound=Callable[..., object])

CLOCKS = {
    "postgresql": "SELECT statement_timestamp()",
    "mysql": "SELECT UTC_TIMESTAMP(6)",
}
"""The current time: not when the transaction began, and not in the server's time zone."""

TRIES = 5
FIRST_PAUSE = 0.1
"""Seconds; doubled after each try, so that a database has 1.5 seconds to recover."""


def outside_transactions(view: View) -> View:
    """Decorate a view to exempt it from ``ATOMIC_REQUESTS`` on every database.

    Django's own decorator needs the names of the databases, which are not available at import.
    """
    view._non_atomic_requests = SimpleLazyObject(lambda: set(connections))  # type: ignore[attr-defined]  # as Django's decorator sets it
    return view


def alias() -> str:
    """Return the alias of the database that this app writes to.

    The model is looked up by name: this module is below the models, which import its neighbours.
    """
    return router.db_for_write(apps.get_model("filestack_tags", "Asset"))


def atomic() -> Atomic:
    """Open a transaction, or a savepoint inside one, on :func:`alias`."""
    return transaction.atomic(using=alias())


def in_transaction() -> bool:
    """Whether a transaction is open on :func:`alias`, in this thread."""
    return connections[alias()].in_atomic_block


def on_commit(callback: Callable[[], object]) -> None:
    """Call ``callback`` once the outermost transaction on :func:`alias` has committed."""
    transaction.on_commit(callback, using=alias())


def unapplied_migrations() -> list[str]:
    """Return the names of this app's migrations that :func:`alias` lacks, in order."""
    loader = MigrationLoader(connections[alias()])
    applied = loader.applied_migrations
    return sorted(
        name
        for app, name in loader.disk_migrations
        if app == "filestack_tags" and (app, name) not in applied
    )


def shared_now() -> datetime:
    """Return the time of the one clock that all hosts share: the database's.

    SQLite has only the clock of its one host, which is this one.
    """
    connection = connections[alias()]
    if connection.vendor not in CLOCKS:
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(CLOCKS[connection.vendor])
        (moment,) = cursor.fetchone()
    return to_database_time(moment if timezone.is_aware(moment) else moment.replace(tzinfo=UTC))


def locked(
    rows: models.QuerySet[Row, Row], *, skip_locked: bool = False
) -> models.QuerySet[Row, Row]:
    """Lock the rows until the transaction ends, if the database supports it.

    Select ``rows`` by their primary key or a unique one and by nothing else. InnoDB locks the index
    entry it finds a row by before the row, and a transaction that has locked the row may wait for
    that entry. Check other conditions on the locked row.

    On PostgreSQL the weaker lock is taken, which allows concurrent inserts of rows that refer to
    these. SQLite has one writer at a time and needs no locks.

    Args:
        rows: what to lock.
        skip_locked: leave out rows that another transaction holds, instead of waiting for them.
    """
    database = alias()
    features = connections[database].features
    no_key = features.has_select_for_no_key_update
    return rows.using(database).select_for_update(
        skip_locked=skip_locked and features.has_select_for_update_skip_locked,
        no_key=no_key,
        of=("self",) if no_key else (),
    )


def run_with_retry(work: Callable[[], Result]) -> Result:
    """Run ``work``, with a few retries if the database deadlocks or the connection is lost.

    Inside a transaction it runs once: only the outermost transaction can be repeated.

    Raises:
        OperationalError: when the last try failed too.
    """
    connection = connections[alias()]
    for number in range(TRIES - 1):
        try:
            return work()
        except OperationalError:
            if connection.in_atomic_block:
                raise
            connection.close_if_unusable_or_obsolete()
            metrics.count("database.retried")
            time.sleep(FIRST_PAUSE * 2**number)
    return work()


def is_reachable() -> bool:
    """Whether the database answers now. False inside a transaction, which may be broken."""
    connection = connections[alias()]
    if connection.in_atomic_block:
        return False
    try:
        connection.close_if_unusable_or_obsolete()
        connection.ensure_connection()
        return connection.is_usable()
    except Error:
        return False


def retry_on_deadlock(service: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorate a function that is one transaction, or that may safely run twice.

    However rows are locked, a deadlock remains possible: with the host's own transactions, or on an
    index record that only the database knows. See :func:`run_with_retry`.
    """

    @wraps(service)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return run_with_retry(partial(service, *args, **kwargs))

    return call
