"""Start a merge or its undoing, and preview what a merge would do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models import Q

from filestack_tags.assets import tags
from filestack_tags.assets.sensitive import confirmed
from filestack_tags.db.transactions import alias, atomic, locked, retry_on_deadlock
from filestack_tags.exceptions import CurationError
from filestack_tags.models import AssetTag, Tag, TagAlias, TagMerge

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

State = TagMerge.State
Decision = AssetTag.Decision


@dataclass(frozen=True, slots=True)
class Preview:
    """What a merge would do.

    Args:
        assets: how many have the source, including rejected and archived ones.
        both: how many of those also have the target.
        conflicts: on how many of those users rejected one tag and accepted or added the other.
        aliases: labels that would resolve to the target: the source's own, and its aliases.
    """

    assets: int
    both: int
    conflicts: int
    aliases: tuple[str, ...]


def preview(source_id: int, target_id: int) -> Preview:
    """Return what :func:`start` would do. Reads each row of the source, and changes nothing.

    Raises:
        CurationError: when the two cannot be merged.
    """
    source, _ = _both(source_id, target_id)
    quote = connections[alias()].ops.quote_name
    table = quote(AssetTag._meta.db_table)
    rejected = int(Decision.REJECTED)
    statement = (
        "SELECT COUNT(*), COUNT(t.asset_id), COALESCE(SUM(CASE WHEN"  # noqa: S608  contains no values
        f" (s.decision = {rejected} AND {confirmed('t')})"
        f" OR (t.decision = {rejected} AND {confirmed('s')}) THEN 1 ELSE 0 END), 0)"
        f" FROM {table} s LEFT JOIN {table} t ON t.asset_id = s.asset_id AND t.tag_id = %s"
        " WHERE s.tag_id = %s"
    )
    with connections[alias()].cursor() as cursor:
        cursor.execute(statement, (target_id, source_id))
        assets, both, conflicts = cursor.fetchone()
    return Preview(assets, both, int(conflicts), (source.key, *_alias_keys(source)))


@retry_on_deadlock
def start(source_id: int, target_id: int, *, user: AbstractBaseUser | None) -> TagMerge:
    """Start merging the source into the target; return the merge, for :func:`.batches.work`.

    From the commit on, the source's label and its aliases resolve to the target, in replies and for
    users. Searches for the target find both until all assets are merged. A stopped merge of the
    same tags continues.

    Raises:
        CurationError: when the two cannot be merged.
    """
    with atomic():
        list(locked(Tag.objects.filter(pk__in=(source_id, target_id))).order_by("pk"))
        stopped = locked(TagMerge.objects.filter(source_id=source_id, target_id=target_id))
        merge = stopped.filter(state=State.MERGING, due_at=None).first()
        if merge is not None:
            merge.restart(State.MERGING, user_id=None if user is None else user.pk)
            merge.save(using=alias())
            return merge
        source, target = _both(source_id, target_id)
        keys = _alias_keys(source)
        aliases = TagAlias.objects.using(alias())
        aliases.filter(tag=source).update(tag=target)
        aliases.create(key=source.key, tag=target)
        rows = AssetTag.objects.using(alias()).filter(tag=source)
        return TagMerge.objects.using(alias()).create(
            source_id=source.pk,
            target_id=target.pk,
            source_name=source.name,
            target_name=target.name,
            source_fields={
                field.attname: field.value_from_object(source)
                for field in Tag._meta.concrete_fields
            },
            alias_keys=keys,
            assets=rows.count(),
            started_by_id=None if user is None else user.pk,
            needs_user=user is not None,
        )


@retry_on_deadlock
def undo(merge_id: int, *, user: AbstractBaseUser | None) -> TagMerge:
    """Start undoing a merge, finished or not; :func:`.batches.work` does the rest.

    The source is a tag again, with its former id, aliases and settings, and replies reach it.
    Idempotent.

    Raises:
        TagMerge.DoesNotExist: when there is no such merge.
        CurationError: when a later merge must be undone first, when another tag has the source's
            name now, or when the data needed was pruned.
    """
    with atomic():
        target_id = TagMerge.objects.using(alias()).get(pk=merge_id).target_id
        list(locked(Tag.objects.filter(pk=target_id)))  # evaluated for its lock
        merge = locked(TagMerge.objects.filter(pk=merge_id)).get()
        if merge.state == State.UNDONE or (merge.state == State.UNDOING and merge.is_at_work):
            return merge
        if merge.pruned_at is not None:
            raise CurationError(
                f"The merge {merge} cannot be undone any more: the rows needed for that "
                f"were deleted on {merge.pruned_at:%Y-%m-%d}, after UNDO_RETENTION_DAYS."
            )
        _require_latest(merge)
        _bring_back_source(merge)
        merge.restart(State.UNDOING, user_id=None if user is None else user.pk)
        merge.position = None
        merge.save(using=alias())
    return merge


def _both(source_id: int, target_id: int) -> tuple[Tag, Tag]:
    """Return source and target, if they can be merged."""
    if source_id == target_id:
        raise CurationError("A tag cannot be merged with itself.")
    tags = Tag.objects.using(alias()).in_bulk((source_id, target_id))
    if len(tags) < 2:
        raise CurationError("One of the tags is not there any more: has it been merged?")
    source, target = tags[source_id], tags[target_id]
    same_tags = Q(source_id__in=tags) | Q(target_id=source_id)
    under_way = TagMerge.objects.using(alias()).filter(same_tags)
    under_way = under_way.exclude(state__in=TagMerge.COMPLETE)
    if merge := under_way.first():
        raise CurationError(
            f"The merge {merge} is at work on one of the tags: wait until it is done."
        )
    return source, target


def _alias_keys(tag: Tag) -> list[str]:
    keys = TagAlias.objects.using(alias()).filter(tag=tag).order_by("key")
    return list(keys.values_list("key", flat=True))


def _require_latest(merge: TagMerge) -> None:
    """Refuse to undo a merge while a later one depends on it."""
    tags_of_it = (merge.source_id, merge.target_id)
    later = TagMerge.objects.using(alias()).filter(
        Q(source_id__in=tags_of_it) | Q(target_id__in=tags_of_it), pk__gt=merge.pk
    )
    if last := later.exclude(state=State.UNDONE).order_by("-pk").first():
        raise CurationError(f"The later merge {last} must be undone first.")


def _bring_back_source(merge: TagMerge) -> None:
    aliases = TagAlias.objects.using(alias())
    key = merge.source_fields["key"]
    holder = tags.existing_ids([key]).get(key)
    target = Tag.objects.using(alias()).filter(pk=merge.target_id, key=key)
    if holder not in (None, merge.target_id, merge.source_id) or target.exists():
        raise CurationError(f"Another tag is called {key!r} now: rename that one first.")
    aliases.filter(key=key, tag_id=merge.target_id).delete()
    if not Tag.objects.using(alias()).filter(pk=merge.source_id).exists():
        fields = {
            field.attname: field.to_python(merge.source_fields.get(field.attname))
            for field in Tag._meta.concrete_fields
        }
        users = get_user_model()._base_manager.using(alias())
        if not users.filter(pk=fields["approved_by_id"]).exists():
            fields["approved_by_id"] = None
        # The count grows as assets get the tag back.
        Tag(**fields | {"asset_count": 0}).save(using=alias(), force_insert=True)
    back = aliases.filter(key__in=merge.alias_keys, tag_id=merge.target_id)
    back.update(tag_id=merge.source_id)
