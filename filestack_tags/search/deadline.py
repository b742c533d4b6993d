"""A time limit for the statements of a search, so that no search occupies a connection for long.

PostgreSQL and MariaDB stop a statement themselves; SQLite is interrupted by this process. The limit
applies inside the block only; later statements and an outer transaction are not affected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from time import monotonic
from typing import Any

from django.db import OperationalError, connections, transaction
from django.utils.translation import gettext as _

from filestack_tags.conf import get_settings
from filestack_tags.exceptions import SearchTimeout

from .language.tree import (
    And,
    Everything,
    Fact,
    HasTag,
    Leaf,
    Query,
    conjunction,
    leaves,
)

BACKGROUND_FACTOR = 10
"""Factor by which a worker or a command may exceed the time limit of a request."""

LONGEST = 24 * 3600
"""Longest limit in seconds: one that every database accepts."""

RENEW_BELOW = 0.9
"""Share of the granted time below which PostgreSQL is given the remaining time again."""

INSTRUCTIONS = 10_000
"""Virtual machine instructions of SQLite between two checks: well below a millisecond."""

CANCELED = "57014"
"""SQLSTATE of PostgreSQL for a statement that was canceled, by a timeout or an administrator."""

INTERRUPTED = 1969
"""MariaDB's error for a statement that took longer than ``max_statement_time``."""

MAX_SLOW_TERMS = 3
"""Maximum number of slow terms that an error names."""

_GRANT = """
    SELECT host.text, set_config(
        'statement_timeout',
        CASE WHEN host.ms BETWEEN 1 AND %s THEN host.text ELSE %s END,
        true
    ) FROM (
        SELECT current_setting('statement_timeout') AS text,
               EXTRACT(EPOCH FROM current_setting('statement_timeout')::interval) * 1000 AS ms
    ) host
"""


@contextmanager
def time_limit(
    using: str, query: Query | None = None, *, seconds: float | None = None
) -> Iterator[None]:
    """Stop the statements of the block once they have taken too long together.

    Inside another block the limit of the outer one applies, so that a page, its total and its
    facets can share one. On PostgreSQL the block is a transaction, or a savepoint in one, so that
    the connection can be used after a timeout. A lower limit of the host stays in effect. Does
    nothing if ``SEARCH_TIMEOUT`` is None.

    Args:
        using: alias of the database whose statements are limited.
        query: the search, for the error.
        seconds: the limit; ``SEARCH_TIMEOUT`` by default.

    Raises:
        SearchTimeout: when a statement was stopped, or would have started after the limit.
    """
    limit = get_settings().SEARCH_TIMEOUT
    if limit is None:
        yield
        return
    connection = connections[using]
    is_inner = any(isinstance(each, _Deadline) for each in connection.execute_wrappers)
    deadline = _Deadline(connection, limit if seconds is None else seconds)
    is_postgresql = connection.vendor == "postgresql"
    try:
        with transaction.atomic(using) if is_postgresql else nullcontext():
            if is_inner:
                yield
            else:
                with connection.execute_wrapper(deadline), deadline:
                    yield
    except _Expired:
        raise _timeout(query) from None
    except OperationalError as error:
        if not _is_timeout(error):
            raise
        raise _timeout(query) from error


def in_background() -> float | None:
    """Return the limit in seconds for a search in a worker, None for no limit."""
    limit = get_settings().SEARCH_TIMEOUT
    return None if limit is None else limit * BACKGROUND_FACTOR


class _Expired(Exception):
    """A statement would have started after the limit."""


