"""Signal handlers for rows of host models that hold a file.

Django sends signals for ``save()``, ``create()``, ``delete()`` and ``QuerySet.delete()``. Changes
by ``bulk_create()``, ``update()`` and SQL are found by ``filestack_tags_sync_model_files``.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.apps import apps
from django.db.models import Model
from django.db.models.signals import post_delete, post_save, pre_save

from . import tasks
from .db.transactions import alias
from .fields import AssetOf, asset_fields
from .model_files import storing

UPLOADED = "_filestack_tags_uploaded"
"""Attribute of a row while it is saved: the ``AssetOf`` fields whose file is new."""


def follow() -> None:
    """Connect the signals of every model that has an ``AssetOf`` field."""
    for model in apps.get_models():
        if asset_fields(model):
            name = f"filestack_tags.{model._meta.label_lower}"
            pre_save.connect(_saving, sender=model, dispatch_uid=f"{name}.saving")
            post_save.connect(_saved, sender=model, dispatch_uid=f"{name}.saved")
            post_delete.connect(_deleted, sender=model, dispatch_uid=f"{name}.deleted")


def _saving(*, instance: Model, **kwargs: Any) -> None:
    """Record which files ``save()`` is about to store: the same name may get new bytes."""
    files = ((field.name, getattr(instance, field.file)) for field in _fields(instance, kwargs))
    new = {name for name, file in files if file and not file._committed}
    setattr(instance, UPLOADED, new)


def _saved(*, instance: Model, raw: bool, using: str, **kwargs: Any) -> None:
    new = instance.__dict__.pop(UPLOADED, ())
    if raw or using != alias():  # a fixture, or a copy in another database
        return
    for field in _fields(instance, kwargs):
        name = str(getattr(instance, field.file) or "")
        if tasks.record_model_file(
            field, _key(field, instance), name, is_new=field.name in new
        ):
            setattr(instance, field.attname, None)


def _deleted(*, instance: Model, using: str, **kwargs: Any) -> None:
    if using == alias():
        for field in asset_fields(type(instance)):
            storing.row_deleted(field, _key(field, instance))


def _fields(instance: Model, arguments: dict[str, Any]) -> list[AssetOf]:
    """Return the fields whose file is being saved."""
    written: Collection[str] | None = arguments.get("update_fields")
    return [
        field
        for field in asset_fields(type(instance))
        if written is None or field.file in written
    ]


def _key(field: AssetOf, instance: Model) -> Any:
    """Return the primary key of the row that has the column: the parent's if it is inherited."""
    key = field.model._meta.pk
    return getattr(instance, key.attname if key is not None else "pk")
