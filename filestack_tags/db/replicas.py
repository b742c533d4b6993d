"""Choose the database to read from, in projects that route reads to a replica.

A replica may lag, so a request that writes also reads from the primary, to see what it just wrote.
Searches and lists may read from the replica. The rule is :func:`reading_primary`; every model of
this app has :class:`ReplicaManager`, so queries follow it without naming a database.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from django.db import models, router

Row = TypeVar("Row", bound=models.Model)

_reads_primary: ContextVar[bool] = ContextVar("filestack_tags_reads_primary", default=False)


@contextmanager
def reading_primary() -> Iterator[None]:
    """Read this app's tables from the primary within the block.

    Affects the current thread or async task. Queries that name a database keep it. Can be nested.
    """
    token = _reads_primary.set(True)
    try:
        yield
    finally:
        _reads_primary.reset(token)


def read_alias(model: type[models.Model], **hints: Any) -> str:
    """Return the alias of the database to read a model from now."""
    if _reads_primary.get():
        return router.db_for_write(model, **hints)
    return router.db_for_read(model, **hints)


class ReplicaManager(models.Manager[Row]):
    """A manager that reads from the primary within :func:`reading_primary`."""

    def get_queryset(self) -> models.QuerySet[Row]:
        rows = super().get_queryset()
        if self._db is None and _reads_primary.get():
            return rows.using(router.db_for_write(self.model))
        return rows