class _Deadline:
    """Gives each statement of a connection the time that remains."""

    def __init__(self, connection: Any, seconds: float) -> None:
        self._connection = connection
        self._is_within_transaction = (
            connection.in_atomic_block or not connection.get_autocommit()
        )
        self._ends_at = monotonic() + min(seconds, LONGEST)
        self._granted: float | None = None
        self._hosts = "0"

    def __enter__(self) -> None:
        if self._connection.vendor == "sqlite":
            self._connection.ensure_connection()
            self._connection.connection.set_progress_handler(
                lambda: monotonic() > self._ends_at, INSTRUCTIONS
            )

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        if self._connection.vendor == "sqlite":
            if self._connection.connection is not None:
                self._connection.connection.set_progress_handler(None, 0)
        # A rollback restores the setting, and so does the end of the transaction.
        elif kind is None and self._granted is not None and self._is_within_transaction:
            self._execute("SELECT set_config('statement_timeout', %s, true)", (self._hosts,))

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        if not sql.lstrip(" \n(").startswith(("SELECT", "WITH")):
            return execute(sql, params, many, context)
        remaining = self._ends_at - monotonic()
        if remaining <= 0:
            raise _Expired
        if self._connection.vendor == "postgresql":
            if self._granted is None or remaining < self._granted * RENEW_BELOW:
                self._grant(remaining)
        elif self._connection.vendor == "mysql" and self._connection.mysql_is_mariadb:
            limit = f"{remaining:.3f}"
            sql = (
                "SET STATEMENT max_statement_time = IF(@@max_statement_time = 0,"
                f" {limit}, LEAST(@@max_statement_time, {limit})) FOR {sql}"
            )
        return execute(sql, params, many, context)

    def _grant(self, seconds: float) -> None:
        if self._granted is not None:  # the host's own value again, to compare with
            self._execute("SELECT set_config('statement_timeout', %s, true)", (self._hosts,))
        limit = max(int(seconds * 1000), 1)
        self._hosts = self._execute(_GRANT, (limit, str(limit)))
        self._granted = seconds

    def _execute(self, sql: str, params: tuple[Any, ...]) -> str:
        """Execute a statement on PostgreSQL outside the limit, and return its first value."""
        connection = self._connection
        with connection.wrap_database_errors, connection.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return str(cursor.fetchone()[0])


def _is_timeout(error: OperationalError) -> bool:
    cause = error.__cause__
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    return (
        state == CANCELED
        or error.args[:1] == (INTERRUPTED,)
        or error.args[:1] == ("interrupted",)
    )


def _timeout(query: Query | None) -> SearchTimeout:
    terms = _slow_terms(query) if query else ()
    parts = [_("The search took too long and was stopped.")]
    if terms:
        values = {"terms": ", ".join(map(str, terms))}
        parts.append(_("These terms make it slow: %(terms)s.") % values)
    parts.append(
        _(
            "Add a tag that few assets have or a period such as uploaded:>=2026-01, write more "
            "of a tag before *, or start a file name without *."
        )
    )
    return SearchTimeout(
        " ".join(parts),
        terms=tuple(map(str, terms)),
        suggestion=_without(query, terms) if query else "",
    )


# The terms that make a search slow, judged without the database: an error reveals nothing of it.


def _slow_terms(query: Query) -> tuple[Leaf, ...]:
    """Return the terms that read many rows, the most expensive kind only and each once."""
    costs = {term: _cost(term) for term in leaves(query.where)}
    highest = max(costs.values(), default=0)
    slow = tuple(term for term, cost in costs.items() if highest and cost == highest)
    return slow[:MAX_SLOW_TERMS]


def _without(query: Query, terms: Sequence[Leaf]) -> str:
    """Return the search without some of its terms, ``""`` if nothing would be left."""
    required = query.where.terms if isinstance(query.where, And) else (query.where,)
    kept = [term for term in required if not any(leaf in terms for leaf in leaves(term))]
    where = conjunction(kept)
    if len(kept) == len(required) or isinstance(where, Everything):
        return ""
    return str(Query(where, query.include_hidden))


def _cost(term: Leaf) -> int:
    if isinstance(term, Fact):
        return 3 if term.field in ("name", "type") and "*" in term.value.rstrip("*") else 0
    if not isinstance(term, HasTag):
        return 0
    if not term.label:
        return 2 if term.decision or term.source or term.confidence else 0
    return 1 if term.prefix else 0
