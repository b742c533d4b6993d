"""Replace parts of ``db/bulk_statements.py`` by Django's own, to measure what each saves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from django.db import models
from django.db.models import Q

from filestack_tags.assets import registry
from filestack_tags.curation import decision_rows, undoing
from filestack_tags.curation.bulk import actions, batches, exports
from filestack_tags.curation.merging import batches as merging_batches
from filestack_tags.curation.merging import rows as merging_rows

Rows = Sequence[tuple[Any, ...]]
MODULES: tuple[Any, ...] = (
    registry,
    decision_rows,
    undoing,
    exports,
    actions,
    batches,
    merging_batches,
    merging_rows,
)


def replace(name: str) -> None:
    """Replace a function in this process, wherever jobs use it.

    Raises:
        SystemExit: when it is none of :data:`PLAIN`.
    """
    if name not in PLAIN:
        raise SystemExit(f"--without takes one of {', '.join(PLAIN)}, not {name}.")
    for module in MODULES:
        if hasattr(module, name):
            setattr(module, name, PLAIN[name])


def _append_rows(model: type[models.Model], names: Sequence[str], rows: Rows) -> list[Any]:
    created = model._base_manager.bulk_create(_objects(model, names, rows))
    return [item.pk for item in created]


def _insert_rows(model: type[models.Model], names: Sequence[str], rows: Rows) -> None:
    model._base_manager.bulk_create(_objects(model, names, rows))


def _upsert_rows(
    model: type[models.Model], names: Sequence[str], rows: Rows, *, unique: Sequence[str]
) -> None:
    fields = [model._meta.get_field(name).name for name in names if name not in unique]
    model._base_manager.bulk_create(
        _objects(model, names, rows),
        update_conflicts=True,
        update_fields=fields,
        unique_fields=[model._meta.get_field(name).name for name in unique],
    )


def _objects(model: type[models.Model], names: Sequence[str], rows: Rows) -> list[models.Model]:
    return [model(**dict(zip(names, row, strict=True))) for row in rows]


def _among(name: str, ids: Iterable[int]) -> Q:
    return Q(**{f"{name}__in": [*ids]})


def _among_pairs(pairs: Collection[tuple[int, int]]) -> Q:
    asset_ids, tag_ids = ({*ids} for ids in zip(*pairs, strict=True)) if pairs else ((), ())
    return Q(asset_id__in=asset_ids, tag_id__in=tag_ids)


PLAIN: dict[str, Callable[..., Any]] = {
    "append_rows": _append_rows,
    "insert_rows": _insert_rows,
    "upsert_rows": _upsert_rows,
    "among": _among,
    "among_pairs": _among_pairs,
    "batch_size": lambda: 450,
}
