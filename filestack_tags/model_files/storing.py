"""Files of host models: record them when a row is saved, then store, register and tag them.

A row's file is *noted* in the transaction that saves the row, so both are committed or neither. A
task then stores the file at Filestack, or refers to it by its storage alias, registers it as an
asset and queues that for tagging; then the row refers to the asset. After a crash the lease
expires, and the file is due again.

Rows are locked in one order: the host's row → the model file → the asset.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from mimetypes import guess_type
from pathlib import PurePath
from typing import Any, cast

from django.apps import apps
from django.db import models
from django.db.models import F
from django.utils import timezone

from filestack_tags.assets import registry
from filestack_tags.assets.registry import Facts
from filestack_tags.concurrency.backoff import backoff
from filestack_tags.conf import get_settings
from filestack_tags.db.transactions import alias, atomic, locked, retry_on_deadlock
from filestack_tags.error_codes import ErrorCode
from filestack_tags.exceptions import (
    ConfigurationError,
    FilestackTagsError,
    InvalidReference,
    TaggerError,
)
from filestack_tags.fields import AssetOf
from filestack_tags.filestack.sources import Source
from filestack_tags.models import LeaseLost, ModelFile, TaggingRun
from filestack_tags.tagging import queue

logger = logging.getLogger(__name__)

BATCH_SIZE = 500
"""Host rows that are read together."""


@dataclass(frozen=True)
class Stored:
    """The result for one file; ``to_tag`` are assets whose tagging task should be enqueued."""

    state: str
    to_tag: tuple[int, ...] = ()
    retry_at: datetime | None = None


@dataclass(frozen=True)
class _Offer:
    """What to register for a file; ``handle`` is set if it was newly stored at Filestack."""

    source: Source
    facts: Facts
    sha256: str = ""
    handle: str = ""


class _Skipped(Exception):
    """A file that should not be tagged; the message says why."""


def label_of(field: AssetOf) -> str:
    """Return the name of a field in :attr:`ModelFile.field`."""
    return f"{field.model._meta.label_lower}.{field.name}"


def all_fields() -> list[AssetOf]:
    """Return the ``AssetOf`` fields of all models, each once."""
    return [
        field
        for model in apps.get_models()
        for field in model._meta.local_fields
        if isinstance(field, AssetOf) and not model._meta.proxy
    ]


@retry_on_deadlock
def record_file(field: AssetOf, row_id: Any, name: str, *, is_new: bool = False) -> bool:
    """Note the file that a row has now; return whether there is work to do for it.

    Call it in the transaction that saves the row. A file that was replaced or removed loses its
    asset at once.

    Args:
        field: the row's ``AssetOf`` field.
        row_id: the primary key of the row.
        name: of the file; empty when the row has none.
        is_new: whether the bytes are new although the name may be the same.
    """
    rows = ModelFile.objects.using(alias()).filter(field=label_of(field), row=str(row_id))
    entry = rows.first()
    if not name:
        return entry is not None and _drop(field, entry.pk)
    if entry is not None and entry.name == name and not is_new:
        return False
    with atomic():
        _hold(field, row_id)
        entry, created = ModelFile.objects.using(alias()).get_or_create(
            field=label_of(field), row=str(row_id), defaults={"name": name}
        )
        if not created:
            ModelFile.objects.using(alias()).filter(pk=entry.pk).update(
                name=name,
                version=F("version") + 1,
                state=ModelFile.State.WAITING,
                due_at=timezone.now(),
                attempts=0,
                error="",
                error_code="",
                updated_at=timezone.now(),
            )
            _link(field, row_id, None)
    return True


def row_deleted(field: AssetOf, row_id: Any) -> None:
    """Archive the asset of a deleted row, if its field says so."""
    rows = ModelFile.objects.using(alias()).filter(field=label_of(field), row=str(row_id))
    for pk in rows.values_list("pk", flat=True):
        _drop(field, pk)


def sync(
    field: AssetOf, rows: Collection[tuple[Any, str]], without_row: Collection[int]
) -> int:
    """Note the changes that :func:`changes` found; return how many files there is work for."""
    for pk in without_row:
        _drop(field, pk)
    return sum(record_file(field, row_id, name) and bool(name) for row_id, name in rows)


def retry(entry_ids: Iterable[int]) -> int:
    """Retry files that failed or were left out; return how many there were."""
    closed = ModelFile.objects.exclude(state=ModelFile.State.REGISTERED)
    return len(closed.reopen(entry_ids))


def due(limit: int = 16) -> list[int]:
    """Return files that are due, the oldest first."""
    return list(ModelFile.objects.due().values_list("pk", flat=True)[:limit])


def changes(field: AssetOf) -> Iterator[tuple[list[tuple[Any, str]], list[int]]]:
    """Yield rows that were saved or deleted without a signal, a few hundred at a time.

    These are ``(primary key, file)`` of host rows to note, and the ids of model files whose row no
    longer exists.
    """
    entries = ModelFile.objects.using(alias()).filter(field=label_of(field))
    rows = field.model._base_manager.using(alias()).order_by("pk")
    last: Any = None
    while found := list(
        (rows if last is None else rows.filter(pk__gt=last)).values_list("pk", field.file)[
            :BATCH_SIZE
        ]
    ):
        last = found[-1][0]
        names = dict(
            entries.filter(row__in=[str(pk) for pk, _ in found]).values_list("row", "name")
        )
        yield [(pk, str(n or "")) for pk, n in found if names.get(str(pk), "") != (n or "")], []
    position = 0
    while current := list(
        entries.filter(pk__gt=position).order_by("pk").values_list("pk", "row")[:BATCH_SIZE]
    ):
        position = current[-1][0]
        ids = {pk: _row_id(field, row) for pk, row in current}
        there = set(rows.filter(pk__in=[*ids.values()]).values_list("pk", flat=True))
        yield [], [pk for pk, row_id in ids.items() if row_id not in there]


def store(entry_id: int) -> Stored:
    """Register one noted file as an asset, and queue that for tagging.

    Idempotent: a file that is not due, or that another process has leased, is left alone. Never
    raises because of a storage or Filestack: the error is saved on the model file.
    """
    settings = get_settings()
    leased = ModelFile.objects.acquire(
        [entry_id], seconds=settings.LEASE_SECONDS, max_attempts=settings.MAX_ATTEMPTS
    )
    if not leased:
        return Stored("not_due")
    (entry,) = leased
    offer: _Offer | None = None
    try:
        field = _field(entry.field)
        offer = _offer(field, entry)
        return _link_asset(field, entry, offer) or _discard(entry, offer)
    except _Skipped as skipped:
        text = str(skipped)
        return _save(entry, lambda: entry.close(ModelFile.State.SKIPPED, text))
    except Exception as error:  # noqa: BLE001  # storages raise their library's exceptions
        return _failed(entry, error)


def _offer(field: AssetOf, entry: ModelFile) -> _Offer:
    """Return what to register the file as; stores it at Filestack if necessary."""
    mimetype = guess_type(entry.name, strict=False)[0] or ""
    if not queue.is_tagged_type(mimetype):
        raise _Skipped(f"Files of type {mimetype} are not tagged: see AUTO_TAG_MIMETYPES.")
    filename = PurePath(entry.name).name
    facts = Facts(filename=filename, mimetype=mimetype or None)
    if field.alias:
        return _Offer(Source.alias(field.alias, entry.name), facts)
    data = _read(field, entry.name)
    sha256 = hashlib.sha256(data).hexdigest()
    facts = Facts(filename, mimetype or None, size=len(data), sha256=sha256)
    if entry.asset is not None and not entry.asset.deleted_at and entry.sha256 == sha256:
        source = Source.of(entry.asset.kind, entry.asset.reference)
        return _Offer(source, facts, sha256)
    from filestack_tags.filestack.shared_client import shared_client  # loads the HTTP client

    stored = shared_client().store_bytes(
        data, filename=filename, mimetype=mimetype or "application/octet-stream"
    )
    return _Offer(Source.handle(stored.handle), facts, sha256, stored.handle)


def _read(field: AssetOf, name: str) -> bytes:
    file_field = cast("models.FileField", field.model._meta.get_field(field.file))
    with file_field.storage.open(name) as file:
        data = bytes(file.read(field.max_size + 1))
    if len(data) > field.max_size:
        raise TaggerError(
            f"The file is larger than {field.max_size} bytes.",
            code=ErrorCode.FILE_TOO_LARGE,
            fix="Raise max_size of the AssetOf field, or save a smaller file.",
        )
    if not data:
        raise TaggerError("The file is empty.")
    return data


@retry_on_deadlock
def _link_asset(field: AssetOf, entry: ModelFile, offer: _Offer) -> Stored | None:
    """Set the row's asset; return None if the row or its file changed in the meantime."""
    row_id = _row_id(field, entry.row)
    with atomic():
        row = locked(field.model._base_manager.filter(pk=row_id)).first()
        current = locked(ModelFile.objects.filter(pk=entry.pk)).first()
        if current is None:
            return None
        if row is None:
            _drop(field, current.pk)
            return None
        if (current.state, current.attempts, current.due_at) != entry.lease:
            return None  # the file changed, or the lease expired
        name = str(getattr(row, field.file) or "")
        if name != current.name:  # with update(), which sends no signals
            record_file(field, row_id, name)
            return None
        asset, created = registry.register(offer.source, facts=offer.facts)
        if field.alias and not created and current.version > 1:
            registry.content_changed(asset.pk, facts=offer.facts, at=timezone.now())
        _link(field, row_id, asset.pk)
        before, current.asset = current.asset_id, asset
        current.sha256 = offer.sha256
        current.close(ModelFile.State.REGISTERED)
        current.save(using=alias())
        if before not in (None, asset.pk):
            _let_go(field, before)
        asset.refresh_from_db(using=alias())
        asset_ids = [asset.pk] if queue.wants_tagging(asset) else []
        to_tag = queue.request(asset_ids, trigger=TaggingRun.Trigger.UPLOAD)
    return Stored(current.state, tuple(to_tag))


