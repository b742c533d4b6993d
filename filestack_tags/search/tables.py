"""The quoted names of tables and columns in one database."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models import Model

from filestack_tags.models import Asset, AssetTag, Tag, TagAlias, TaggingRun, TagStatistic


class Tables:
    """Quoted names of the tables and columns of one database; see :func:`tables_of`."""

    def __init__(self, using: str) -> None:
        self.using = using

    def _table(self, model: type[Model]) -> str:
        return connections[self.using].ops.quote_name(model._meta.db_table)

    @cached_property
    def asset(self) -> str:
        return self._table(Asset)

    @cached_property
    def asset_tag(self) -> str:
        return self._table(AssetTag)

    @cached_property
    def tag(self) -> str:
        return self._table(Tag)

    @cached_property
    def alias(self) -> str:
        return self._table(TagAlias)

    @cached_property
    def run(self) -> str:
        return self._table(TaggingRun)

    @cached_property
    def statistic(self) -> str:
        return self._table(TagStatistic)

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
