"""Tag rows: resolve labels to ids, and count the assets of each tag.

Rows are inserted and locked in sorted order, so that concurrent writers of the same tags wait for
each other and do not deadlock. Create new tags before the transaction that uses them: on MariaDB,
two transactions that tried to insert the same name both hold it locked, and neither could then
count it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from django.db import connections
from django.db.models import Case, F, Value, When

from filestack_tags.db.text import label_key, label_name
from filestack_tags.db.transactions import alias, locked
from filestack_tags.models import Tag, TagAlias

BATCH_SIZE = 450
"""Keys in one statement, which may contain them twice: SQLite's oldest limit is 999 parameters."""


def resolve(names: Iterable[str]) -> dict[str, int]:
    """Return ``{key: tag id}`` for labels, creating missing tags.

    An alias resolves to its tag, even while the tag with that name is still being merged into it.
    Names that differ only in case or spacing share a key; the first spelling names a new tag.
    Idempotent.

    Raises:
        InvalidLabel: when a label cannot be a tag.
    """
    spelling: dict[str, str] = {}
    for name in names:
        spelling.setdefault(label_key(name), name)
    ids = existing_ids(spelling)
    missing = sorted(spelling.keys() - ids.keys())
    if missing:
        Tag.objects.using(alias()).bulk_create(
            [Tag(key=key, name=label_name(spelling[key])) for key in missing],
            ignore_conflicts=True,
            batch_size=BATCH_SIZE,
        )
        ids |= existing_ids(missing)
    return ids


def existing_ids(keys: Iterable[str]) -> dict[str, int]:
    """Return ``{key: tag id}`` for those keys that are a tag or an alias of one.

    An alias takes precedence over the tag with that key, which is being merged into the alias's
    tag.
    """
    find = _existing_ids_by_array if _has_arrays() else _existing_ids_in_batches
    return find(sorted(keys))


def _existing_ids_in_batches(keys: list[str]) -> dict[str, int]:
    ids: dict[str, int] = {}
    for start in range(0, len(keys), BATCH_SIZE):
        batch = keys[start : start + BATCH_SIZE]
        tags = Tag.objects.using(alias()).filter(key__in=batch)
        ids.update(tags.values_list("key", "pk"))
        aliases = TagAlias.objects.using(alias()).filter(key__in=batch)
        ids.update(aliases.values_list("key", "tag_id"))
    return ids


def lock(tag_ids: Iterable[int]) -> None:
    """On MariaDB, lock tags in the order of their ids before writing asset tag rows.

    There, every row whose index entries change locks its tag, in the order of the rows. On other
    databases nothing is needed until :func:`adjust_counts`.
    """
    if connections[alias()].vendor == "mysql":
        _lock(set(tag_ids))


def adjust_counts(changes: Mapping[int, int]) -> None:
    """Add to ``asset_count`` of each tag id; a count never falls below zero.

    Do it last: the tags stay locked until the transaction ends, and almost every reply shares some
    tag with others. Tags whose count changes by 0 are left alone.
    """
    counted = {tag_id: change for tag_id, change in sorted(changes.items()) if change}
    adjust = _adjust_together if _has_arrays() else _adjust_by_change
    adjust(counted)


def _adjust_by_change(changes: Mapping[int, int]) -> None:
    _lock(changes)
    by_change: defaultdict[int, list[int]] = defaultdict(list)
    for tag_id, change in changes.items():
        by_change[change].append(tag_id)
    for change, group in by_change.items():
        # The floor is not in the WHERE: MariaDB would use the index on the count, and lock rows in
        # that order.
        floored = Case(
            When(asset_count__gte=-change, then=F("asset_count") + change), default=Value(0)
        )
        Tag.objects.using(alias()).filter(pk__in=group).update(asset_count=floored)


def _has_arrays() -> bool:
    return connections[alias()].vendor == "postgresql"


def _existing_ids_by_array(keys: list[str]) -> dict[str, int]:
    """Look up all keys in one statement of PostgreSQL, which gets them as one parameter.

    Compared with ``key__in``, a first reply of 20 tags takes 0.8 instead of 1.4 ms of processor
    time, of the worker and the database together. See ``python -m benchmarks.tagging.parts``.
    """
    connection = connections[alias()]
    quote = connection.ops.quote_name
    tags, aliases = quote(Tag._meta.db_table), quote(TagAlias._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT key, id, false AS is_alias FROM {tags} WHERE key = ANY(%s)"  # noqa: S608  contains no values
            f" UNION ALL SELECT key, tag_id, true FROM {aliases} WHERE key = ANY(%s)"
            " ORDER BY is_alias",
            [keys, keys],
        )
        return {key: tag_id for key, tag_id, _ in cursor.fetchall()}


def _lock(tag_ids: Iterable[int]) -> None:
    rows = locked(Tag.objects.filter(pk__in=tag_ids)).order_by("pk")
    list(rows.values_list("pk", flat=True))  # evaluated for its locks


def _adjust_together(changes: Mapping[int, int]) -> None:
    """Lock in the order of the ids and count, in one statement of PostgreSQL.

    It takes the same processor time as an UPDATE for each change, but the commonest tags, which all
    writers share, stay locked for one statement instead of about ten. Four processes applied 1.6
    times as many replies. See ``python -m benchmarks.tagging --only applying``.
    """
    if not changes:
        return
    connection = connections[alias()]
    table = connection.ops.quote_name(Tag._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH locked AS MATERIALIZED (SELECT id, change FROM {table}"  # noqa: S608  contains no values
            " JOIN unnest(%s::integer[], %s::integer[]) AS new (tag_id, change) ON id = tag_id"
            f" ORDER BY id FOR NO KEY UPDATE OF {table})"
            f" UPDATE {table} AS tag SET asset_count = GREATEST(tag.asset_count + change, 0)"
            " FROM locked WHERE tag.id = locked.id",
            [[*changes], [*changes.values()]],
        )
