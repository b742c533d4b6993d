"""Assets: register, refresh and archive files. The only module that writes facts about a file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError
from django.db.models import CharField, Count, Q, QuerySet
from django.utils import timezone

from filestack_tags.db.bulk_statements import among, update_rows
from filestack_tags.db.datetimes import to_database_time
from filestack_tags.db.text import reference_digest, sanitize_json, sanitize_text
from filestack_tags.db.transactions import alias, atomic, locked, on_commit, retry_on_deadlock
from filestack_tags.exceptions import OutOfScope
from filestack_tags.filestack.sources import Source
from filestack_tags.models import Asset, AssetTag, score_in_sql
from filestack_tags.signals import asset_registered

from . import tags
from .lookup import asset_id_of

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

SHA256 = re.compile(r"[0-9A-Fa-f]{64}")
EVENT_TIME_PRECISION = timedelta(seconds=1)
"""Filestack reports uploads, overwrites and deletions in whole seconds."""

TRIES = 3
"""How often to look up assets: another process may register a file in between."""

MAX_SIZE = 2**63 - 1
MAX_DIMENSION = 2**31 - 1
MAX_LENGTHS = {
    field.name: field.max_length
    for field in Asset._meta.concrete_fields
    if isinstance(field, CharField)
}


@dataclass(frozen=True)
class Facts:
    """Facts about a file. ``None`` means "not stated" and changes nothing."""

    filename: str | None = None
    mimetype: str | None = None
    size: int | None = None
    """Bytes."""
    width: int | None = None
    """Pixels."""
    height: int | None = None
    sha256: str | None = None
    """SHA-256 of the bytes, in hex. Files with the same digest are tagged with one call."""
    container: str | None = None
    key: str | None = None
    store_status: str | None = None
    """``Stored``, or another status that Filestack reports (docs: Webhooks, ``fp.upload``)."""
    upload_tags: Mapping[str, Any] | None = None

    def columns(self) -> dict[str, Any]:
        """Return the stated facts, adjusted to fit their columns.

        Over-long text is truncated and impossible numbers are dropped, so that a file with such a
        value can still be tagged.
        """
        columns: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if value is None:
                continue
            if item.name == "sha256":
                if not SHA256.fullmatch(value):
                    continue
                value = value.lower()
            elif isinstance(value, str):
                value = sanitize_text(value, MAX_LENGTHS[item.name])
                # Media types are case-insensitive (RFC 2045, section 5.1).
                value = value.lower() if item.name == "mimetype" else value
            elif isinstance(value, Mapping):
                value = sanitize_json(value)
            elif not 0 <= value <= (MAX_SIZE if item.name == "size" else MAX_DIMENSION):
                continue
            columns[item.name] = value
        return columns


@retry_on_deadlock
def register(
    source: Source,
    *,
    facts: Facts | None = None,
    uploader: AbstractBaseUser | None = None,
    at: datetime | None = None,
    within: Q | None = None,
) -> tuple[Asset, bool]:
    """Register a file; return ``(asset, created)``.

    Idempotent, also when two processes register the same file at the same time. An existing asset
    is refreshed with ``facts``. An archived asset is restored, unless ``at`` is not after its
    deletion. Nothing is enqueued: see :func:`filestack_tags.tasks.register` for that.

    Args:
        source: the file.
        facts: what is known about it.
        uploader: the user who uploaded it; the first registration that names one wins.
        at: when the facts were true (aware datetime); defaults to now. Older facts only fill empty
            values.
        within: the scope of the user who registers it; see :mod:`.visibility`.

    Raises:
        OutOfScope: when the asset is not in ``within``, or would not be afterwards. Nothing was
            changed; new and existing files are refused alike.
    """
    moment = to_database_time(at) if at else timezone.now()
    columns = (facts or Facts()).columns()
    with atomic():
        asset, created = Asset.objects.using(alias()).get_or_create(
            digest=reference_digest(source.kind, source.reference),
            defaults={  # type: ignore[misc]  # any host's user model
                "kind": source.kind,
                "reference": source.reference,
                "uploader": uploader,
                "uploaded_at": moment,
                "facts_at": moment,
                **columns,
            },
        )
        if created:
            _require_within(asset, within)
            on_commit(partial(asset_registered.send_robust, sender=Asset, asset=asset))
            return asset, True
        asset = _lock(asset.pk)
        _require_within(asset, within)
        refresh(asset, columns, moment)
        if asset.uploader_id is None and uploader is not None:
            asset.uploader = uploader  # type: ignore[assignment]  # the host's user model
        returned = show(asset, at)
        asset.save(using=alias())
        if returned:
            rescore(shown=[asset.pk])
        _require_within(asset, within)
    return asset, False


def lock_or_insert(
    new: Mapping[str, Asset | None], *, also: Collection[int] = ()
) -> dict[str, Asset]:
    """Lock the assets of some files in the order of their ids, or insert them.

    Call it in a transaction.

    Args:
        new: by digest, the asset to insert if the file has none; None inserts nothing.
        also: ids of other assets to lock.

    Returns:
        The assets by digest.

    Raises:
        RuntimeError: when other processes keep registering or deleting the same files.
    """
    for _ in range(TRIES):
        rows = Asset.objects.using(alias()).filter(digest__in=sorted(new))
        ids = dict(rows.values_list("digest", "pk")) if new else {}
        missing = [
            asset for digest, asset in sorted(new.items()) if asset and digest not in ids
        ]
        if missing and not _insert(missing):
            continue
        pks = sorted({*ids.values(), *also})
        existing = locked(Asset.objects.filter(pk__in=pks)).order_by("pk") if pks else ()
        assets = {asset.digest: asset for asset in [*missing, *existing]}
        if ids.keys() <= assets.keys():
            return assets
    raise RuntimeError("Other processes are registering or deleting the same files.")


def _insert(assets: Sequence[Asset]) -> bool:
    """Insert new assets, all or none; return False if one of the files has an asset already."""
    try:
        with atomic():
            Asset.objects.using(alias()).bulk_create(assets)
    except IntegrityError:
        return False
    for asset in assets:
        on_commit(partial(asset_registered.send_robust, sender=Asset, asset=asset))
    return True


def refresh_all(files: Sequence[tuple[Asset, datetime]]) -> None:
    """Record that locked files existed at a time; restore archived ones. Saves them."""
    shown = []
    for asset, at in files:
        refresh(asset, {}, at)
        if show(asset, at):
            shown.append(asset.pk)
    if files:
        columns = ("facts_at", "deleted_at")
        Asset.objects.using(alias()).bulk_update([asset for asset, _ in files], columns)
    rescore(shown=shown)


def describe(asset_ids: Collection[int]) -> int:
    """Fetch the metadata of stored files whose SHA-256 is unknown; return how many were described.

    Files without metadata stay as they are. Makes no tagging call.
    """
    from filestack_tags.filestack.shared_client import (
        metadata_of,  # loads the HTTP client, which few processes need
    )

    unknown = Asset.objects.using(alias()).filter(
        pk__in=sorted(asset_ids), kind=Asset.Kind.HANDLE, sha256=None, deleted_at=None
    )
    moment = timezone.now()
    handles = dict(unknown.values_list("reference", "pk"))
    found = metadata_of([*handles])
    for handle, metadata in sorted(found.items(), key=lambda item: handles[item[0]]):
        facts = Facts(
            filename=metadata.filename or None,
            mimetype=metadata.mimetype or None,
            size=metadata.size,
            width=metadata.width,
            height=metadata.height,
            sha256=metadata.sha256 or None,
            container=metadata.container or None,
            key=metadata.key or None,
        )
        _learn(handles[handle], facts, moment)
    return len(found)


@retry_on_deadlock
def _learn(asset_id: int, facts: Facts, moment: datetime) -> None:
    with atomic():
        asset = _lock(asset_id)
        if asset.content_changed_at and asset.content_changed_at > moment:
            return  # the metadata may describe the file before it changed
        refresh(asset, facts.columns(), moment)
        asset.save(using=alias())


@retry_on_deadlock
def amend(asset_id: int, facts: Facts, *, within: Q | None = None) -> None:
    """Overwrite facts with those a user stated; later events replace them. Idempotent.

    Args:
        asset_id: the asset.
        facts: the new facts; ``upload_tags`` are replaced as a whole.
        within: the scope of the user; see :mod:`.visibility`.

    Raises:
        Asset.DoesNotExist: when there is no such asset.
        OutOfScope: when the asset is not in ``within``, or would not be afterwards.
    """
    with atomic():
        asset = _lock(asset_id)
        _require_within(asset, within)
        refresh(asset, facts.columns(), timezone.now())
        asset.save(using=alias())
        _require_within(asset, within)


@retry_on_deadlock
def content_changed(asset_id: int, *, facts: Facts, at: datetime) -> bool:
    """Record that the file behind a handle was overwritten; see :func:`change_content`."""
    with atomic():
        asset = _lock(asset_id)
        if not change_content(asset, facts.columns(), to_database_time(at)):
            return False
        asset.save(using=alias())
    return True


@retry_on_deadlock
def archive(asset: Asset | int, *, at: datetime | None = None) -> bool:
    """Archive an asset (or the one with this id), which hides it from every search.

    Its tags and every decision about them are kept, and :func:`restore` brings them back. Returns
    whether it was visible. Idempotent.
    """
    with atomic():
        asset = _lock(asset_id_of(asset))
        if not hide(asset, to_database_time(at) if at else timezone.now()):
            return False
        asset.save(using=alias())
        rescore(hidden=[asset.pk])
    return True


@retry_on_deadlock
def restore(asset: Asset | int) -> bool:
    """Restore an archived asset (or the one with this id). Idempotent.

    Returns whether it was archived.
    """
    with atomic():
        asset = _lock(asset_id_of(asset))
        if not show(asset):
            return False
        asset.save(using=alias())
        rescore(shown=[asset.pk])
    return True


def archive_many(asset_ids: Collection[int]) -> set[int]:
    """Archive a few hundred assets in one transaction; return those that were visible."""
    return _present_or_not(asset_ids, deleted_at=timezone.now())


def restore_many(asset_ids: Collection[int]) -> set[int]:
    """Restore a few hundred assets in one transaction; return those that were archived."""
    return _present_or_not(asset_ids, deleted_at=None)


@retry_on_deadlock
def _present_or_not(asset_ids: Collection[int], *, deleted_at: datetime | None) -> set[int]:
    with atomic():
        rows = locked(Asset.objects.filter(among("pk", asset_ids))).order_by("pk")
        rows = rows.only("deleted_at", "tags_version", "content_version")
        changed = [
            asset for asset in rows if (hide(asset, deleted_at) if deleted_at else show(asset))
        ]
        ids = {asset.pk for asset in changed}
        if not ids:
            return ids
        now = timezone.now()
        for asset in changed:
            asset.updated_at = now
        written = ("tagging_state", "due_at") if deleted_at else ()
        update_rows(changed, ("deleted_at", "updated_at", *written))
        rescore(hidden=ids) if deleted_at else rescore(shown=ids)
    return ids


def idle_state(asset: Asset) -> str:
    """Return the state of an asset that is not being tagged, derived from its tags."""
    if not asset.tags_version:
        return Asset.State.NEW
    return Asset.State.STALE if asset.tags_are_stale else Asset.State.TAGGED


def _lock(asset_id: int) -> Asset:
    return locked(Asset.objects.filter(pk=asset_id)).get()


def _require_within(asset: Asset, scope: Q | None) -> None:
    seen = Asset.objects.using(alias()).within(scope)
    if scope is not None and not seen.filter(pk=asset.pk).exists():
        raise OutOfScope("This file is not among those that you may register.")


def refresh(asset: Asset, facts: Mapping[str, Any], at: datetime) -> None:
    """Update an asset's facts as of a time; older facts only fill empty values.

    Like the functions below, but expects a locked or unsaved asset and does not save it.
    """
    newer = asset.facts_at is None or at >= asset.facts_at
    for name, value in facts.items():
        if newer or getattr(asset, name) in ("", None, {}):
            setattr(asset, name, value)
    if newer:
        asset.facts_at = at


def change_content(asset: Asset, facts: Mapping[str, Any], at: datetime) -> bool:
    """Record that the asset's file was overwritten; return whether the event is new.

    The existing tags then describe an earlier content. They stay, marked stale, until new ones
    arrive. An event older than the last known change is ignored.
    """
    if asset.content_changed_at and at < asset.content_changed_at:
        return False
    asset.sha256 = None
    refresh(asset, facts, at)
    asset.content_version += 1
    asset.content_changed_at = at
    asset.tagging_state = idle_state(asset)
    asset.due_at = None
    return True


def queue(
    asset: Asset, trigger: str, tagger: str = "", *, fresh_since: datetime | None = None
) -> None:
    """Queue the asset for ``tagger``; replies from before ``fresh_since`` will not be used."""
    asset.tagging_state = Asset.State.QUEUED
    asset.queued_by, asset.queued_for = trigger, tagger
    asset.fresh_since = fresh_since
    asset.attempts = 0
    asset.due_at = asset.updated_at = timezone.now()


def hide(asset: Asset, at: datetime) -> bool:
    """Archive the asset; return whether it was visible. Call :func:`rescore` afterwards."""
    if asset.deleted_at:
        return False
    asset.deleted_at = at
    asset.tagging_state = idle_state(asset)
    asset.due_at = None
    return True


def show(asset: Asset, at: datetime | None = None) -> bool:
    """Undo :func:`hide` because of an event at a time; return whether anything was undone.

    Filestack never reuses a handle, so an event in the same second as the deletion came before it.
    """
    if not asset.deleted_at or (
        at and to_database_time(at) < asset.deleted_at + EVENT_TIME_PRECISION
    ):
        return False
    asset.deleted_at = None
    return True


def rescore(*, hidden: Collection[int] = (), shown: Collection[int] = ()) -> None:
    """Remove the tags of hidden assets from all searches, put back those of shown ones, and count.

    Call it in the transaction that holds the assets' locks, after the assets are written.
    """
    counts: Counter[int] = Counter()
    of_both: list[tuple[QuerySet[AssetTag], bool]] = []
    for ids, archived in ((hidden, True), (shown, False)):
        if ids:
            rows = AssetTag.objects.using(alias()).filter(among("asset_id", ids))
            rows = rows.exclude(decision=AssetTag.Decision.REJECTED)
            of_both.append((rows, archived))
            of_tags = rows.order_by().values_list("tag_id").annotate(Count("asset_id"))
            for tag_id, count in of_tags:
                counts[tag_id] += -count if archived else count
    tags.lock(counts)
    for rows, archived in of_both:
        rows.update(score=score_in_sql(archived=archived))
    tags.adjust_counts(counts)
