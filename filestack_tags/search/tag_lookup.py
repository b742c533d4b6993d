"""Resolve the labels of a search to tags, for the whole search at once."""

# ruff: noqa: S608  # names of tables and columns are put in, values never are

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import connections
from django.db.models import Model, QuerySet

from filestack_tags.assets.sensitive import unapproved_ids
from filestack_tags.db import prepared_statements
from filestack_tags.db.replicas import read_alias
from filestack_tags.db.text import label_key
from filestack_tags.exceptions import SearchError
from filestack_tags.models import Asset
from filestack_tags.translation import gettext_noop as _

from .language.tree import HasTag, Node, label_text, leaves
from .tables import Tables

if TYPE_CHECKING:
    from .term_sql import Fragment

Row = TypeVar("Row", bound=Model)

_BYTEWISE = frozenset({"sqlite", "mysql"})
"""Database vendors on which tag keys sort by code point, so that a prefix is a range of the index.
The others find a prefix with LIKE, which on these two would ignore the index.
"""


@dataclass(frozen=True, slots=True)
class KnownTag:
    """The values of a tag that a search needs."""

    id: int
    min_confidence: int | None
    asset_count: int


class TagNames:
    """The tags that the labels of one search resolve to; hidden ones only if they count.

    For tags in ``unapproved``, only rows that a user accepted or added are found.
    """

    def __init__(
        self,
        tags: dict[tuple[str, bool], tuple[KnownTag, ...]],
        unapproved: frozenset[int] = frozenset(),
    ) -> None:
        self._tags = tags
        self.unapproved = unapproved

    def cover(self, where: Node) -> bool:
        """Whether every label of ``where`` was looked up."""
        return all(_wanted(term) in self._tags for term in _labelled(where))

    def of(self, term: HasTag) -> tuple[KnownTag, ...]:
        """Return the tags that ``term.label`` resolves to, () if none exist."""
        return self._tags[_wanted(term)]


def look_up(
    where: Node,
    *,
    include_hidden: bool,
    max_tags: int,
    using: str,
    scope: Fragment | None = None,
) -> TagNames:
    """Look up every label of ``where`` in one query, and one more if an alias is among them.

    A label resolves to the tag with that key and to the tag it is an alias of; a prefix to every
    tag with a key or an alias that begins with it. With ``scope``, a condition of
    :func:`.scope.scope_condition`, a prefix resolves only to tags of assets in it, so that neither
    the limit nor its error depends on other assets.

    Raises:
        SearchError: when prefixes match more than ``max_tags`` keys and aliases together.
    """
    labels = {
        _wanted(term): label_text(term.label, prefix=term.prefix) for term in _labelled(where)
    }
    found = _find(labels.keys(), include_hidden, max_tags, using, scope) if labels else []
    matched = {
        (wanted, prefix): [
            tag for key, tag in found if (key.startswith(wanted) if prefix else key == wanted)
        ]
        for wanted, prefix in labels
    }
    _require_few(
        {labels[wanted]: len(matched[wanted]) for wanted in labels if wanted[1]}, max_tags
    )
    tags = {wanted: tuple(dict.fromkeys(known)) for wanted, known in matched.items()}
    return TagNames(tags, frozenset() if include_hidden else unapproved_ids(using))


def _require_few(matched: Mapping[str, int], max_tags: int) -> None:
    """Limit the number of tags that prefixes match: the cost of a search grows with its square."""
    if sum(matched.values()) <= max_tags:
        return
    label = max(matched, key=lambda each: matched[each])
    too_many = _("%(label)s matches more than %(limit)s tags. Type more of the tag.")
    if matched[label] <= max_tags:
        too_many = _(
            "Together, the prefixes match more than %(limit)s tags, most of them "
            "%(label)s. Type more of the tags."
        )
    raise SearchError(
        too_many,
        values={"label": label, "limit": max_tags},
        found=label,
        expected=(_("a longer beginning of the tag"),),
    )


def default_database() -> str:
    """Return the alias of the database that assets are read from by default."""
    return read_alias(Asset)


