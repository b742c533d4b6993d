"""Assets: register, refresh and forget files. The only writer of what is known about a file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from django.db.models import CharField, Q, QuerySet
from django.utils import timezone

from . import tags
from .clock import kept
from .exceptions import OutOfScope
from .filestack.sources import Source
from .models import Asset, AssetTag, score_in_sql
from .rowsets import update
from .signals import asset_registered
from .text import reference_digest, storable, storable_json
from .transactions import alias, atomic, locked, on_commit, retrying

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

SHA256 = re.compile(r"[0-9A-Fa-f]{64}")
TOLD_BY_THE = timedelta(seconds=1)
"""Filestack tells of uploads, overwrites and deletions in whole seconds."""

MAX_SIZE = 2**63 - 1
MAX_DIMENSION = 2**31 - 1
MAX_LENGTHS = {
    field.name: field.max_length
    for field in Asset._meta.concrete_fields
    if isinstance(field, CharField)
}


@dataclass(frozen=True)
class Facts:
    """What is known about a file. ``None`` means "not said", and changes nothing."""

    filename: str | None = None
    mimetype: str | None = None
    size: int | None = None
    """Bytes."""
    width: int | None = None
    """Pixels."""
    height: int | None = None
    sha256: str | None = None
    """Digest of the bytes, in hex. Files with the same one are tagged by one call."""
    container: str | None = None
    key: str | None = None
    store_status: str | None = None
    """``Stored``, or what else Filestack says (docs: Webhooks, ``fp.upload``)."""
    upload_tags: Mapping[str, Any] | None = None

    def columns(self) -> dict[str, Any]:
        """Return the facts that are said, made fit for their columns.

        Over-long text is cut, numbers no file can have are left out: a name too long must not
        keep a file from being tagged.
        """
        said: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if value is None:
                continue
            if item.name == "sha256":
                if not SHA256.fullmatch(value):
                    continue
                value = value.lower()
            elif isinstance(value, str):
                value = storable(value, MAX_LENGTHS[item.name])
                # A type means the same in capitals (RFC 2045, section 5.1).
                value = value.lower() if item.name == "mimetype" else value
            elif isinstance(value, Mapping):
                value = storable_json(value)
            elif not 0 <= value <= (MAX_SIZE if item.name == "size" else MAX_DIMENSION):
                continue
            said[item.name] = value
        return said


@retrying
def register(
    source: Source,
    *,
    facts: Facts | None = None,
    uploader: AbstractBaseUser | None = None,
    at: datetime | None = None,
    within: Q | None = None,
) -> tuple[Asset, bool]:
    """Make a file known; return ``(asset, created)``.

    Idempotent, also when two processes register the same file at the same moment. An asset that
    exists is refreshed with ``facts``; a forgotten one is restored, unless ``at`` is not after its
    deletion. Nothing is enqueued: see :func:`filestack_tags.tasks.register` for that.

    Args:
        source: the file.
        facts: what is known about it.
        uploader: the user who uploaded it; kept from the first registration that names one.
        at: when the facts were true (aware datetime); now, if not given. Older facts only fill
            what is still unknown.
        within: the scope of who registers it; see :mod:`.scoping`.

    Raises:
        OutOfScope: when the asset is not in ``within``, or would not be afterwards. Nothing was
            changed, and new and known files are refused alike.
    """
    moment = kept(at) if at else timezone.now()
    said = (facts or Facts()).columns()
    with atomic():
        asset, created = Asset.objects.using(alias()).get_or_create(
            digest=reference_digest(source.kind, source.reference),
            defaults={  # type: ignore[misc]  # any host's user model
                "kind": source.kind,
                "reference": source.reference,
                "uploader": uploader,
                "uploaded_at": moment,
                "facts_at": moment,
                **said,
            },
        )
        if created:
            _require_within(asset, within)
            on_commit(partial(asset_registered.send_robust, sender=Asset, asset=asset))
            return asset, True
        asset = _lock(asset.pk)
        _require_within(asset, within)
        refresh(asset, said, moment)
        if asset.uploader_id is None and uploader is not None:
            asset.uploader = uploader  # type: ignore[assignment]  # the host's user model
        returned = show(asset, at)
        asset.save(using=alias())
        if returned:
            rescore(shown=[asset.pk])
        _require_within(asset, within)
    return asset, False


def register_new(files: Mapping[str, tuple[Source, datetime]]) -> list[Asset]:
    """Make files known that nobody knows: ``{digest: (source, since when)}``, all or none.

    In a transaction of the caller's.

    Raises:
        IntegrityError: when one of them is known.
    """
    new = [
        Asset(
            kind=source.kind,
            reference=source.reference,
            digest=digest,
            uploaded_at=at,
            facts_at=at,
        )
        for digest, (source, at) in sorted(files.items())
    ]
    made = Asset.objects.using(alias()).bulk_create(new)
    for asset in made:
        on_commit(partial(asset_registered.send_robust, sender=Asset, asset=asset))
    return made


def describe(asset_ids: Collection[int]) -> int:
    """Ask Filestack for the facts of stored files whose SHA-256 is not known; return of how many
    it was told.

    Files that nothing can be said of stay as they are. Makes no call to tag.
    """
    from .taggers.filestack import (
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


@retrying
def _learn(asset_id: int, facts: Facts, moment: datetime) -> None:
    with atomic():
        asset = _lock(asset_id)
        if asset.content_changed_at and asset.content_changed_at > moment:
            return  # the answer may be of what the file was before
        refresh(asset, facts.columns(), moment)
        asset.save(using=alias())


@retrying
def amend(asset_id: int, facts: Facts, *, within: Q | None = None) -> None:
    """Write what a person says of a file over what is known; later news replaces it. Idempotent.

    Args:
        asset_id: the asset.
        facts: what is said; ``upload_tags`` are replaced as a whole.
        within: the scope of who says so; see :mod:`.scoping`.

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


