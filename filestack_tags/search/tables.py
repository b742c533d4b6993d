"""The quoted names of tables and columns in one database."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models import Model


class Tables:
    """Quoted names of the tables and columns of one database; see :func:`tables_of`."""

    def __init__(self, using: str) -> None:
        self.using = using

    def _table(self, model: type[Model]) -> str:
        return connections[self.using].ops.quote_name(model._meta.db_table)

    @cached_property
    def asset(self) -> str:
        return self._table(apps.get_model("filestack_tags", "Asset"))

    @cached_property
    def asset_tag(self) -> str:
        return self._table(apps.get_model("filestack_tags", "AssetTag"))

    @cached_property
    def tag(self) -> str:
        return self._table(apps.get_model("filestack_tags", "Tag"))

    @cached_property
    def alias(self) -> str:
        return self._table(apps.get_model("filestack_tags", "TagAlias"))

    @cached_property
    def run(self) -> str:
        return self._table(apps.get_model("filestack_tags", "TaggingRun"))

    @cached_property
    def statistic(self) -> str:
        return self._table(apps.get_model("filestack_tags", "TagStatistic"))

    @cached_property
    def user(self) -> tuple[str, str, str]:
        """Table, key column and name column of the user model."""
        name: Any = get_user_model()._meta.get_field(get_user_model().USERNAME_FIELD)
        quote = connections[self.using].ops.quote_name
        return self._table(name.model), quote(name.model._meta.pk.column), quote(name.column)


@lru_cache
def tables_of(using: str) -> Tables:
    """Return the tables of the database with this alias."""
    return Tables(using)
