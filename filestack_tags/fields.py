"""Fields: text that compares byte by byte, and the asset of a file in a host project's model."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from django.apps import apps
from django.core import checks
from django.core.exceptions import FieldDoesNotExist
from django.db import models, router
from django.db.backends.base.base import BaseDatabaseWrapper

if TYPE_CHECKING:
    from django.core.files.storage import Storage

    from .models import Asset

    _ForeignKeyToAsset: TypeAlias = models.ForeignKey[Asset | None, Asset | None]
else:
    _ForeignKeyToAsset = models.ForeignKey


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


class AssetOf(_ForeignKeyToAsset):
    """The asset of a file that a host project's model keeps in a ``FileField`` or ``ImageField``.

    ::

        class Photo(models.Model):
            file = models.ImageField(upload_to="photos/")
            asset = AssetOf("file")

    A nullable foreign key that only this app writes. Once a row with a file is committed, a task
    registers the file and queues it for tagging, and then sets the key to its asset. Until then,
    and while a changed file waits, it is null. ``save()`` does not write the column, so that a row
    that was loaded earlier cannot remove the asset.

    Args:
        file: the name of the ``FileField``.
        alias: the name under which Filestack reads the field's storage. Without one, a copy of each
            file is stored at Filestack. The tagger ``local`` reads the storage itself.
        archive: whether to archive the asset of a file that was deleted or replaced. Its tags and
            decisions are kept.
        max_size: bytes; a larger file is not stored at Filestack.
        options: ``related_name``, ``related_query_name``, ``verbose_name``, ``help_text``,
            ``db_index``, ``db_column`` of a foreign key.
    """

    def __init__(
        self,
        file: str,
        *,
        alias: str = "",
        archive: bool = True,
        max_size: int = 100 * 1024 * 1024,
        **options: Any,
    ) -> None:
        self.file = file
        self.alias = alias
        self.archive = archive
        self.max_size = max_size
        fixed = {"on_delete": models.SET_NULL, "null": True, "blank": True, "editable": False}
        super().__init__("filestack_tags.Asset", **{**options, **fixed})

    def deconstruct(self) -> Any:
        """Return a plain foreign key, so that the host's migrations do not need this package."""
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.ForeignKey", args, kwargs

    def clone(self) -> Any:
        """Return the field as migrations see it."""
        _name, _path, args, kwargs = self.deconstruct()
        return models.ForeignKey(*args, **kwargs)

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        """Leave the column of an existing row unchanged in ``save()``."""
        return super().pre_save(model_instance, add) if add else models.F(self.attname)

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        """Check that the file is a field of the same model and the asset in the same database."""
        return [*super().check(**kwargs), *self._check_file(), *self._check_database()]

    def _check_file(self) -> list[checks.CheckMessage]:
        with suppress(FieldDoesNotExist):
            if isinstance(self.model._meta.get_field(self.file), models.FileField):
                return []
        return [
            checks.Error(
                f"AssetOf({self.file!r}) names no FileField or ImageField of "
                f"{self.model._meta.label}.",
                hint="Write the name of the field that holds the file.",
                obj=self,
                id="filestack_tags.E060",
            )
        ]

    def _check_database(self) -> list[checks.CheckMessage]:
        ours = router.db_for_write(self.remote_field.model)
        theirs = router.db_for_write(self.model)
        if ours == theirs:
            return []
        return [
            checks.Error(
                f"{self.model._meta.label} is kept in the database {theirs!r}, assets in "
                f"{ours!r}: a file and its asset would not be saved together.",
                hint="Route both to one database, or register the files with tasks.register().",
                obj=self,
                id="filestack_tags.E061",
            )
        ]


def asset_fields(model: type[models.Model]) -> list[AssetOf]:
    """Return the :class:`AssetOf` fields of a model, including inherited ones."""
    return [field for field in model._meta.concrete_fields if isinstance(field, AssetOf)]


def storage_of(alias: str) -> Storage | None:
    """Return the storage of the :class:`AssetOf` field that has this ``alias``."""
    for model in apps.get_models():
        for field in asset_fields(model):
            if field.alias == alias:
                file = model._meta.get_field(field.file)
                return cast("models.FileField", file).storage
    return None