def _discard(entry: ModelFile, offer: _Offer) -> Stored:
    """Delete the stored copy for a row that was deleted or has another file now."""
    if offer.handle:
        from filestack_tags.filestack.shared_client import shared_client

        try:
            shared_client().delete(offer.handle)
        except FilestackTagsError as error:
            logger.warning(
                "The file of %s was replaced meanwhile; its copy at Filestack stays: %s",
                entry,
                error,
            )
    return Stored("changed")


def _failed(entry: ModelFile, error: Exception) -> Stored:
    """Record why a file could not be stored, and when to retry if that can help."""
    settings = get_settings()
    if isinstance(error, FilestackTagsError):
        text = str(error)
    elif isinstance(error, FileNotFoundError):
        text = f"The storage has no file {entry.name}."
    else:
        logger.error("The file of %s could not be read", entry, exc_info=error)
        text = f"The storage raised {type(error).__name__}; see the log."
    code = error.code if isinstance(error, TaggerError) else ""
    is_final = isinstance(error, (TaggerError, InvalidReference))
    is_over = is_final and not getattr(error, "retryable", False)
    if is_over or entry.attempts >= settings.MAX_ATTEMPTS:
        return _save(entry, lambda: entry.close(ModelFile.State.FAILED, text, code))
    delay = backoff(entry.attempts, base=settings.RETRY_DELAY, longest=settings.RETRY_DELAY_MAX)
    return _save(entry, lambda: entry.retry(delay, text, code))


