"""A text column that compares byte by byte on every database."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper


class ExactCharField(models.CharField):  # type: ignore[type-arg]  # generic in the stubs only
    """A ``CharField`` under which ``café``, ``cafe`` and ``CAFE`` are three different values.

    PostgreSQL and SQLite compare that way already. MariaDB's default collations ignore case,
    accents and trailing spaces, which would make two handles, or two tags, one.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict[str, Any]:
        parameters = dict(super().db_parameters(connection))
        if connection.vendor == "mysql":
            parameters["collation"] = "utf8mb4_bin"
        return parameters
