"""The quoted names of tables and columns in one database."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections

from filestack_tags.models import Asset, AssetTag, Tag, TagAlias, TaggingRun, TagStatistic


class Tables:
    """Quoted names of the tables of one database."""

    def __init__(self, using: str) -> None:
        self._quote = quote = connections[using].ops.quote_name
        self.asset = quote(Asset._meta.db_table)
        self.asset_tag = quote(AssetTag._meta.db_table)
        self.tag = quote(Tag._meta.db_table)
        self.alias = quote(TagAlias._meta.db_table)
        self.run = quote(TaggingRun._meta.db_table)
        self.statistic = quote(TagStatistic._meta.db_table)

    @property
    def user(self) -> tuple[str, str, str]:
        """Table, key column and name column of the user model."""
        model: Any = get_user_model()
        name = model._meta.get_field(model.USERNAME_FIELD)
        meta, quote = name.model._meta, self._quote
        return quote(meta.db_table), quote(meta.pk.column), quote(name.column)