def rows_of(model: type[Row], using: str) -> QuerySet[Row]:
    """Return every row of one of our models, ignoring its default manager."""
    return model._base_manager.using(using)


def _find(
    wanted: Iterable[tuple[str, bool]],
    include_hidden: bool,
    max_tags: int,
    using: str,
    scope: Fragment | None,
) -> list[tuple[str, KnownTag]]:
    keys = sorted({key for key, prefix in wanted if not prefix})
    prefixes = sorted({key for key, prefix in wanted if prefix})
    # With more rows than this, the prefixes match too many, and the rows read so far show that
    # already.
    most = 2 * len(keys) + max_tags + 1
    # Raw SQL, because every search runs this: two querysets take about ten times as long, measured
    # by python -m benchmarks.search.parts.
    connection = connections[using]
    quote = connection.ops.quote_name
    tables = Tables(using)
    tag, alias = tables.tag, tables.alias
    key = quote("key")
    conditions = [f"{{0}}.{key} IN ({', '.join(['%s'] * len(keys))})"] if keys else []
    values = list(keys)
    for prefix in prefixes:
        if connection.vendor in _BYTEWISE:
            conditions.append(f"({{0}}.{key} >= %s AND {{0}}.{key} < %s)")
            values += [prefix, end_of_range(prefix)]
        else:
            conditions.append(f"{{0}}.{key} LIKE %s")
            values.append(connection.ops.prep_for_like_query(prefix) + "%")
    matching = " OR ".join(conditions)
    visible = "" if include_hidden else " AND t.hidden = FALSE"
    reach: tuple[Any, ...] = ()
    if prefixes and scope:
        visible += (
            f" AND t.id IN (SELECT p.tag_id FROM {tables.asset} a JOIN {tables.asset_tag} p"
            f" ON p.asset_id = a.id WHERE {scope.sql})"
        )
        reach = scope.params
    columns = "t.id, t.min_confidence, t.asset_count"
    # Aliases are few, and joining them to their tags would cost more than everything else: a row
    # without an id shows that there are some.
    aliased = f"SELECT '', NULL, NULL, NULL FROM {alias} l WHERE {matching.format('l')}"
    if prefixes:
        one = f"SELECT 1 AS found FROM {alias} l WHERE {matching.format('l')} LIMIT 1"
        aliased = f"SELECT '', NULL, NULL, NULL FROM ({one}) x"
    statement = (
        f"SELECT t.{key}, {columns} FROM {tag} t WHERE ({matching.format('t')}){visible}"
        f" UNION ALL {aliased} LIMIT {most}"
    )
    # Not prepared with a prefix: a generic plan would read all keys.
    opened = connection.cursor() if prefixes else prepared_statements.cursor(using)
    with opened as cursor:
        cursor.execute(statement, [*values, *reach, *values])
        rows = cursor.fetchall()
        if any(row[1] is None for row in rows) or len(rows) == most:
            cursor.execute(
                f"SELECT l.{key}, {columns} FROM {alias} l JOIN {tag} t ON t.id = l.tag_id"
                f" WHERE ({matching.format('l')}){visible} LIMIT {most}",
                [*values, *reach],
            )
            rows += cursor.fetchall()
    # MariaDB turns the numbers in a union into decimals.
    return [
        (key, KnownTag(int(pk), None if minimum is None else int(minimum), int(count)))
        for key, pk, minimum, count in rows
        if pk is not None
    ]


def end_of_range(prefix: str) -> str:
    """Return the first text after all texts that begin with ``prefix``."""
    last = ord(prefix[-1]) + 1
    if last > 0x10FFFF:
        return end_of_range(prefix[:-1]) if len(prefix) > 1 else chr(0x10FFFF) * 201
    return prefix[:-1] + chr(0xE000 if 0xD800 <= last <= 0xDFFF else last)


def _labelled(where: Node) -> Iterator[HasTag]:
    return (leaf for leaf in leaves(where) if isinstance(leaf, HasTag) and leaf.label)


def _wanted(term: HasTag) -> tuple[str, bool]:
    return label_key(term.label), term.prefix