@retry_on_deadlock
def _save(entry: ModelFile, change: Callable[[], None]) -> Stored:
    """Change and save a file's entry, unless it changed or another process leased it meanwhile."""
    try:
        with atomic():
            ModelFile.objects.lock_leased([entry])
            change()
            entry.save(using=alias(), update_fields=(*ModelFile.LEASE_FIELDS, "updated_at"))
    except LeaseLost:
        return Stored("changed")
    return Stored(entry.state, retry_at=entry.due_at)


@retry_on_deadlock
def _drop(field: AssetOf, entry_id: int) -> bool:
    entry = ModelFile.objects.using(alias()).filter(pk=entry_id).first()
    if entry is None:
        return False
    with atomic():
        _hold(field, _row_id(field, entry.row))
        entry = locked(ModelFile.objects.filter(pk=entry_id)).first()
        if entry is None:
            return False
        _link(field, _row_id(field, entry.row), None)
        ModelFile.objects.using(alias()).filter(pk=entry_id).delete()
        if entry.asset_id is not None:
            _let_go(field, entry.asset_id)
    return True


def _let_go(field: AssetOf, asset_id: int | None) -> None:
    """Archive an asset that no row refers to any more."""
    still = ModelFile.objects.using(alias()).filter(asset=asset_id)
    if asset_id is not None and field.archive and not still.exists():
        registry.archive(asset_id)


def _hold(field: AssetOf, row_id: Any) -> None:
    """Lock the host's row, if it exists: it comes before its model file and its asset."""
    locked(field.model._base_manager.filter(pk=row_id)).only("pk").first()


def _link(field: AssetOf, row_id: Any, asset_id: int | None) -> None:
    rows = field.model._base_manager.using(alias()).filter(pk=row_id)
    rows.update(**{field.attname: asset_id})


def _field(label: str) -> AssetOf:
    """Return the field with that label.

    Raises:
        ConfigurationError: when no host model has one.
    """
    for field in all_fields():
        if label_of(field) == label:
            return field
    raise ConfigurationError(f"No model has the AssetOf field {label} any more.")


def _row_id(field: AssetOf, text: str) -> Any:
    key = field.model._meta.pk
    return key.to_python(text) if key is not None else text