@retrying
def content_changed(asset_id: int, *, facts: Facts, at: datetime) -> bool:
    """Record that the file behind a handle was overwritten; see :func:`change_content`."""
    with atomic():
        asset = _lock(asset_id)
        if not change_content(asset, facts.columns(), kept(at)):
            return False
        asset.save(using=alias())
    return True


@retrying
def forget(asset_id: int, *, at: datetime | None = None) -> bool:
    """Hide an asset from every search; return whether it was there to hide.

    Its tags and every decision about them are kept: :func:`restore` brings all of it back.
    """
    with atomic():
        asset = _lock(asset_id)
        if not hide(asset, kept(at) if at else timezone.now()):
            return False
        asset.save(using=alias())
        rescore(hidden=[asset.pk])
    return True


@retrying
def restore(asset_id: int) -> bool:
    """Undo :func:`forget`; return whether there was anything to undo."""
    with atomic():
        asset = _lock(asset_id)
        if not show(asset):
            return False
        asset.save(using=alias())
        rescore(shown=[asset.pk])
    return True


def forget_many(asset_ids: Collection[int]) -> set[int]:
    """:func:`forget` some hundred assets in one transaction; return those there were to hide."""
    return _present_or_not(asset_ids, deleted_at=timezone.now())


def restore_many(asset_ids: Collection[int]) -> set[int]:
    """:func:`restore` some hundred assets in one transaction; return those that came back."""
    return _present_or_not(asset_ids, deleted_at=None)


@retrying
def _present_or_not(asset_ids: Collection[int], *, deleted_at: datetime | None) -> set[int]:
    with atomic():
        held = locked(Asset.objects.filter(pk__in=sorted(asset_ids))).order_by("pk")
        changed = [
            asset for asset in held if (hide(asset, deleted_at) if deleted_at else show(asset))
        ]
        ids = {asset.pk for asset in changed}
        if not ids:
            return ids
        for asset in changed:
            asset.changed_at = timezone.now()
        columns = ("deleted_at", "changed_at", "tagging_state", "due_at")
        values = attrgetter("pk", *columns)
        update(Asset, columns, [values(asset) for asset in changed])
        rescore(hidden=ids) if deleted_at else rescore(shown=ids)
    return ids


