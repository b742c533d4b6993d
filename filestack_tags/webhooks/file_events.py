"""Files: apply upload, overwrite and deletion events, for one file or many together.

The effect of each event on its asset is computed in memory, in the order of the events. Then the
assets are written: new ones in one statement, existing ones in another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from operator import attrgetter

from django.db import IntegrityError
from django.utils import timezone

from filestack_tags.assets import registry
from filestack_tags.conf import get_settings
from filestack_tags.db.rowsets import update
from filestack_tags.db.text import reference_digest
from filestack_tags.db.transactions import alias, atomic, locked, on_commit
from filestack_tags.filestack.payloads import Event, FileEvent
from filestack_tags.models import Asset, TaggingRun, WebhookDelivery
from filestack_tags.signals import asset_registered
from filestack_tags.tagging.queue import wants_tagging

from . import event_time
from .event_time import PROCESSED, Handled

TRIES = 3
"""How often to look up the assets: another process may register a file in between."""

WRITTEN = (
    *("filename", "mimetype", "size", "sha256", "container", "key", "store_status"),
    *("upload_tags", "facts_at", "content_version", "content_changed_at", "deleted_at"),
    *("tagging_state", "queued_by", "queued_for", "fresh_since"),
    *("attempts", "due_at", "changed_at"),
)
"""The columns of an existing asset that events may change."""


@dataclass(frozen=True)
class Told:
    """A delivery about one file, and when its event happened."""

    delivery: WebhookDelivery
    action: str
    file: FileEvent
    at: datetime

    @property
    def facts(self) -> registry.Facts:
        file = self.file
        return registry.Facts(
            filename=file.filename or None,
            mimetype=file.mimetype or None,
            size=file.size,
            container=file.container or None,
            key=file.key or None,
            store_status=file.status or None,
            upload_tags=file.upload_tags or None,
        )


def told(delivery: WebhookDelivery, event: Event) -> Told:
    """Return the file event of a delivery whose action is one of :data:`EFFECTS`.

    Raises:
        PayloadError: when it names no file.
    """
    return Told(delivery, event.action, event.file(), event_time.moment(event, delivery))


def apply_all(those: Iterable[Told]) -> dict[int, Handled]:
    """Apply file events; return the result of each, by delivery id.

    Call it in a transaction, which holds the assets' locks from here on. Applying events together
    or one by one gives the same result. Idempotent.

    Raises:
        RuntimeError: when other processes keep registering the same files.
    """
    by_file: dict[str, list[Told]] = {}
    for one in those:
        digest = reference_digest("handle", one.file.handle)
        by_file.setdefault(digest, []).append(one)
    files = _new_and_known(by_file)
    known = [file for file in files if not file.is_new]
    if known:
        values = attrgetter("pk", *WRITTEN)
        update(Asset, WRITTEN, [values(file.asset) for file in known])
        turned = [file.asset for file in known if file.turned]
        registry.rescore(
            hidden=[asset.pk for asset in turned if asset.deleted_at],
            shown=[asset.pk for asset in turned if not asset.deleted_at],
        )
    return {one.delivery.pk: handled for file in files for one, handled in file.handled()}


def _new_and_known(by_file: Mapping[str, Sequence[Told]]) -> list[_File]:
    """Return all files with their events; new assets are inserted, existing ones locked."""
    files: dict[str, _File] = {}
    for _ in range(TRIES):
        left = sorted(by_file.keys() - files.keys())
        rows = Asset.objects.using(alias()).filter(digest__in=left)
        known = dict(rows.values_list("digest", "pk")) if left else {}
        new = [
            _File(_asset(digest, by_file[digest][0]), by_file[digest])
            for digest in left
            if digest not in known
        ]
        if new and not _insert([file.asset for file in new]):
            continue
        files |= {file.asset.digest: file for file in new}
        if known:
            held = locked(Asset.objects.filter(pk__in=sorted(known.values()))).order_by("pk")
            files |= {asset.digest: _File(asset, by_file[asset.digest]) for asset in held}
        if len(files) == len(by_file):
            return [*files.values()]
    raise RuntimeError("Other processes make the same files known, or delete them, just now.")


def _asset(digest: str, first: Told) -> Asset:
    handle = first.file.handle
    return Asset(kind="handle", reference=handle, digest=digest, uploaded_at=first.at)


def _insert(new: Sequence[Asset]) -> bool:
    """Insert new assets, all or none; return whether they were inserted."""
    try:
        with atomic():
            Asset.objects.using(alias()).bulk_create(new)
    except IntegrityError:
        return False
    for asset in new:
        on_commit(partial(asset_registered.send_robust, sender=Asset, asset=asset))
    return True


class _File:
    """A new or locked asset, after all its events."""

    def __init__(self, asset: Asset, those: Sequence[Told]) -> None:
        self.asset = asset
        self.is_new = asset.pk is None
        was_hidden = asset.deleted_at is not None
        self._came_to: list[tuple[Told, str, bool]] = []
        for number, one in enumerate(those):
            effect = EFFECTS[one.action]
            self._came_to.append((one, *effect(asset, one, number > 0 or not self.is_new)))
        asset.changed_at = timezone.now()
        self.turned = was_hidden != (asset.deleted_at is not None)

    def handled(self) -> Iterable[tuple[Told, Handled]]:
        for one, text, is_queued in self._came_to:
            pk = self.asset.pk
            yield one, Handled(PROCESSED, text, pk, (pk,) if is_queued else ())


def _upload(asset: Asset, one: Told, known: bool) -> tuple[str, bool]:
    _be_known(asset, one.facts, one.at)
    wanted = get_settings().AUTO_TAG_UPLOADS
    queued = wanted and _queue_if_wanted(asset, TaggingRun.Trigger.UPLOAD)
    text = "The file was known; its facts are refreshed." if known else "Registered the file."
    return text, queued


def _overwrite(asset: Asset, one: Told, known: bool) -> tuple[str, bool]:
    _be_known(asset, one.facts, one.at)
    # Remember the change even of an unknown file: an older event must not count for this content.
    if not registry.change_content(asset, one.facts.columns(), one.at):
        return "A newer overwrite is known.", False
    queued = _queue_if_wanted(asset, TaggingRun.Trigger.OVERWRITE)
    text = (
        "The file changed; its tags are stale." if known else "Registered the overwritten file."
    )
    return text, queued


def _delete(asset: Asset, one: Told, known: bool) -> tuple[str, bool]:
    # Register a file even if it was unknown, so that a later upload event cannot restore it.
    _be_known(asset, registry.Facts(), one.at)
    registry.hide(asset, one.at)
    return "Hid the deleted file.", False


EFFECTS: dict[str, Callable[[Asset, Told, bool], tuple[str, bool]]] = {
    "fp.upload": _upload,
    "fp.overwrite": _overwrite,
    "fp.delete": _delete,
}
"""The function for each action; it returns a sentence, and whether to tag the asset."""


def _be_known(asset: Asset, facts: registry.Facts, at: datetime) -> None:
    registry.refresh(asset, facts.columns(), at)
    registry.show(asset, at)


def _queue_if_wanted(asset: Asset, trigger: TaggingRun.Trigger) -> bool:
    at_rest = asset.tagging_state in (Asset.State.NEW, Asset.State.STALE)
    if at_rest and wants_tagging(asset):
        registry.queue(asset, trigger)
        return True
    return False
