"""Files: apply upload, overwrite and deletion events, for one file or many together.

The effects of a file's events on its asset are computed in memory, in the order of the events. Then
new assets are inserted in one statement, and existing ones updated in another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from django.utils import timezone

from filestack_tags.assets import registry
from filestack_tags.conf import get_settings
from filestack_tags.db.bulk_statements import update_rows
from filestack_tags.db.text import reference_digest
from filestack_tags.models import Asset, TaggingRun
from filestack_tags.tagging.queue import wants_tagging

from .handler_types import PROCESSED, HandlerResult, ReceivedEvent

WRITTEN = (
    *("filename", "mimetype", "size", "sha256", "container", "key", "store_status"),
    *("upload_tags", "facts_at", "content_version", "content_changed_at", "deleted_at"),
    *("tagging_state", "queued_by", "queued_for", "fresh_since"),
    *("attempts", "due_at", "updated_at"),
)
"""The columns of an existing asset that events may change."""


def apply(events: Sequence[ReceivedEvent]) -> dict[int, HandlerResult]:
    """Apply file events; return the result of each, by delivery id.

    Call it in a transaction, which holds the assets' locks from here on. Applying events together
    or one by one gives the same result. Idempotent.

    Raises:
        PayloadError: when an event names no file.
        RuntimeError: as :func:`.registry.lock_or_insert`.
    """
    by_file: dict[str, list[ReceivedEvent]] = {}
    for received in events:
        digest = reference_digest("handle", received.event.file().handle)
        by_file.setdefault(digest, []).append(received)
    new = {digest: _File(_asset(digest, group[0]), group) for digest, group in by_file.items()}
    assets = registry.lock_or_insert({digest: file.asset for digest, file in new.items()})
    existing = [
        _File(assets[digest], group)
        for digest, group in by_file.items()
        if assets[digest] is not new[digest].asset
    ]
    if existing:
        update_rows([file.asset for file in existing], WRITTEN)
        turned = [file.asset for file in existing if file.turned]
        registry.rescore(
            hidden=[asset.pk for asset in turned if asset.deleted_at],
            shown=[asset.pk for asset in turned if not asset.deleted_at],
        )
    files = new | {file.asset.digest: file for file in existing}
    return {pk: result for file in files.values() for pk, result in file.results()}


def _asset(digest: str, first: ReceivedEvent) -> Asset:
    handle, at = first.event.file().handle, first.happened_at
    return Asset(kind="handle", reference=handle, digest=digest, uploaded_at=at)


def _facts(received: ReceivedEvent) -> registry.Facts:
    file = received.event.file()
    return registry.Facts(
        filename=file.filename or None,
        mimetype=file.mimetype or None,
        size=file.size,
        container=file.container or None,
        key=file.key or None,
        store_status=file.status or None,
        upload_tags=file.upload_tags or None,
    )


class _File:
    """A new or locked asset, after all its events."""

    def __init__(self, asset: Asset, events: Sequence[ReceivedEvent]) -> None:
        self.asset = asset
        self.is_new = asset.pk is None
        was_hidden = asset.deleted_at is not None
        self._effects: list[tuple[int, str, bool]] = []
        for number, received in enumerate(events):
            effect = EFFECTS[received.event.action]
            is_registered = number > 0 or not self.is_new
            self._effects.append(
                (received.delivery.pk, *effect(asset, received, is_registered))
            )
        asset.updated_at = timezone.now()
        self.turned = was_hidden != (asset.deleted_at is not None)

    def results(self) -> Iterable[tuple[int, HandlerResult]]:
        for delivery_id, text, is_queued in self._effects:
            pk = self.asset.pk
            to_tag = (pk,) if is_queued else ()
            yield delivery_id, HandlerResult(PROCESSED, text, pk, to_tag)


def _upload(asset: Asset, received: ReceivedEvent, is_registered: bool) -> tuple[str, bool]:
    _refresh(asset, _facts(received), received.happened_at)
    is_queued = get_settings().AUTO_TAG_UPLOADS and _queue_if_wanted(
        asset, TaggingRun.Trigger.UPLOAD
    )
    if is_registered:
        return "The file was known; its facts are refreshed.", is_queued
    return "Registered the file.", is_queued


def _overwrite(asset: Asset, received: ReceivedEvent, is_registered: bool) -> tuple[str, bool]:
    facts, at = _facts(received), received.happened_at
    _refresh(asset, facts, at)
    # Remember the change even of a new file: an older event must not count for this content.
    if not registry.change_content(asset, facts.columns(), at):
        return "A newer overwrite is known.", False
    is_queued = _queue_if_wanted(asset, TaggingRun.Trigger.OVERWRITE)
    if is_registered:
        return "The file changed; its tags are stale.", is_queued
    return "Registered the overwritten file.", is_queued


def _delete(asset: Asset, received: ReceivedEvent, is_registered: bool) -> tuple[str, bool]:
    # Register a file even if it is new, so that a later upload event cannot restore it.
    _refresh(asset, registry.Facts(), received.happened_at)
    registry.hide(asset, received.happened_at)
    return "Hid the deleted file.", False


EFFECTS: dict[str, Callable[[Asset, ReceivedEvent, bool], tuple[str, bool]]] = {
    "fp.upload": _upload,
    "fp.overwrite": _overwrite,
    "fp.delete": _delete,
}
"""The function for each action; it returns a sentence, and whether to tag the asset."""


def _refresh(asset: Asset, facts: registry.Facts, at: datetime) -> None:
    registry.refresh(asset, facts.columns(), at)
    registry.show(asset, at)


def _queue_if_wanted(asset: Asset, trigger: TaggingRun.Trigger) -> bool:
    is_idle = asset.tagging_state in (Asset.State.NEW, Asset.State.STALE)
    if is_idle and wants_tagging(asset):
        registry.queue(asset, trigger)
        return True
    return False