def rest_state(asset: Asset) -> str:
    """Return the state of an asset that nobody is tagging, from the tags that it has."""
    if not asset.tags_version:
        return Asset.State.NEW
    return Asset.State.STALE if asset.tags_are_stale else Asset.State.TAGGED


def _lock(asset_id: int) -> Asset:
    return locked(Asset.objects.filter(pk=asset_id)).get()


def _require_within(asset: Asset, scope: Q | None) -> None:
    seen = Asset.objects.using(alias()).within(scope)
    if scope is not None and not seen.filter(pk=asset.pk).exists():
        raise OutOfScope("This file is not among those that you may register.")


def refresh(asset: Asset, said: Mapping[str, Any], at: datetime) -> None:
    """Have an asset know facts as they were at a time; older ones only fill what is unknown.

    As those that follow, for an asset that is locked or new; nothing is written.
    """
    newer = asset.facts_at is None or at >= asset.facts_at
    for name, value in said.items():
        if newer or getattr(asset, name) in ("", None, {}):
            setattr(asset, name, value)
    if newer:
        asset.facts_at = at


def change_content(asset: Asset, said: Mapping[str, Any], at: datetime) -> bool:
    """Have the asset's file overwritten at a time; return whether that is news.

    The tags then describe an earlier content: they stay, marked stale, until new ones come. An
    event older than the last known change is no news.
    """
    if asset.content_changed_at and at < asset.content_changed_at:
        return False
    asset.sha256 = None
    refresh(asset, said, at)
    asset.content_version += 1
    asset.content_changed_at = at
    asset.tagging_state = rest_state(asset)
    asset.due_at = None
    return True


def queue(
    asset: Asset, trigger: str, tagger: str = "", *, fresh_since: datetime | None = None
) -> None:
    """Queue the asset for ``tagger``; answers from before ``fresh_since`` will not be used."""
    asset.tagging_state = Asset.State.QUEUED
    asset.queued_by, asset.queued_for = trigger, tagger
    asset.fresh_since = fresh_since
    asset.attempts = 0
    asset.due_at = asset.changed_at = timezone.now()


def hide(asset: Asset, at: datetime) -> bool:
    """Have the asset forgotten; return whether it was not. :func:`rescore` is to follow."""
    if asset.deleted_at:
        return False
    asset.deleted_at = at
    asset.tagging_state = rest_state(asset)
    asset.due_at = None
    return True


def show(asset: Asset, at: datetime | None = None) -> bool:
    """Undo :func:`hide`, for what happened at a time; return whether anything was undone.

    No handle comes back: what happened in the second of its deletion was before it.
    """
    if not asset.deleted_at or (at and kept(at) < asset.deleted_at + TOLD_BY_THE):
        return False
    asset.deleted_at = None
    return True


def rescore(*, hidden: Collection[int] = (), shown: Collection[int] = ()) -> None:
    """Take every tag of hidden assets out of all searches, put those of others back, count them.

    In the transaction that holds the assets' locks, once they are written.
    """
    counts: Counter[int] = Counter()
    of_both: list[tuple[QuerySet[AssetTag], bool]] = []
    for ids, forgotten in ((hidden, True), (shown, False)):
        if ids:
            rows = AssetTag.objects.using(alias()).filter(asset__in=ids)
            rows = rows.exclude(decision=AssetTag.Decision.REJECTED)
            of_both.append((rows, forgotten))
            for tag_id in rows.values_list("tag_id", flat=True):
                counts[tag_id] += -1 if forgotten else 1
    tags.hold(counts)
    for rows, forgotten in of_both:
        rows.update(score=score_in_sql(forgotten=forgotten))
    tags.shift_counts(counts)
